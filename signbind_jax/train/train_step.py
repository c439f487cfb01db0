"""TrainStep: the functions that train, on arrays or on shapes alone.

`train.loop` runs them; `signbind preflight` compiles the very same for machines that are not there.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from signbind_jax.distributed import sharding
from signbind_jax.stages.stage import Stage
from signbind_jax.train import xla_options
from signbind_jax.train.optim import make_optimizer, make_schedule
from signbind_jax.train.step_programs import StepPrograms


class TrainStep:
    """Gradients of a batch, the optimiser's update and what is logged of it: programs on one mesh.

    Attributes:
      graphdef: of the stage's model; set before anything is traced.
    """

    def __init__(self, stage: Stage, mesh):
        self.stage, self.config, self.mesh = stage, stage.config, mesh
        self.tx = make_optimizer(self.config.optim, self.config.steps)
        self.schedule = make_schedule(self.config.optim, self.config.steps)
        self.graphdef: nnx.GraphDef

    def split(self, params: nnx.State) -> tuple[nnx.State, nnx.State]:
        """Parameters that train, and those that stay."""
        return nnx.split_state(params, lambda path, _: self.stage.trains(path), ...)

    def gradients(self, params: nnx.State, frozen: nnx.State, step, batch):
        """Mean gradients (weighted by tokens) and {"loss", "weight", ...} of a batch."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), step)

        def loss_sum(params, batch):
            model = nnx.merge(self.graphdef, params, frozen)
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                loss, weight, metrics = self.stage.loss(model, batch, key)
            return loss, {"weight": weight, **metrics}

        value_and_grad = jax.value_and_grad(loss_sum, has_aux=True)
        n = self.config.optim.accumulate
        if n == 1:
            (loss, metrics), grads = value_and_grad(params, batch)
        else:
            loss, metrics, grads = _accumulated(value_and_grad, params, batch, n)
        weight = jnp.maximum(metrics["weight"], 1.0)
        grads = jax.tree.map(lambda g: g / weight, grads)
        metrics = {name: value / weight for name, value in metrics.items() if name != "weight"}
        return grads, metrics | {"loss": loss / weight, "weight": weight}

    def update(self, state: dict, grads: nnx.State) -> dict:
        """The state after one optimiser step."""
        updates, opt_state = self.tx.update(grads, state["opt_state"], state["params"])
        params = jax.tree.map(lambda p, u: p + u, state["params"], updates)
        return {"params": params, "opt_state": opt_state, "step": state["step"] + 1}

    def measure(self, state: dict, grads: nnx.State) -> dict[str, jax.Array]:
        """What an optimiser step is about to do: {"learning_rate", "gradient_norm",
        "update_norm"}; global L2 norms, that of the gradients before they are clipped."""
        updates, _ = self.tx.update(grads, state["opt_state"], state["params"])
        return {
            "learning_rate": self.schedule(state["step"]),
            "gradient_norm": optax.tree.norm(grads),
            "update_norm": optax.tree.norm(updates),
        }

    def programs(self, state: dict, frozen: nnx.State) -> StepPrograms:
        """The programs, to be compiled; both arguments may hold ShapeDtypeStructs."""
        return StepPrograms(
            self.gradients, self.update, self.measure, state, frozen, xla_options.options(self.mesh)
        )

    def batch_spec(self, length: int, rows: int):
        """The global batch of a shape of the batch plan, as `sharding.put_batch` places it."""
        return sharding.abstract_batch(self.stage.batch_spec(length, rows), self.mesh)

    def abstract_state(self) -> tuple[dict, nnx.State]:
        """What a run of the stage holds, as shapes: (trained state, frozen parameters).

        Raises:
          SignBindError: see `sharding.partition_spec`.
        """
        stage = self.stage
        self.graphdef, params = sharding.abstract_model(
            stage.make_model, self.mesh, self.config.seed, stage.stored_dtype
        )
        trained, frozen = self.split(params)
        opt_shardings = sharding.optimizer_shardings(self.tx, trained, self.mesh)
        opt_state = sharding.with_shardings(jax.eval_shape(self.tx.init, trained), opt_shardings)
        step = jax.ShapeDtypeStruct((), jnp.int32, sharding=sharding.replicated(self.mesh))
        return {"params": trained, "opt_state": opt_state, "step": step}, frozen


def _accumulated(value_and_grad, params, batch, n: int):
    """Sums of loss, metrics and gradients over n equal slices of the batch's rows.

    Sums, not means: divided by the whole batch's tokens later they equal the full batch's. A
    slice takes every n-th row, so that each device has its share of every slice.
    """
    slices = jax.tree.map(
        lambda x: jnp.swapaxes(x.reshape(x.shape[0] // n, n, *x.shape[1:]), 0, 1), batch
    )

    def add(total, part):
        (loss, metrics), grads = value_and_grad(params, part)
        return jax.tree.map(jnp.add, total, (loss, metrics, grads)), None

    shapes = jax.eval_shape(value_and_grad, params, jax.tree.map(lambda x: x[0], slices))
    (loss, metrics), grads = shapes
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (loss, metrics, grads))
    return jax.lax.scan(add, zeros, slices)[0]
