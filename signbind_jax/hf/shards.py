"""Writes safetensors one tensor at a time, in one file or in several with an index.

The `safetensors` package writes what lies in memory as a whole, and a shard is large. Here
only names, shapes and dtypes are known beforehand; a tensor is made when its turn comes and
dropped once it is on disk. The format: https://github.com/huggingface/safetensors#format
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax import files

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# numpy's name of a dtype (ml_dtypes' for bfloat16) -> the format's.
_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "int8": "I8"}


@dataclass(frozen=True)
class Stored:
    """A tensor to be written: what the header says of it, and how to make it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    make: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_model(tensors: Sequence[Stored], directory: Path, shard_bytes: int) -> list[Path]:
    """Writes a model's tensors; returns the files.

    Args:
      tensors: in the order of the files.
      directory: exists, and holds no model yet.
      shard_bytes: more than this becomes several files of at most this (a larger tensor has a
        file of its own) and an index.
    """
    shards = _cut(tensors, shard_bytes)
    if len(shards) == 1:
        write_file(tensors, directory / SINGLE)
        return [directory / SINGLE]
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        write_file(shard, directory / name)
    index = {
        "metadata": {"total_size": sum(tensor.size for tensor in tensors)},
        "weight_map": {t.name: name for name, shard in zip(names, shards) for t in shard},
    }
    files.write_json(directory / INDEX, index)
    return [directory / name for name in names]


def _cut(tensors: Sequence[Stored], limit: int) -> list[list[Stored]]:
    shards, size = [[]], 0
    for tensor in tensors:
        if shards[-1] and size + tensor.size > limit:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.size
    return shards


def write_file(tensors: Sequence[Stored], path: Path) -> None:
    """Writes one safetensors file; it is on the disk when this returns.

    Raises:
      ValueError: a tensor is not what was announced.
    """
    header, start = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + tensor.size],
        }
        start += tensor.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data begin at a multiple of eight
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for tensor in tensors:
            array = np.ascontiguousarray(tensor.make())
            if array.shape != tensor.shape or array.dtype != tensor.dtype:
                raise ValueError(
                    f"tensor {tensor.name}: made {array.dtype}{array.shape}, "
                    f"announced {tensor.dtype}{tensor.shape}"
                )
            # As bytes: Python's buffers know no bfloat16.
            file.write(array.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())
