"""The compiled programs of a training step, called with plain lists of arrays.

A flax State is taken apart and put together by Python at every call of a compiled function,
variable by variable; a list of arrays is not (docs/decisions.md).
"""

import concurrent.futures
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.preflight.model_flops import jaxpr_flops

PlainState = dict[str, list[jax.Array]]


class StepMetrics(NamedTuple):
    """What a step measured, an array a program: each array is a transfer of its own."""

    gradients: jax.Array
    update: jax.Array


class StepPrograms:
    """Gradients by batch shape, and the update, which depends on no batch's shape.

    The update is a program of its own: inside the gradients' program it would be compiled again
    for every bucket.

    Args:
      gradients: (params, frozen, step, batch) -> (gradients, metrics by name).
      update: (state, gradients) -> (state, metrics by name).
      state: {"params", "opt_state", "step"}; `frozen`: the parameters that stay.
      options: for the compiler.

    Attributes:
      flops: of the model in one step, by batch shape, all devices together; without the shapes
        that are not compiled yet or whose FLOPs cannot be counted.
    """

    def __init__(self, gradients: Callable, update: Callable, state: dict, frozen: nnx.State,
                 options: Mapping[str, str] | None = None):  # fmt: skip
        self._gradients, self._update = gradients, update
        self._structure = {name: jax.tree.structure(part) for name, part in state.items()}
        self._frozen, self._frozen_structure = jax.tree.flatten(frozen)
        self._options = None if options is None else dict(options)
        self._names: dict[str, list[str]] = {}  # of each program's metrics
        self.flops: dict[tuple[int, int], float] = {}
        self._compiled: dict[tuple[int, int] | None, Callable] = {}

    def plain(self, state: dict) -> PlainState:
        """The arrays of a state."""
        return {name: jax.tree.leaves(part) for name, part in state.items()}

    def full(self, state: PlainState) -> dict:
        """The state that the arrays belong to."""
        return {name: jax.tree.unflatten(self._structure[name], leaves)
                for name, leaves in state.items()}  # fmt: skip

    def compile(self, state: PlainState, batches: Mapping[tuple[int, int], Any]) -> None:
        """Compiles for each shape, given a batch of it on the devices; two at a time."""

        def compile_one(shape):
            if shape is None:
                return shape, self.compile_update(state)
            return shape, self.compile_gradients(state, batches[shape], shape)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self._compiled = dict(pool.map(compile_one, [*batches, None]))

    def compile_gradients(
        self, state: PlainState, batch, shape: tuple[int, int] | None = None
    ) -> jax.stages.Compiled:
        """The program of one batch shape; state and batch may be ShapeDtypeStructs."""
        placed = [x.sharding for x in state["params"]]
        gradients = jax.jit(self._plain_gradients, out_shardings=(placed, None))
        traced = gradients.trace(state["params"], self._frozen, state["step"], batch)
        if shape is not None:
            with contextlib.suppress(SignBindError):
                self.flops[shape] = jaxpr_flops(traced.jaxpr.jaxpr)
        return traced.lower().compile(self._options)

    def compile_update(self, state: PlainState) -> jax.stages.Compiled:
        """The program of the optimiser; `state` may hold ShapeDtypeStructs."""
        # The same shardings out as in, or the next step's compiled program would refuse them.
        placed = jax.tree.map(lambda x: x.sharding, state)
        whole = placed["step"][0]
        update = jax.jit(self._plain_update, donate_argnums=0, out_shardings=(placed, whole))
        return update.lower(state, state["params"]).compile(self._options)

    def __call__(self, state: PlainState, batch, shape: tuple[int, int]):
        """One update: (new state, `StepMetrics`)."""
        grads, metrics = self._compiled[shape](state["params"], self._frozen, state["step"], batch)
        state, of_update = self._compiled[None](state, grads)
        return state, StepMetrics(metrics, of_update)

    def read(self, metrics: StepMetrics, *, update: bool = True) -> dict[str, float]:
        """The metrics of a step by name, with or without those of the update; waits for it."""
        parts = {"gradients": metrics.gradients} | ({"update": metrics.update} if update else {})
        return {
            name: value
            for part, array in parts.items()
            for name, value in zip(self._names[part], np.asarray(array).tolist(), strict=True)
        }

    def _plain_gradients(self, params, frozen, step, batch):
        grads, metrics = self._gradients(
            jax.tree.unflatten(self._structure["params"], params),
            jax.tree.unflatten(self._frozen_structure, frozen), *step, batch,
        )  # fmt: skip
        return jax.tree.leaves(grads), self._stacked("gradients", metrics)

    def _plain_update(self, state, grads):
        grads = jax.tree.unflatten(self._structure["params"], grads)
        new, metrics = self._update(self.full(state), grads)
        return self.plain(new), self._stacked("update", metrics)

    def _stacked(self, part: str, metrics: Mapping[str, jax.Array]) -> jax.Array:
        self._names[part] = sorted(metrics)
        return jnp.stack([jnp.asarray(metrics[name], jnp.float32) for name in self._names[part]])
