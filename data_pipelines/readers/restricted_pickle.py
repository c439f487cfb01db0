"""Reading pickles that others made, without running what they hold.

A pickle is a program: Python's own reader calls whatever it names, and a few bytes of it may ask
for any amount of memory or time. Published features come as pickles all the same, so this reader
runs the few instructions that build containers, numbers, strings, bytes and NumPy arrays, counts
what they build, and refuses everything else by name before anything of it is called.
"""

import pickletools
import sys
from collections.abc import Callable, Sized
from pathlib import Path

import numpy as np

from signbind_jax import files
from signbind_jax.data_pipelines.readers import pickled_arrays
from signbind_jax.errors import SignBindError

MOST_BYTES = 2**27  # of an unpacked pickle; a minute of 133 keypoints takes about 5 MB
DEEPEST = 50  # containers in containers
_MOST_BITS = 128  # of a whole number
# Python finds these by hashes that a file cannot choose to be all the same; whole numbers up to
# this many bits are their own hash.
_KEY_BITS = 60
_KEYS = (str, bytes, bool, int, float, type(None))
_ITEM_BYTES = 100  # of a dictionary's or set's table
_SLOT_BYTES = 8
_INSTRUCTION_BYTES = 24  # what each counts at least, as its time has to be bounded too


def load(path: Path, most_bytes: int = MOST_BYTES) -> object:
    """What a pickle file holds, compressed with gzip or not.

    Arrays may be read-only. Keys are text, bytes and numbers.

    Args:
      path: the file.
      most_bytes: largest pickle to be read, unpacked. What it builds may take three times as
        much memory, and has at most a quarter as many numbers and characters where what it names
        several times is counted as often.

    Raises:
      SignBindError: no such file; no pickle, or one cut off; more than allowed; anything in it
        but containers, numbers, strings, bytes and arrays of numbers or strings.
    """
    data = files.read_unpacked(path, most_bytes)
    try:
        value = _Machine(path, 3 * most_bytes).run(data)
        _check_expanded(value, most_bytes // 4)
        return value
    except SignBindError:
        raise
    except Exception as error:  # whatever a broken or hostile pickle does to its reader
        line = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise SignBindError(
            f"{path}: cannot be read as a pickle ({line}): fetch it again, or convert it to .npz "
            "where it was made"
        ) from error


class _Machine:
    """Runs a pickle's instructions on a stack of its own and counts the memory that they take."""

    def __init__(self, where: Path, most_bytes: int):
        self._where, self._left = where, most_bytes
        self._stack: list = []
        self._below: list[list] = []  # the stacks under each mark
        self._memo: dict[int, object] = {}

    def run(self, data: bytes) -> object:
        """What the pickle builds.

        Raises:
          SignBindError: an instruction that may call something.
          ValueError: too much memory, or a value that is not allowed.
          Exception: others, for a pickle that is none.
        """
        # The decoder never reads past the data, so a length without its bytes is an error.
        for instruction, argument, position in pickletools.genops(data):
            name = instruction.name
            self._spend(_INSTRUCTION_BYTES)
            if name in _STEPS:
                _STEPS[name](self, argument)
            elif name == "STOP":
                return self._stack.pop()
            elif name == "FRAME" and argument > len(data) - position:
                raise ValueError("frame past the end")
            elif name not in ("PROTO", "FRAME"):
                raise SignBindError(
                    f"{self._where}: pickle: found the instruction {name}, wanted only "
                    "containers, numbers, strings and arrays"
                )
        raise ValueError("no end")

    def _spend(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise ValueError("takes more memory or time than any data of its kind")

    def _push(self, value: object) -> None:
        self._spend(sys.getsizeof(value) + _SLOT_BYTES)
        if type(value) is int and value.bit_length() > _MOST_BITS:
            raise ValueError(f"whole number of {value.bit_length()} bits")
        self._stack.append(value)

    def _push_ascii(self, text: str) -> None:
        """Pushes what Python 2 wrote, which does not say how other letters are encoded."""
        if not text.isascii():
            raise ValueError("text of an unknown encoding")
        self._push(text)

    def _mark(self, _: object) -> None:
        self._spend(sys.getsizeof([]))
        self._below.append(self._stack)
        self._stack = []

    def _to_mark(self, _: object = None) -> list:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _pop(self, _: object) -> None:
        if self._stack:
            del self._stack[-1]
        else:
            self._to_mark()

    def _memoize(self, place: int | None) -> None:
        self._spend(_ITEM_BYTES)
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def _get(self, place: int) -> None:
        self._spend(_SLOT_BYTES)
        self._stack.append(self._memo[place])

    def _duplicate(self, _: object) -> None:
        self._spend(_SLOT_BYTES)
        self._stack.append(self._stack[-1])

    def _tuple(self, n: int) -> None:
        items = self._stack[-n:]
        if len(items) < n:
            raise ValueError("tuple of what is not there")
        self._stack[-n:] = []
        self._push(tuple(items))

    def _extend(self, items: list) -> None:
        target = self._stack[-1]
        self._spend(_SLOT_BYTES * len(items))
        if type(target) is not list:
            raise TypeError(f"items of a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, items: list) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError(f"pairs of a {type(target).__name__}")
        target.update(self._pairs(zip(items[::2], items[1::2], strict=True)))

    def _add(self, items: list) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise TypeError(f"members of a {type(target).__name__}")
        target.update(self._keys(items))

    def _pairs(self, pairs) -> dict:
        keys, values = [], []
        for key, value in pairs:
            keys.append(key)
            values.append(value)
        return dict(zip(self._keys(keys), values, strict=True))

    def _keys(self, keys) -> list:
        """What a dictionary or a set may hold: nothing whose hash takes time or can be forged."""
        keys = list(keys)
        self._spend(_ITEM_BYTES * len(keys))
        for key in keys:
            if type(key) not in _KEYS:
                raise TypeError(f"a {type(key).__name__} as key")
            if type(key) is int and key.bit_length() > _KEY_BITS:
                raise ValueError(f"a key of {key.bit_length()} bits")
        return keys

    def _find(self, name: str) -> None:
        """Pushes what stands for a name, where it is one of the few that data are pickled under."""
        module, _, name = name.partition(" ")
        self._stack.append(self._named(module, name))

    def _find_from_stack(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a name that is no text")
        self._stack.append(self._named(module, name))

    def _named(self, module: str, name: str) -> object:
        if (module, name) == ("numpy", "ndarray"):
            return pickled_arrays.NDARRAY
        here = module.replace("numpy.core.", "numpy._core.").replace("__builtin__", "builtins")
        build = _BUILDERS.get((here, name))
        if build is None:
            found = ascii(f"{module}.{name}"[:100])[1:-1]
            raise SignBindError(
                f"{self._where}: pickle: found {found}, wanted only containers, numbers, "
                "strings and arrays: a pickle runs what it names"
            )
        return build

    def _call(self, _: object) -> None:
        arguments, build = self._stack.pop(), self._stack.pop()
        if not isinstance(build, _Builder) or type(arguments) is not tuple:
            raise TypeError(f"a call of a {type(build).__name__}")
        # What is built is a copy: a pickle may have one string copied again and again.
        self._spend(sum(sys.getsizeof(x) for x in arguments if isinstance(x, Sized)))
        self._push(build(self, *arguments))

    def _set_state(self, _: object) -> None:
        state, built = self._stack.pop(), self._stack[-1]
        if isinstance(built, pickled_arrays.Dtype):
            built.set_order(state)
        elif isinstance(built, np.ndarray):
            _, shape, dtype, in_columns, data = state
            pickled_arrays.check_size(shape, dtype, data)
            self._spend(sys.getsizeof(data))
            built.__setstate__((1, shape, dtype.dtype, bool(in_columns), data))
        else:
            raise TypeError(f"attributes of a {type(built).__name__}")


_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
)
# Left out: persistent ids, extension codes, buffers from outside, and whatever makes an object
# from a class.
_STEPS: dict[str, Callable[[_Machine, object], None]] = {
    **dict.fromkeys(_PUSHED, _Machine._push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _Machine._push_ascii),
    "NONE": _Machine._push,  # without an argument, which is None then
    "NEWTRUE": lambda m, _: m._push(True),
    "NEWFALSE": lambda m, _: m._push(False),
    "EMPTY_LIST": lambda m, _: m._push([]),
    "EMPTY_TUPLE": lambda m, _: m._push(()),
    "EMPTY_DICT": lambda m, _: m._push({}),
    "EMPTY_SET": lambda m, _: m._push(set()),
    "MARK": _Machine._mark,
    "POP": _Machine._pop,
    "POP_MARK": _Machine._to_mark,
    "DUP": _Machine._duplicate,
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), _Machine._memoize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine._get),
    "LIST": lambda m, _: m._push(m._to_mark()),
    "APPEND": lambda m, _: m._extend([m._stack.pop()]),
    "APPENDS": lambda m, _: m._extend(m._to_mark()),
    "TUPLE": lambda m, _: m._push(tuple(m._to_mark())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "DICT": lambda m, _: (items := m._to_mark(), m._push({}), m._set_items(items)),
    "SETITEM": lambda m, _: m._set_items([m._stack.pop(-2), m._stack.pop()]),
    "SETITEMS": lambda m, _: m._set_items(m._to_mark()),
    "ADDITEMS": lambda m, _: m._add(m._to_mark()),
    "FROZENSET": lambda m, _: m._push(frozenset(m._keys(m._to_mark()))),
    "GLOBAL": _Machine._find,
    "STACK_GLOBAL": _Machine._find_from_stack,
    "REDUCE": _Machine._call,
    "BUILD": _Machine._set_state,
}


def _check_expanded(value: object, most: int) -> None:
    """Counts the values of all that is nested, what stands in several places as often.

    A pickle of a few bytes may hold a list of lists of the same lists: whoever copies or prints
    it, or makes an array of it, gets all of them.
    """
    known: dict[int, tuple[int, int]] = {}  # by identity: values, depth

    def count(value: object, depth: int) -> tuple[int, int]:
        if isinstance(value, str | bytes | bytearray):
            return 1 + len(value), 0
        if isinstance(value, np.ndarray):
            return 1 + value.size * max(1, value.dtype.itemsize // 8), 0
        if not isinstance(value, list | tuple | dict | set | frozenset):
            return 1, 0
        if id(value) not in known:
            if depth > DEEPEST:
                raise ValueError(f"nested more than {DEEPEST} deep")
            total, height = 1, 0
            for items in (value, value.values()) if isinstance(value, dict) else (value,):
                for item in items:
                    n, below = count(item, depth + 1)
                    total, height = total + n, max(height, below)
            known[id(value)] = total, height + 1
            if total > most or height >= DEEPEST:
                raise ValueError(f"more than {most} values, or nested more than {DEEPEST} deep")
        return known[id(value)]

    count(value, 0)


class _Builder:
    """Stands for a name that a pickle may call."""

    def __init__(self, build: Callable):
        self._build = build

    def __call__(self, machine: _Machine, *arguments: object) -> object:
        """What the call comes to."""
        return self._build(machine, *arguments)


def _dict(machine: _Machine, pairs: object = ()) -> dict:
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise TypeError("a dictionary of other than pairs")
    return machine._pairs(pairs)


def _items(items: object) -> list | tuple:
    if not isinstance(items, list | tuple):
        raise TypeError(f"a set of a {type(items).__name__}")
    return items


def _encoded(text: object, encoding: object) -> bytes:
    """How protocols before 3 write bytes."""
    if encoding != "latin1":
        raise ValueError("encoding")
    return text.encode("latin1")


def _bytearray(data: object = b"", encoding: object = "latin1") -> bytearray:
    if not isinstance(data, bytes):  # a number would ask for that many bytes
        data = _encoded(data, encoding)
    return bytearray(data)


_PURE = {
    ("numpy._core.multiarray", "_reconstruct"): pickled_arrays.empty,
    ("numpy._core.multiarray", "scalar"): pickled_arrays.scalar,
    ("numpy._core.numeric", "_frombuffer"): pickled_arrays.of_buffer,
    ("numpy", "dtype"): lambda name, *rest: pickled_arrays.Dtype(name),
    ("builtins", "bytes"): lambda: b"",
    ("builtins", "complex"): lambda real, imaginary=0.0: complex(float(real), float(imaginary)),
    ("builtins", "bytearray"): _bytearray,
    ("_codecs", "encode"): _encoded,
}
_COUNTED = {  # they ask the machine what may be a key
    ("collections", "OrderedDict"): _dict,
    ("builtins", "set"): lambda m, items=(): set(m._keys(_items(items))),
    ("builtins", "frozenset"): lambda m, items=(): frozenset(m._keys(_items(items))),
}
_BUILDERS = {
    **{name: _Builder(lambda _, *given, make=make: make(*given)) for name, make in _PURE.items()},
    **{name: _Builder(make) for name, make in _COUNTED.items()},
}
