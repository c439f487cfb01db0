"""The compiled programs of a training step, called with plain lists of arrays.

A flax State is taken apart and put together by Python at every call of a compiled function,
variable by variable; a list of arrays is not (docs/develop/decisions.md).
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

FlatState = dict[str, list[jax.Array]]
_UPDATE, _MEASURE = "update", "measure"  # programs that depend on no batch's shape


class StepMetrics(NamedTuple):
    """What a step measured, an array a program: each array is a transfer of its own.

    `update` is None where nobody asked for it.
    """

    gradients: jax.Array
    update: jax.Array | None


class StepPrograms:
    """Gradients by batch shape, and the update, which depends on no batch's shape.

    The update is a program of its own: inside the gradients' program it would be compiled again
    for every bucket. What is logged of the update is measured by another one, in the steps that
    are logged: inside the update's it would change how XLA fuses, and with it last bits.

    Args:
      gradients: (params, frozen, step, batch) -> (gradients, metrics by name).
      update: (state, gradients) -> state.
      measure: (state, gradients) -> metrics of the update by name.
      state: {"params", "opt_state", "step"}; `frozen`: the parameters that stay.
      options: for the compiler.

    Attributes:
      flops: of the model in one step, by batch shape, all devices together; without the shapes
        that are not compiled yet or whose FLOPs cannot be counted.
    """

    def __init__(
        self,
        gradients: Callable,
        update: Callable,
        measure: Callable,
        state: dict,
        frozen: nnx.State,
        options: Mapping[str, str] | None = None,
    ):
        self._gradients, self._update, self._measure = gradients, update, measure
        self._structure = {name: jax.tree.structure(part) for name, part in state.items()}
        self._frozen, self._frozen_structure = jax.tree.flatten(frozen)
        self._options = None if options is None else dict(options)
        self._names: dict[str, list[str]] = {}  # of each program's metrics
        self.flops: dict[tuple[int, int], float] = {}
        self._compiled: dict[tuple[int, int] | str, Callable] = {}

    def flatten(self, state: dict) -> FlatState:
        """The arrays of a state."""
        return {name: jax.tree.leaves(part) for name, part in state.items()}

    def unflatten(self, state: FlatState) -> dict:
        """The state that the arrays belong to."""
        return {
            name: jax.tree.unflatten(self._structure[name], leaves)
            for name, leaves in state.items()
        }

    def compile(self, state: FlatState, batches: Mapping[tuple[int, int], Any]) -> None:
        """Compiles for each shape, given a batch of it on the devices; two at a time."""

        def compile_one(program):
            if program == _UPDATE:
                return program, self.compile_update(state)
            if program == _MEASURE:
                return program, self.compile_measure(state)
            return program, self.compile_gradients(state, batches[program], program)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self._compiled = dict(pool.map(compile_one, [*batches, _UPDATE, _MEASURE]))

    def compile_gradients(
        self, state: FlatState, batch, shape: tuple[int, int] | None = None
    ) -> jax.stages.Compiled:
        """The program of one batch shape; state and batch may be ShapeDtypeStructs."""
        placed = [x.sharding for x in state["params"]]
        gradients = jax.jit(self._flat_gradients, out_shardings=(placed, None))
        traced = gradients.trace(state["params"], self._frozen, state["step"], batch)
        if shape is not None:
            with contextlib.suppress(SignBindError):
                self.flops[shape] = jaxpr_flops(traced.jaxpr.jaxpr)
        return traced.lower().compile(self._options)

    def compile_update(self, state: FlatState) -> jax.stages.Compiled:
        """The program of the optimiser; `state` may hold ShapeDtypeStructs."""
        # The same shardings out as in, or the next step's compiled program would refuse them.
        placed = jax.tree.map(lambda x: x.sharding, state)
        update = jax.jit(self._flat_update, donate_argnums=0, out_shardings=placed)
        return update.lower(state, state["params"]).compile(self._options)

    def compile_measure(self, state: FlatState) -> jax.stages.Compiled:
        """The program of what is logged of an update; `state` may hold ShapeDtypeStructs."""
        measure = jax.jit(self._flat_measure, out_shardings=state["step"][0].sharding)
        return measure.lower(state, state["params"]).compile(self._options)

    def __call__(self, state: FlatState, batch, shape: tuple[int, int], *, measured: bool = False):
        """One update: (new state, `StepMetrics`, those of the update only where `measured`)."""
        grads, metrics = self._compiled[shape](state["params"], self._frozen, state["step"], batch)
        of_update = self._compiled[_MEASURE](state, grads) if measured else None
        return self._compiled[_UPDATE](state, grads), StepMetrics(metrics, of_update)

    def read(self, metrics: StepMetrics) -> dict[str, float]:
        """The metrics of a step by name; waits for it."""
        return {
            name: value
            for part, array in metrics._asdict().items()
            if array is not None
            for name, value in zip(self._names[part], np.asarray(array).tolist(), strict=True)
        }

    def _flat_gradients(self, params, frozen, step, batch):
        grads, metrics = self._gradients(
            jax.tree.unflatten(self._structure["params"], params),
            jax.tree.unflatten(self._frozen_structure, frozen),
            *step,
            batch,
        )
        return jax.tree.leaves(grads), self._stacked("gradients", metrics)

    def _flat_update(self, state, grads):
        grads = jax.tree.unflatten(self._structure["params"], grads)
        return self.flatten(self._update(self.unflatten(state), grads))

    def _flat_measure(self, state, grads):
        grads = jax.tree.unflatten(self._structure["params"], grads)
        return self._stacked("update", self._measure(self.unflatten(state), grads))

    def _stacked(self, part: str, metrics: Mapping[str, jax.Array]) -> jax.Array:
        self._names[part] = sorted(metrics)
        return jnp.stack([jnp.asarray(metrics[name], jnp.float32) for name in self._names[part]])
