"""A checksum of an array that does not depend on how it is sharded.

A digest such as SHA-256 needs all bytes in one place; on many hosts no process has them. Here
each shard contributes a sum, and the sums add up to the array's checksum on any mesh and any
number of hosts. It finds accidents (flipped bits, zeroed or swapped blocks); it is no defence
against someone who forges a checkpoint.
"""

from collections.abc import Sequence

import jax
import numpy as np

_CHUNK = 1 << 16  # elements weighted at once: stays in a core's cache


def describe(x) -> str:
    """Names type and shape of an array, as "float32[8,4]"."""
    return f"{np.dtype(x.dtype).name}[{','.join(map(str, x.shape))}]"


def partial_checksum(x) -> int:
    """Computes what this process contributes to the checksum of `x`, a jax or numpy array.

    The checksum is sum(w[i] * bits[i]) modulo 2**64 over all elements (multilinear hashing,
    Lemire and Kaser, 2014), `w` being a product of one odd pseudo-random weight a dimension.
    The contributions of all processes add up to it, modulo 2**64.
    """
    total = 0
    for index, block in host_blocks(x):
        total += _block_checksum(block, [rows.start for rows in index])
    return total % 2**64


def is_local(x) -> bool:
    """Says whether every process has an `x` of its own (they are taken to be equal)."""
    if not isinstance(x, jax.Array):
        return True
    return jax.process_count() > 1 and x.is_fully_addressable


def host_blocks(x) -> list[tuple[tuple[slice, ...], np.ndarray]]:
    """Lists the parts of `x` this process answers for, on the host, each with its place in `x`.

    Every element of a global array belongs to one block of one process.
    """
    if is_local(x):
        blocks = [((slice(None),) * x.ndim, np.asarray(x))] if jax.process_index() == 0 else []
    else:
        shards = [s for s in x.addressable_shards if s.replica_id == 0]
        blocks = [(s.index, np.asarray(s.data)) for s in shards]
    return [
        (tuple(slice(*r.indices(n)) for r, n in zip(index, x.shape, strict=True)), block)
        for index, block in blocks
    ]


def _block_checksum(block: np.ndarray, start: Sequence[int]) -> int:
    if block.size == 0:
        return 0
    # One more trailing dimension: an 8-byte element is two words there, any other is one.
    words = np.ascontiguousarray(block).reshape(*block.shape, 1)
    words = words.view(f"u{min(block.dtype.itemsize, 4)}")
    if words.shape[-1] == 1 and block.ndim:
        words = words[..., 0]
    weights = [_weights(d, i, n) for d, (i, n) in enumerate(zip((*start, 0), words.shape))]
    row_weight = np.ones((), np.uint64)
    for weight in weights[:-1]:
        row_weight = np.multiply.outer(row_weight, weight)
    row_weight = row_weight.reshape(-1)
    words = words.reshape(-1, words.shape[-1])
    total = 0
    n_rows = max(1, _CHUNK // words.shape[-1])
    for i in range(0, len(words), n_rows):
        weighted = words[i : i + n_rows].astype(np.uint64) * weights[-1]
        rows = weighted.sum(axis=1, dtype=np.uint64) * row_weight[i : i + n_rows]
        total += int(rows.sum(dtype=np.uint64))
    return total


def _weights(dimension: int, start: int, size: int) -> np.ndarray:
    """Makes odd uint64 weights of indices start..start+size (SplitMix64, Steele et al., 2014)."""
    z = np.arange(start, start + size, dtype=np.uint64) + np.uint64(dimension << 48)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)
