"""Trains stages for some steps at test size and writes their losses and scores as JSON.

Run as a program, because the numbers of simulated devices and of processes are fixed when JAX
starts:
python -m tests.multiprocess.train_stages --data=DIR --parents=DIR --workdir=DIR [--stages ...]
PARENTS holds the runs whose artefacts the stages build on; equal to WORKDIR they are the
ones trained here.
"""

import argparse
import json
import sys
from pathlib import Path

import jax

from signbind_jax.config import load_config
from signbind_jax.distributed import initialize
from signbind_jax.quickstart.command import STAGES, needs
from signbind_jax.train.loop import train

STEPS = 20
SCORED = ("signing", "fusion")  # at the end


def run(arguments: argparse.Namespace) -> int:
    """Trains the stages, on one process or as one of several."""
    losses, scores = {}, {}
    for stage in arguments.stages:
        overrides = {
            "data.directory": str(arguments.data),
            "data.validation": "validation" if stage in SCORED else "",
            "data.batch_multiple": "4",
            "data.n_buckets": "1",
            "steps": str(STEPS),
            **{f"mesh.{axis}": n for axis, n in zip(("data", "fsdp", "tensor"), arguments.mesh)},
            **{f"parents.{name}": str(arguments.parents / name) for name in needs(stage)},
        }
        result = train(load_config(f"{stage}:size=tiny", overrides), arguments.workdir / stage)
        losses[stage], scores[stage] = result.losses, result.scores
    facts = {"losses": losses, "scores": scores}
    (arguments.workdir / f"facts_{jax.process_index()}.json").write_text(json.dumps(facts))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("data", "parents", "workdir"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--mesh", nargs=3, default=("-1", "1", "1"))
    parser.add_argument("--stages", nargs="+", default=STAGES)
    initialize.add_arguments(parser)
    arguments = parser.parse_args()
    arguments.place = initialize.place_of(arguments)
    return initialize.run(run, arguments, debug=True)


if __name__ == "__main__":
    sys.exit(main())
