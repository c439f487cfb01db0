"""Trains every stage for some steps at test size and writes their losses as JSON.

Run as a program, because the number of simulated devices is fixed when JAX starts:
python stage_losses.py DATA PARENTS WORKDIR DATA_AXIS FSDP TENSOR
PARENTS holds the runs whose artefacts the stages build on; equal to WORKDIR they are the
ones trained here.
"""

import json
import sys
from pathlib import Path

from signbind_jax.config import load_config
from signbind_jax.quickstart import STAGES, needs
from signbind_jax.train import train


def main(data: str, parents: str, workdir: str, *mesh: str) -> None:
    losses = {}
    for stage in STAGES:
        overrides = {
            "data.directory": data,
            "data.validation": "",
            "data.batch_multiple": "4",
            "data.n_buckets": "1",
            **{f"mesh.{axis}": n for axis, n in zip(("data", "fsdp", "tensor"), mesh)},
            **{f"parents.{name}": str(Path(parents) / name) for name in needs(stage)},
        }
        config = load_config(f"{stage}:size=tiny", overrides)
        losses[stage] = train(config, Path(workdir) / stage).losses
    Path(workdir, "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
