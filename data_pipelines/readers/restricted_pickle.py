"""Reading pickles that others made, without running what they hold.

A pickle is a program: Python's own reader calls whatever it names. Published features come as
pickles all the same, so this reader builds containers, numbers, strings, bytes and NumPy arrays,
and refuses everything else by name before anything of it is called.
"""

import gzip
import io
import math
import pickle
import pickletools
import re
import zlib
from collections.abc import Callable, Sized
from pathlib import Path

import numpy as np

from signbind_jax.errors import SignBindError

MOST_BYTES = 2**29  # of an unpacked pickle; a minute of 133 keypoints takes about 5 MB
_GZIP = b"\x1f\x8b"
_NDARRAY = "numpy.ndarray"  # stands for the class, which is never given out
_NUMBERS_AND_STRINGS = re.compile(r"\?|[biufc]\d{1,2}|[SU]\d{1,9}")

# Left out: persistent ids, extension codes, buffers from outside, and whatever makes an object
# from a class.
_INSTRUCTIONS = """
    PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    LIST EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3
    DICT EMPTY_DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET
    GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_REFUSED = -1000
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _sizes() -> list[tuple[int, str]]:
    """By code: bytes of the argument, or what `pickletools` says of its length; and the name."""
    allowed = set(_INSTRUCTIONS.split())
    sizes = [(_REFUSED, f"of code {code}") for code in range(256)]
    for instruction in pickletools.opcodes:
        size = 0 if instruction.arg is None else instruction.arg.n
        if instruction.name not in allowed:
            size = _REFUSED
        sizes[ord(instruction.code)] = size, instruction.name
    return sizes


_SIZES = _sizes()


def load(path: Path, most_bytes: int = MOST_BYTES) -> object:
    """What a pickle file holds, compressed with gzip or not.

    Arrays are of a subclass of `numpy.ndarray` and may be read-only.

    Args:
      path: the file.
      most_bytes: largest pickle to be read, unpacked.

    Raises:
      SignBindError: no such file; no pickle, or one cut off; more than `most_bytes`; anything in
        it but containers, numbers, strings, bytes and arrays of numbers or strings.
    """
    try:
        data = _bytes(path, most_bytes)
        _check_instructions(data, path)
        return _Unpickler(data, path, _Budget(most_bytes)).load()
    except SignBindError:
        raise
    except OSError as error:
        raise SignBindError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a broken or hostile pickle does to its reader
        line = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise SignBindError(f"{path}: cannot be read as a pickle ({line}): fetch it again, or "
                            "convert it to .npz where it was made") from error  # fmt: skip


def _bytes(path: Path, most: int) -> bytes:
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        try:
            # A few kilobytes of gzip may unpack to gigabytes: no more than allowed is unpacked.
            data = gzip.GzipFile(fileobj=file).read(most + 1) if packed else file.read(most + 1)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise SignBindError(f"{path}: cannot be unpacked ({error}): fetch it again") from error
    if len(data) > most:
        raise SignBindError(f"{path}: found more than {most} bytes unpacked, wanted at most that")
    return data


def _check_instructions(data: bytes, path: Path) -> None:
    """Lists the instructions before any of them runs.

    That every length is backed by bytes of the file and every memo number by an instruction
    keeps a short file from asking for gigabytes.
    """
    position, n = 0, 0
    while True:
        n += 1
        size, name = _SIZES[data[position]]
        argument = position + 1
        if size >= 0:
            position = argument + size
        elif size in _LENGTH_BYTES:
            begin = argument + _LENGTH_BYTES[size]
            position = begin + int.from_bytes(data[argument:begin], "little")
        elif size == pickletools.UP_TO_NEWLINE:
            position = data.index(b"\n", argument) + 1
            if name == "GLOBAL":  # two lines, module and name
                position = data.index(b"\n", position) + 1
        else:
            raise SignBindError(f"{path}: pickle: found the instruction {name}, wanted only "
                                "containers, numbers, strings and arrays")  # fmt: skip
        if position > len(data):
            raise ValueError(f"{name} past the end")
        if name == "STOP":
            return
        if name in ("LONG_BINPUT", "PUT"):
            memo = data[argument:position]
            if (int(memo) if name == "PUT" else int.from_bytes(memo, "little")) > n:
                raise ValueError(f"{name} to a place of its own at instruction {n}")


class _Unpickler(pickle.Unpickler):
    """Knows the few names that arrays and plain containers are pickled under."""

    def __init__(self, data: bytes, path: Path, budget: "_Budget"):
        super().__init__(io.BytesIO(data))
        self._path = path
        self._budget = budget

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("numpy", "ndarray"):
            return _NDARRAY
        here = module.replace("numpy.core.", "numpy._core.").replace("__builtin__", "builtins")
        build = _BUILDERS.get((here, name))
        if build is None:
            raise SignBindError(f"{self._path}: pickle: found {module}.{name}, wanted only "
                                "containers, numbers, strings and arrays: a pickle runs what it "
                                "names")  # fmt: skip
        budget = self._budget

        # Of this one load, so that a pickle that sets its attributes harms no other.
        def call(*arguments: object) -> object:
            budget.spend(*arguments)
            built = build(*arguments)
            if isinstance(built, _Array):
                built.budget = budget
            return built

        return call

    def persistent_load(self, pid: object) -> object:
        raise SignBindError(f"{self._path}: pickle: found a persistent id, wanted none")


class _Budget:
    """Bounds what may be copied: a pickle may have one string copied again and again."""

    def __init__(self, n_bytes: int):
        self._left = n_bytes

    def spend(self, *values: object) -> None:
        self._left -= sum(len(value) for value in values if isinstance(value, Sized))
        if self._left < 0:
            raise ValueError("more copies of its strings than would fit into the largest file")


class _Dtype:
    """A dtype that takes only its byte order from a pickle's state."""

    __slots__ = ("dtype",)

    def __init__(self, name: str, *_: object):
        if not isinstance(name, str) or not _NUMBERS_AND_STRINGS.fullmatch(name):
            raise ValueError(f"array of {str(name)[:40]!r}, wanted numbers or strings")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"byte order {str(order)[:10]!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose state is checked before NumPy takes it."""

    budget: _Budget

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, in_columns, data = state
        _check_size(shape, dtype, data)
        self.budget.spend(data)
        super().__setstate__((1, shape, dtype.dtype, bool(in_columns), data))


