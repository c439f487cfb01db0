"""A process of several that works until something happens to it or to another one.

python -m tests.multiprocess.lives WORK DIRECTORY --coordinator=... --num_processes=N ...
It writes `came_<id>` into the directory when it has begun; from then on it waits at most
`--patience` seconds for the others, while all may take their time to start.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir, Manifest
from signbind_jax.distributed import hosts, initialize, sharding
from signbind_jax.errors import SignBindError


def wait(directory: Path) -> None:
    """Waits for a process that never comes: process 1."""
    if jax.process_index() == 1:
        time.sleep(600)
    hosts.barrier("the first step")


def compute(directory: Path) -> None:
    """Computes with the others, step after step."""
    while True:
        multihost_utils.process_allgather(np.ones(3))
        time.sleep(0.05)


def save(directory: Path) -> None:
    """Saves a second checkpoint while the disk of one process is full: of process 0, of 1."""
    where = NamedSharding(sharding.make_mesh(), PartitionSpec(("data", "fsdp")))
    x = jax.device_put(jnp.arange(200_000, dtype=jnp.float32), where)
    for full in (0, 1):
        checkpoints = CheckpointDir(directory / str(full))
        checkpoints.save(1, {"x": x}, Manifest("signing", "c"), wait=True)
        if jax.process_index() == full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        try:
            checkpoints.save(2, {"x": x + 1}, Manifest("signing", "c"), wait=True)
        except SignBindError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (resource.RLIM_INFINITY,))
            (directory / f"told_{full}_{jax.process_index()}").write_text(str(error))


def run(arguments: argparse.Namespace) -> int:
    """Works as told."""
    multihost_utils.process_allgather(np.ones(1))
    hosts.timeout_s = arguments.patience
    (arguments.directory / f"came_{arguments.place.process_id}").touch()
    {"wait": wait, "compute": compute, "save": save}[arguments.work](arguments.directory)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--patience", type=float, required=True)
    initialize.add_arguments(parser)
    arguments = parser.parse_args()
    arguments.place = initialize.place_of(arguments)
    return initialize.run(run, arguments, debug=False)


if __name__ == "__main__":
    sys.exit(main())
