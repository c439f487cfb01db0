"""The tasks of train_speed with SignBind-JAX; run by it as a process of its own."""

import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks import matrix_products
from benchmarks.harness import Peak, serve, use_cores
from benchmarks.train_speed_shapes import CASES, make_batch, make_stage, named, spec
from signbind_jax.distributed import sharding
from signbind_jax.train.train_step import TrainStep


class Training:
    """One stage's training on one batch, by the functions that `signbind train` runs."""

    def __init__(self, case, dtype: str, steps: int):
        self.case, self.steps = case, steps
        self.stage = make_stage(case, dtype)
        self.unregularised = make_stage(case, dtype, dropout=False)
        self.mesh = sharding.make_mesh(devices=jax.devices()[:1])
        self.step = TrainStep(self.stage, self.mesh)
        self.host_batch = make_batch(self.stage, case)
        self.batch = sharding.put_batch(self.host_batch, self.mesh)
        self.start()

    def start(self) -> None:
        """Fresh parameters and the compiled programs."""
        self.step.graphdef, params = sharding.init_sharded(self.stage.make_model, self.mesh, 0)
        params = _stored(params, self.stage)
        trained, self.frozen = self.step.split(params)
        state = {
            "params": trained,
            "opt_state": sharding.init_optimizer(self.step.tx, trained, self.mesh),
            "step": jax.device_put(jnp.int32(0), sharding.replicated(self.mesh)),
        }
        self.programs = self.step.programs(state, self.frozen)
        self.arrays = self.programs.flatten(state)
        self.programs.compile(self.arrays, {(0, 0): self.batch})

    def describe(self) -> dict:
        """Sizes and the device."""
        count = lambda tree: sum(x.size for x in jax.tree.leaves(tree))  # noqa: E731
        trained, frozen = count(self.arrays["params"]), count(self.frozen)
        device = jax.devices()[0]
        return {
            "device": device.device_kind,
            "platform": device.platform,
            "trained": trained,
            "parameters": trained + frozen,
        }

    def write(self, directory: Path) -> None:
        """What the other side starts from: sizes, parameters, batch."""
        record = spec(self.stage, self.stage.config)
        (directory / "spec.json").write_text(json.dumps(record))
        np.savez(directory / "batch.npz", **named(self.host_batch))
        np.savez(directory / "params.npz", **named(self._params()))

    def _params(self) -> nnx.State:
        return nnx.merge_state(self.programs.unflatten(self.arrays)["params"], self.frozen)

    def loss(self) -> float:
        """Mean loss of the batch without dropout."""
        loss, weight, _ = jax.jit(
            lambda params, batch: self.unregularised.loss(
                nnx.merge(self._graphdef_without_dropout(), params), batch, jax.random.key(0)
            )
        )(self._params(), self.batch)
        return float(loss / weight)

    def _graphdef_without_dropout(self) -> nnx.GraphDef:
        model = nnx.eval_shape(lambda: self.unregularised.make_model(nnx.Rngs(0)))
        return nnx.graphdef(model)

    def run(self) -> dict[str, float]:
        """Some steps; gives the loss of the last and the processor seconds of them all."""
        start = time.process_time()
        for _ in range(self.steps):
            self.arrays, metrics = self.programs(self.arrays, self.batch, (0, 0))
        jax.block_until_ready(self.arrays)
        return {"loss": self.programs.read(metrics)["loss"], "cpu": time.process_time() - start}

    def products(self) -> dict:
        """FLOPs of the step's matrix products, and the seconds they take on their own."""
        args = (
            self.programs.unflatten(self.arrays)["params"],
            self.frozen,
            self.arrays["step"][0],
            self.batch,
        )
        return matrix_products.measure(jax.make_jaxpr(self.step.gradients)(*args))


def _stored(params: nnx.State, stage) -> nnx.State:
    """Parameters in the types a run holds them in; adapters that have learnt something."""
    random = np.random.default_rng(2)
    flat = {}
    for path, variable in nnx.to_flat_state(params):
        value = variable.get_value()
        if "lora" in path and path[-1] == "b":
            value = jnp.asarray(0.01 * random.standard_normal(value.shape), jnp.float32)
        flat[path] = variable.replace(value.astype(stage.stored_dtype(path)))
    return nnx.from_flat_state(flat)


def main(size: str, stage: str, dtype: str, steps: str, cores: str, directory: str) -> None:
    use_cores(int(cores))  # before XLA counts them
    training = Training(CASES[size][stage], dtype, int(steps))
    peak = Peak(lambda: jax.devices()[0].memory_stats())
    serve(
        {
            "describe": training.describe,
            "write": lambda: training.write(Path(directory)),
            "loss": training.loss,
            "steps": training.run,
            "products": training.products,
            "forget peak": peak.forget,
            "peak": peak.read,
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