def _check_size(shape: tuple, dtype: _Dtype, data: bytes) -> None:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise TypeError(f"array of {type(dtype).__name__} from {type(data).__name__}")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("array shape")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"array of shape {shape} from {len(data)} bytes")


def _empty_array(kind: object, shape: tuple, _: object) -> _Array:
    if kind is not _NDARRAY or tuple(shape) != (0,):
        raise ValueError("array of another kind")
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _array_of_buffer(data: bytes, dtype: _Dtype, shape: tuple, order: str = "C",
                     axes: tuple | None = None) -> np.ndarray:  # fmt: skip
    _check_size(shape, dtype, data)
    array = np.ndarray(shape, dtype.dtype, bytes(data), order="F" if order == "F" else "C")
    return (array if axes is None else array.transpose(axes)).view(_Array)


def _scalar(dtype: _Dtype, data: bytes) -> np.generic:
    _check_size((), dtype, data)
    return np.ndarray((), dtype.dtype, data)[()]


def _dict(pairs: tuple | list = ()) -> dict:
    return dict(pairs)


def _encoded(text: str, encoding: str) -> bytes:
    """How protocols before 3 write bytes."""
    if encoding != "latin1":
        raise ValueError(f"encoding {str(encoding)[:20]!r}")
    return text.encode("latin1")


def _bytearray(data: bytes | str = b"", encoding: str = "latin1") -> bytearray:
    if not isinstance(data, bytes):  # a number would ask for that many bytes
        data = _encoded(data, encoding)
    return bytearray(data)


def _no_bytes() -> bytes:
    return b""


_BUILDERS: dict[tuple[str, str], Callable] = {
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _array_of_buffer,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): _dict,
    ("builtins", "set"): lambda items=(): set(items),
    ("builtins", "frozenset"): lambda items=(): frozenset(items),
    ("builtins", "bytes"): _no_bytes,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): _bytearray,
    ("_codecs", "encode"): _encoded,
}
