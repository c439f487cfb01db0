"""The compiled programs of a training step, called with plain lists of arrays.

A flax State is taken apart and put together by Python at every call of a compiled function,
variable by variable; a list of arrays is not (docs/decisions.md).
"""

import concurrent.futures
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

PlainState = dict[str, list[jax.Array]]


class StepPrograms:
    """Gradients by batch shape, and the update, which depends on no batch's shape.

    The update is a program of its own: inside the gradients' program it would be compiled again
    for every bucket.

    Args:
      gradients: (params, frozen, step, batch) -> (gradients, metrics by name).
      update: (state, gradients) -> state.
      state: {"params", "opt_state", "step"}; `frozen`: the parameters that stay.
      options: for the compiler.
    """

    def __init__(self, gradients: Callable, update: Callable, state: dict, frozen: nnx.State,
                 options: Mapping[str, str] | None = None):  # fmt: skip
        self._gradients, self._update = gradients, update
        self._structure = {name: jax.tree.structure(part) for name, part in state.items()}
        self._frozen, self._frozen_structure = jax.tree.flatten(frozen)
        self._options = None if options is None else dict(options)
        self._names: list[str] = []
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
            return shape, self.compile_gradients(state, batches[shape])

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self._compiled = dict(pool.map(compile_one, [*batches, None]))

    def compile_gradients(self, state: PlainState, batch) -> jax.stages.Compiled:
        """The program of one batch shape; state and batch may be ShapeDtypeStructs."""
        placed = [x.sharding for x in state["params"]]
        gradients = jax.jit(self._plain_gradients, out_shardings=(placed, None))
        lowered = gradients.lower(state["params"], self._frozen, state["step"], batch)
        return lowered.compile(self._options)

    def compile_update(self, state: PlainState) -> jax.stages.Compiled:
        """The program of the optimiser; `state` may hold ShapeDtypeStructs."""
        # The same shardings out as in, or the next step's compiled program would refuse them.
        placed = jax.tree.map(lambda x: x.sharding, state)
        update = jax.jit(self._plain_update, donate_argnums=0, out_shardings=placed)
        return update.lower(state, state["params"]).compile(self._options)

    def __call__(self, state: PlainState, batch, shape: tuple[int, int]):
        """One update: (new state, metrics as one array, see `read`)."""
        grads, metrics = self._compiled[shape](state["params"], self._frozen, state["step"], batch)
        return self._compiled[None](state, grads), metrics

    def read(self, metrics: jax.Array) -> dict[str, float]:
        """The metrics of a step by name; waits for it."""
        return dict(zip(self._names, np.asarray(metrics).tolist(), strict=True))

    def _plain_gradients(self, params, frozen, step, batch):
        grads, metrics = self._gradients(
            jax.tree.unflatten(self._structure["params"], params),
            jax.tree.unflatten(self._frozen_structure, frozen), *step, batch,
        )  # fmt: skip
        self._names = sorted(metrics)
        # One array: each would be a transfer of its own.
        return jax.tree.leaves(grads), jnp.stack(
            [jnp.asarray(metrics[name], jnp.float32) for name in self._names]
        )

    def _plain_update(self, state, grads):
        full = self.full(state)
        grads = jax.tree.unflatten(self._structure["params"], grads)
        return self.plain(self._update(full, grads))
