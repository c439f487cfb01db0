"""Milliseconds of host time a training step takes, beside what the device computes.

python -m benchmarks.host_overhead --data=DIR [--config=signing:size=tiny] [--steps=400]

The loop of `signbind train` runs as it is: batches are drawn, sent, compiled programs called,
metrics read and logged. Only the programs are exchanged for some with the same inputs and outputs
that compute nothing. Time is the processor time of the loop's thread (`time.thread_time`), which
leaves out what it waits, and whatever other programs take. Where the device is the CPU, what XLA
does on this thread is in it.
"""

import statistics
import tempfile
import time

import jax
import jax.numpy as jnp

from benchmarks.harness import make_parser
from signbind_jax.config import load_config
from signbind_jax.train import loop as training
from signbind_jax.train.step_programs import StepPrograms

WARM = 50  # steps: the first lap over a small corpus decodes its clips


class IdleRun(training._Run):
    """A run whose programs compute nothing."""

    def gradients(self, params, frozen, step, batch):
        """Zeros in the place of gradients and metrics."""
        shapes = jax.eval_shape(super().gradients, params, frozen, step, batch)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def update(self, state, grads):
        """The state as it was, one step later."""
        return state | {"step": state["step"] + 1}

    def measure(self, state, grads):
        """Zeros in the place of what is logged of an update."""
        shapes = jax.eval_shape(super().measure, state, grads)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def thread_times(owner, name: str) -> list[float]:
    """Wraps a function; the list takes the thread's milliseconds in each call."""
    inner, spent = getattr(owner, name), []

    def timed(*args, **kwargs):
        start = time.thread_time()
        try:
            return inner(*args, **kwargs)
        finally:
            spent.append(1e3 * (time.thread_time() - start))

    setattr(owner, name, timed)
    return spent


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", required=True, help="a dataset of `signbind data build`")
    parser.add_argument("--config", default="signing:size=tiny")
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    overrides = {
        "data.directory": arguments.data,
        "data.validation": "",
        "checkpoint_every": "0",
        "steps": str(arguments.steps),
    }
    config = load_config(arguments.config, overrides)
    training._Run = IdleRun
    parts = {
        "drawing a batch": thread_times(training.Feed, "next"),
        "sending it": thread_times(training.sharding, "put_batch"),
        "calling the programs": thread_times(StepPrograms, "__call__"),
        "reading and logging metrics": thread_times(training.TrainLog, "add"),
    }
    ends = []
    inner = StepPrograms.__call__

    def call(*args, **kwargs):
        ends.append((time.thread_time(), time.perf_counter()))
        return inner(*args, **kwargs)

    StepPrograms.__call__ = call
    with tempfile.TemporaryDirectory() as workdir:
        training.train(config, workdir)
    steps = [[1e3 * (b - a) for a, b in zip(x, x[1:])][WARM:] for x in zip(*ends, strict=True)]
    print(
        f"{arguments.config}, {jax.devices()[0].device_kind}, {len(steps[0])} steps\n"
        f"{'':30s}{'median ms':>12s}{'mean ms':>12s}"
    )
    rows = {name: spent[-len(steps[0]) :] for name, spent in parts.items()}
    for name, values in (*rows.items(), ("the loop", steps[0]), ("wall clock", steps[1])):
        print(f"{name:30s}{statistics.median(values):12.2f}{statistics.mean(values):12.2f}")


if __name__ == "__main__":
    main()
