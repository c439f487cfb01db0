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
    """

    def __init__(self, gradients: Callable, update: Callable, state: dict, frozen: nnx.State):
        self._gradients, self._update = gradients, update
        self._structure = {name: jax.tree.structure(part) for name, part in state.items()}
        self._frozen, self._frozen_structure = jax.tree.flatten(frozen)
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
        placed = jax.tree.map(lambda x: x.sharding, state)
        gradients = jax.jit(self._plain_gradients, out_shardings=(placed["params"], None))
        # The same shardings out as in, or the next step's compiled program would refuse them.
        update = jax.jit(self._plain_update, donate_argnums=0, out_shardings=placed)

        def compile_one(shape):
            if shape is None:
                return shape, update.lower(state, state["params"]).compile()
            given = (state["params"], self._frozen, state["step"], batches[shape])
            return shape, gradients.lower(*given).compile()

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self._compiled = dict(pool.map(compile_one, [*batches, None]))

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
