"""The decoder's cache of keys and values."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVCache:
    """Keys (already rotated) and values of every layer, in a fixed number of slots u.

    A slot has no position of its own in the sentence: position and mask are given with each
    query. That lets several beams share one cache without ever moving a key.

    Attributes:
      k_ibhue, v_ibhue: (layers, batch, kv heads, slots, head size); or, unstacked, a tuple of
        one array a layer.
      position_bu: int32, the position of each slot's token in its sentence.
      length: int32 scalar, how many slots are written; `step` writes the next ones.
    """

    k_ibhue: jax.Array | tuple[jax.Array, ...]
    v_ibhue: jax.Array | tuple[jax.Array, ...]
    position_bu: jax.Array
    length: jax.Array

    @classmethod
    def of_prefix(cls, k_ibhpe, v_ibhpe, position_bp, capacity: int) -> "KVCache":
        """Holds a prefix in the first of its `capacity` slots."""
        p = position_bp.shape[1]
        free = [(0, 0)] * 3 + [(0, capacity - p), (0, 0)]
        position_bu = jnp.pad(position_bp, [(0, 0), (0, capacity - p)])
        return cls(jnp.pad(k_ibhpe, free), jnp.pad(v_ibhpe, free), position_bu, jnp.int32(p))

    def unstacked(self) -> "KVCache":
        """Holds the same in one array a layer, as `UnstackedDecoder` has it."""
        return dataclasses.replace(self, k_ibhue=tuple(self.k_ibhue), v_ibhue=tuple(self.v_ibhue))
