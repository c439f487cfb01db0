"""The memory that preflight predicts for simulated CPU devices, beside what training takes.

python -m benchmarks.preflight_memory [--devices=8] [--config=language_model:size=large]
    [--config.PATH=VALUE ...]

The same programs are compiled by `signbind preflight` and by a process that then trains three
steps with them on an empty batch. What it takes is the rise of its resident memory from before the
state is made to its peak (Linux: VmHWM, set back before); all devices share it, so the prediction
of one counts as often as there are devices. Ends with status 1 where they differ by more than 15 %.
"""

import argparse
import json
import sys

import jax
import numpy as np

from benchmarks.harness import Peak, make_parser, run_alone
from signbind_jax import overrides as command_line
from signbind_jax.config import load_config
from signbind_jax.distributed import sharding
from signbind_jax.preflight.check import check
from signbind_jax.preflight.memory import BATCHES
from signbind_jax.preflight.programs import GRADIENTS, UPDATE, Programs

STEPS = 3
DEFAULTS = {
    "data.frames_per_batch": "2560",
    "data.batch_multiple": "8",
    "mesh.fsdp": "4",
    "mesh.data": "2",
}
LIMIT = 0.15


def train(spec: str, overrides: dict[str, str]) -> None:
    """Prints by how many bytes training raises the resident memory."""
    config = load_config(spec, overrides)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    programs = Programs(config, mesh)
    step, stage = programs.step, programs.step.stage
    compiled = {
        name: make() for name, make in programs.all().items() if name in (GRADIENTS, UPDATE)
    }
    peak = Peak()  # the devices are simulated: their memory is the process's
    peak.forget()
    before = peak.read()["resident"]
    graphdef, params = sharding.init_sharded(stage.make_model, mesh, config.seed)
    del graphdef
    trained, frozen = step.split(params)
    del params
    state = {
        "params": trained,
        "opt_state": sharding.init_optimizer(step.tx, trained, mesh),
        "step": jax.device_put(np.int32(0), sharding.replicated(mesh)),
    }
    held = {name: jax.tree.leaves(part) for name, part in state.items()}
    del trained, state
    frozen = jax.tree.leaves(frozen)
    for _ in range(STEPS):
        batches = [_batch(programs) for _ in range(BATCHES)]
        grads, metrics = compiled[GRADIENTS](held["params"], frozen, held["step"], batches[0])
        held = compiled[UPDATE](held, grads)
        jax.block_until_ready((held, metrics))
    print(json.dumps(2**20 * (peak.read()["resident"] - before)))


def _batch(programs: Programs):
    """An empty batch of the longest bucket on the devices."""
    return jax.tree.map(
        lambda x: jax.device_put(np.zeros(x.shape, x.dtype), x.sharding), programs.batch
    )


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--config", default="language_model:size=large")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    arguments = command_line.parse(parser, sys.argv[1:])
    overrides = DEFAULTS | arguments.overrides
    if arguments.train:
        train(arguments.config, overrides)
        return 0
    found = check(arguments.config, overrides, f"cpu:{arguments.devices}", timeout_s=900)
    if found.problem:
        print(f"preflight: {found.problem}")
        return 1
    predicted = found.devices * found.peak
    flags = f"--xla_force_host_platform_device_count={arguments.devices}"
    own = ("--train", f"--config={arguments.config}")
    given = (f"--config.{path}={value}" for path, value in overrides.items())
    module = "benchmarks.preflight_memory"
    used = run_alone(module, *own, *given, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    print(
        f"{arguments.config}, mesh {found.mesh}: predicted {predicted / 1e9:.2f} GB, used "
        f"{used / 1e9:.2f} GB, {predicted / used:.3f} of it (wanted within "
        f"{LIMIT:.0%})"
    )
    return int(abs(predicted / used - 1) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
