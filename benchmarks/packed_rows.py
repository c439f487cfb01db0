"""Real frames a second that an expert trains on: padded buckets against filled rows.

python -m benchmarks.packed_rows [--clips=400] [--runs=3]

Random poses whose lengths are drawn as How2Sign's durations are distributed (log-normal fit, see
benchmarks.loader); the shipped config `signing`; gradients of every batch of an epoch, in
turns; medians. Prints also the share of real frames of plans for 31,048 such clips.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from benchmarks.loader import how2sign_lengths
from signbind_jax.config import DataConfig, load_config
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.training_plan import training_plan
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage

NAMES = {False: "8 buckets", True: "filled rows"}
FRAMES = 65_536  # a batch of the plans that are only counted


def write_clips(out: Path, n: int) -> None:
    """Random poses and a random gloss every second."""
    random = np.random.default_rng(0)
    clips = []
    for i, t in enumerate(how2sign_lengths(n)):
        pose = np.cumsum(random.normal(0, 0.02, (t, 91, 3)), axis=0).astype(np.float16)
        pose[..., 2] = 1.0
        gloss = tuple(f"g{random.integers(200)}" for _ in range(1 + t // 24))
        modalities = {"pose": pose_frames(pose, 24.0)}
        clips.append(Clip(f"c{i}", "x", modalities=modalities, gloss=gloss))
    write_dataset(out, corpus_of_clips({"train": clips}, {"synthetic": True}), progress=False)


def epoch(dataset: Path, rows: bool):
    """A function that takes the gradients of an epoch, and its plan."""
    given = {
        "data.directory": str(dataset),
        "data.n_buckets": "8",
        "data.frames_per_batch": "4096",
        "data.validation": "",
    }
    source = open_source(load_config("signing", given))
    if not rows:
        source.plan = training_plan(source.plan.lengths, source.config.data, 0)
    stage = make_stage(source.config, source.shapes)
    graphdef, params = nnx.split(stage.make_model(nnx.Rngs(params=0)))
    batches = list(source.batches(0, source.plan.steps_per_epoch))

    @jax.jit
    def gradients(params, batch, key):
        return jax.grad(lambda p: stage.loss(nnx.merge(graphdef, p), batch, key)[0])(params)

    def run():
        for i, batch in enumerate(batches):
            result = gradients(params, batch, jax.random.key(i))
        jax.block_until_ready(result)

    return run, source.plan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    for rows, name in NAMES.items():
        data = DataConfig(frames_per_batch=FRAMES, n_buckets=8)
        plan = training_plan(how2sign_lengths(), data, 0, rows=rows)
        print(
            f"{name}: {100 * plan.fill:.1f} % real frames in batches of {FRAMES:,}, "
            f"{len(plan.shapes)} shapes"
        )
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder, "dataset")
        write_clips(dataset, arguments.clips)
        sides = {n: epoch(dataset, n) for n in NAMES}
        seconds: dict[bool, list[float]] = {n: [] for n in sides}
        for _ in range(arguments.runs + 1):
            for n, (run, _) in sides.items():
                start = time.perf_counter()
                run()
                seconds[n].append(time.perf_counter() - start)
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
