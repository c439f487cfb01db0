"""NumPy arrays as pickles hold them, made of parts that are checked first."""

import math
import re

import numpy as np

NDARRAY = "numpy.ndarray"  # stands for the class, which is never given out
_NUMBERS_AND_STRINGS = re.compile(r"\?|[biufc]\d{1,2}|[SU]\d{1,9}")


class Dtype:
    """A dtype that takes only its byte order from a pickle's state."""

    __slots__ = ("dtype",)

    def __init__(self, name: object):
        if not isinstance(name, str) or not _NUMBERS_AND_STRINGS.fullmatch(name):
            found = repr(name[:40]) if isinstance(name, str) else type(name).__name__
            raise ValueError(f"array of {found}, wanted numbers or strings")
        self.dtype = np.dtype(name)

    def set_order(self, state: object) -> None:
        """Takes the byte order; raises ValueError for a state of another form."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("byte order")
        self.dtype = self.dtype.newbyteorder(state[1])


def check_size(shape: object, dtype: object, data: object) -> None:
    """Whether a shape, a `Dtype` and bytes belong together.

    Raises:
      TypeError, ValueError: they do not.
    """
    if not isinstance(dtype, Dtype) or not isinstance(data, bytes | bytearray):
        raise TypeError(f"array of {type(dtype).__name__} from {type(data).__name__}")
    if type(shape) is not tuple or len(shape) > 32:
        raise ValueError("array shape")
    if not all(type(side) is int and 0 <= side < 2**32 for side in shape):
        raise ValueError("array shape")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"array of shape {shape} from {len(data)} bytes")


def empty(kind: object, shape: object, typecode: object) -> np.ndarray:
    """The array that `__setstate__` fills; raises ValueError for one of another kind."""
    if kind is not NDARRAY or shape != (0,):
        raise ValueError("array of another kind")
    return np.ndarray((0,), np.int8)


def of_buffer(
    data: object, dtype: object, shape: object, order: str = "C", axes: object = None
) -> np.ndarray:
    """The array of a buffer; raises as `check_size`."""
    check_size(shape, dtype, data)
    array = np.ndarray(shape, dtype.dtype, bytes(data), order="F" if order == "F" else "C")
    return array if axes is None else array.transpose(axes)


def scalar(dtype: object, data: object) -> np.generic:
    """One value; raises as `check_size`."""
    check_size((), dtype, data)
    return np.ndarray((), dtype.dtype, data)[()]
