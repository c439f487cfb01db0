"""The weights of a part of a bundle: how they are written and read.

A weight keeps its name. One that was made eight-bit whole numbers, `NAME`, has a tensor
`NAME.scale` beside it: float32 of as many dimensions, of size 1 where one scale holds for all.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.hf.shards import Stored, write_model
from signbind_jax.hf.weights import STORED_TYPES, Checkpoint
from signbind_jax.models.layers import Embed, Linear

DTYPES = ("float32", "bfloat16", "int8")
SHARD_BYTES = 5 * 10**9
_INT8, _MOST = "I8", 127
_SCALE = ".scale"


def name_of(path: tuple) -> str:
    """What the files call a weight of a model's state."""
    return "/".join(map(str, path))


def write_weights(
    graphdef: nnx.GraphDef, params: nnx.State, directory: Path, dtype: str
) -> list[Path]:
    """Writes the weights of a model as safetensors; returns the files.

    Args:
      dtype: of weights that are float32: as they are, or rounded to bfloat16. "int8": kernels of
        linear layers and embedding tables of whatever type, each output (of a table: each row)
        with a scale of its own; all else stays as it is.
    """
    inputs = _input_axes(graphdef, params) if dtype == "int8" else {}
    tensors: list[Stored] = []
    for path, variable in nnx.to_flat_state(params):
        array, name = variable.get_value(), name_of(path)
        if path in inputs:
            tensors += _stored_int8(name, array, inputs[path])
        else:
            round_it = dtype == "bfloat16" and array.dtype == np.float32
            tensors.append(_stored(name, array, np.dtype(dtype) if round_it else array.dtype))
    # Wide numbers first, so that each begins at a multiple of its size.
    tensors.sort(key=lambda tensor: -tensor.dtype.itemsize)
    return write_model(tensors, directory, SHARD_BYTES)


def _stored(name: str, array: jax.Array, dtype: np.dtype) -> Stored:
    return Stored(name, array.shape, np.dtype(dtype), lambda: np.asarray(array).astype(dtype))


def _input_axes(graphdef: nnx.GraphDef, params: nnx.State) -> dict[tuple, tuple[int, ...]]:
    """The axes over which an output of a linear layer sums, and those of a row of a table."""
    found = {}
    model = nnx.merge(graphdef, params)
    for path, module in nnx.iter_modules(model):
        if isinstance(module, Linear):
            layered = module.kernel.ndim - len(module.in_shape) - len(module.out_shape)
            axes = range(layered, layered + len(module.in_shape))
            found[*path, "kernel"] = tuple(axes)
        elif isinstance(module, Embed):
            found[*path, "table"] = (module.table.ndim - 1,)
    return found


def _stored_int8(name: str, array: jax.Array, axes: tuple[int, ...]) -> Iterator[Stored]:
    """The two tensors of a weight; half a step of a scale is the most that it is rounded by."""

    def scale() -> np.ndarray:
        largest = np.abs(np.asarray(array, np.float32)).max(axes, keepdims=True)
        return np.where(largest > 0, largest / _MOST, 1).astype(np.float32)

    def whole() -> np.ndarray:
        steps = np.rint(np.asarray(array, np.float32) / scale())
        return np.clip(steps, -_MOST, _MOST).astype(np.int8)

    shape = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    yield Stored(name, array.shape, np.dtype(np.int8), whole)
    yield Stored(f"{name}{_SCALE}", shape, np.dtype(np.float32), scale)


def check_names(checkpoint: Checkpoint, wanted: Mapping[tuple, object], directory: Path) -> None:
    """Whether files hold weights that a model does not have.

    Raises:
      SignBindError: they do.
    """
    known = {name_of(path) for path in wanted}
    known |= {f"{name}{_SCALE}" for name in known}
    for name in sorted(set(checkpoint.file_of) - known):
        raise SignBindError(f"{directory}: tensor {name[:100]!r}: found it, wanted nothing")


def reader_of(
    checkpoint: Checkpoint, name: str, shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[tuple], np.ndarray]:
    """What reads a part of a weight, whose header is what is wanted.

    Args:
      dtype: of the weight in memory.

    Raises:
      SignBindError: a weight that is missing or of another shape or type.
    """
    tensor = checkpoint.tensor(name)
    found = tensor.get_shape(), tensor.get_dtype()
    if found[0] != shape or found[1] not in (*STORED_TYPES, _INT8):
        raise SignBindError(
            f"{tensor.path}: tensor {name}: found {found[1]} {found[0]}, wanted {shape} of "
            f"{', '.join(STORED_TYPES)} or {_INT8}"
        )
    if found[1] != _INT8:
        return lambda index: np.ascontiguousarray(tensor[index]).astype(dtype)
    scale = checkpoint.tensor(f"{name}{_SCALE}")
    sides, kind = scale.get_shape(), scale.get_dtype()
    fits = len(sides) == len(shape) and all(
        side in (1, n) for side, n in zip(sides, shape, strict=True)
    )
    if not fits or kind != "F32":
        raise SignBindError(
            f"{scale.path}: tensor {name}{_SCALE}: found {kind} {sides}, wanted F32 {shape}, 1 "
            "where one scale holds for all"
        )

    def read(index: tuple) -> np.ndarray:
        ones = [slice(None) if n == 1 else part for part, n in zip(index, sides, strict=True)]
        return (tensor[index].astype(np.float32) * scale[tuple(ones)]).astype(dtype)

    return read
