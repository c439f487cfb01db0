"""Real frames a second that an expert trains on: padded buckets against filled rows.

python -m benchmarks.packed_rows [--clips=400] [--runs=3]

Random poses whose lengths are drawn as How2Sign's durations are distributed (log-normal fit, see
benchmarks.loader); the shipped config `signing`; gradients of every batch of an epoch, in
turns; medians. Prints also the share of real frames of plans for 31,048 such clips.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import jax
from flax import nnx

from benchmarks.harness import make_parser, seconds_of, take_turns, write_random_clips
from benchmarks.loader import how2sign_lengths
from signbind_jax.config import DataConfig, load_config
from signbind_jax.data.training_plan import training_plan
from signbind_jax.stages import make_stage

NAMES = {0: "8 buckets", 1: "filled rows"}  # by data.row_frames
FRAMES = 65_536  # a batch of the plans that are only counted


def epoch(dataset: Path, row_frames: int):
    """A function that takes the gradients of an epoch, and its plan."""
    stage = make_stage(
        load_config(
            "signing",
            {
                "data.directory": str(dataset),
                "data.row_frames": str(row_frames),
                "data.n_buckets": "8",
                "data.frames_per_batch": "4096",
                "data.validation": "",
            },
        )
    )
    graphdef, params = nnx.split(stage.make_model(nnx.Rngs(params=0)))
    batches = list(stage.batches(0, stage.plan.steps_per_epoch))

    @jax.jit
    def gradients(params, batch, key):
        return jax.grad(lambda p: stage.loss(nnx.merge(graphdef, p), batch, key)[0])(params)

    def run():
        for i, batch in enumerate(batches):
            result = gradients(params, batch, jax.random.key(i))
        jax.block_until_ready(result)

    return run, stage.plan


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    for row_frames in (0, 1):
        data = DataConfig(frames_per_batch=FRAMES, n_buckets=8, row_frames=row_frames)
        plan = training_plan(how2sign_lengths(), data, 0, packs=True)
        print(
            f"{NAMES[row_frames]}: {100 * plan.fill:.1f} % real frames in batches of {FRAMES:,}, "
            f"{len(plan.shapes)} shapes"
        )
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder, "dataset")
        write_random_clips(dataset, how2sign_lengths(arguments.clips), 24.0)
        sides = {n: epoch(dataset, n) for n in (0, 1)}
        runs = {n: partial(seconds_of, run) for n, (run, _) in sides.items()}
        seconds = take_turns(runs, 1 + arguments.runs, warm=0)
    rates = {}
    for n, (_, plan) in sides.items():
        real = plan.lengths.sum()
        rates[n] = real / statistics.median(seconds[n][1:])
        print(
            f"{NAMES[n]}: {rates[n]:,.0f} real frames/s, "
            f"{100 * plan.fill:.1f} % real, {seconds[n][0]:.0f} s for the first epoch, which "
            f"compiles {len(plan.shapes)} shapes"
        )
    print(f"filled rows: {rates[1] / rates[0]:.2f} times as fast")


if __name__ == "__main__":
    main()
