"""What the fields of a config may hold: said in their types, checked whenever one is made.

```python
@dataclass(frozen=True)
class OptimConfig(Checked):
    learning_rate: Positive = 1e-3
    kind: Annotated[str, OneOf("adamw", "sgd")] = "adamw"
```
"""

import argparse
import dataclasses
import difflib
import functools
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten


@dataclass(frozen=True)
class Range:
    """least <= x <= most and above < x < below; None is no limit."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def allows(self, x: float) -> bool:
        """Whether a number lies within."""
        return (
            (self.least is None or x >= self.least)
            and (self.most is None or x <= self.most)
            # As devices round it: 1e-50 is 0 to them, and 1 - 1e-9 is 1.
            and (self.above is None or np.float32(x) > self.above)
            and (self.below is None or np.float32(x) < self.below)
        )

    def __str__(self) -> str:
        ends = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        return " and ".join(f"{end} {x:,}" for end, x in ends if x is not None)


class OneOf:
    """One of the texts named, or of those that `more` gives by then; of a field of type `object`
    also one of the values."""

    def __init__(self, *names: str | bool, more: Callable[[], Iterable[str]] = tuple):
        self._names, self._more = names, more

    @property
    def names(self) -> tuple[str | bool, ...]:
        """The values allowed now."""
        return (*self._names, *self._more())

    def allows(self, value: Any) -> bool:
        """Whether a value is one of those named; 1 is not True."""
        return any(isinstance(value, type(name)) and value == name for name in self.names)

    def __str__(self) -> str:
        return "one of " + ", ".join(repr(name) for name in self.names)


class Matching:
    """What a condition allows, such as `Matching(lambda x: x % 2, "odd")`."""

    def __init__(self, allows: Callable[[Any], bool], wanted: str):
        self.allows, self.wanted = allows, wanted

    def __str__(self) -> str:
        return self.wanted


def _can_be_written(text: str) -> bool:
    # An argument that is not UTF-8 reaches Python as halves of surrogate pairs.
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _is_span(text: str) -> bool:
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, re.ASCII)
    return not text or match is not None and 0 < int(match[1]) < int(match[2])


LARGEST, LARGEST_FLOAT = 2**31 - 1, 3.4e38  # of int32 and float32, in which devices count
Count = Annotated[int, Range(1, LARGEST)]
Whole = Annotated[int, Range(0, LARGEST)]
Size = Annotated[int, Range(1, 2**20)]  # of a layer or a vocabulary
Layers = Annotated[int, Range(1, 1000)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # larger ones begin anew in jax.random
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(0)]
Strength = Annotated[float, Range(0, 10)]  # of what is usually well below 1
Share = Annotated[float, Range(0, 1)]
Rate = Annotated[float, Range(0, below=1)]  # of dropout
Text = Annotated[str, Matching(_can_be_written, "in UTF-8 without NUL")]
StepSpan = Annotated[str, Matching(_is_span, "FIRST:END such as 100:110, from 1 on, or nothing")]
DTypeName = Annotated[str, OneOf("float32", "bfloat16")]
NonEmpty = Matching(bool, "at least one")

_KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list",
}
_TRUTH = {"true": True, "false": False}


class FieldError(SignBindError):
    """A value that a config's field cannot have; `moved` says by which path it was given."""

    def __init__(self, message: str, field: str = ""):
        super().__init__(message)
        self.field = field

    def moved(self, where: str) -> "FieldError":
        """The same error for the field of another config or path."""
        _, dot, rest = str(self).partition(f".{self.field}: ")
        return FieldError(f"{where}{dot}{rest}", self.field)


def field_error(where: str, field: str, found: Any, wanted: str) -> FieldError:
    """One line with the field, the value found and the value wanted."""
    return FieldError(f"{where}.{field}: found {shorten(found)}, wanted {wanted}", field)


class Checked:
    """A frozen dataclass of which no object can hold a value out of its fields' ranges.

    Raises:
      FieldError: a value of another type or out of range; see `conflicts`.
    """

    def __post_init__(self):
        where = type(self).__name__
        for name, hint in hints_of(type(self)).items():
            object.__setattr__(self, name, fit(getattr(self, name), hint, where, name))
        for name, wanted in self.conflicts():
            raise field_error(where, name, getattr(self, name), wanted)

    def conflicts(self) -> Iterable[tuple[str, str]]:
        """Fields whose values do not go with those of others, and what would."""
        return ()


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Field -> type of a dataclass, ranges included."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def parts_of(hint) -> tuple[Any, tuple]:
    """A type without its limits, and these."""
    if typing.get_origin(hint) is Annotated:
        return typing.get_args(hint)[0], hint.__metadata__
    return hint, ()


def fit(value: Any, hint, where: str, field: str) -> Any:
    """The value as its type has it: a tuple of a list, a float of a whole number, also within
    names with values.

    Raises:
      FieldError: another type, or out of range.
    """
    kind, limits = parts_of(hint)
    origin = typing.get_origin(kind) or kind
    if origin is tuple and isinstance(value, list):
        value = tuple(value)
    if origin is dict and isinstance(value, Mapping):
        value = _fit_each(value, typing.get_args(kind), where, field)
    if not fits(value, hint):
        raise field_error(where, field, value, wanted(hint) + _near(value, limits))
    return float(value) if origin is float else value


def _fit_each(values: Mapping, inner: tuple, where: str, field: str) -> dict:
    if not inner:
        return dict(values)
    name, value = inner
    return {
        fit(key, name, where, f"{field}.{key}"): fit(x, value, where, f"{field}.{key}")
        for key, x in values.items()
    }


def wanted(hint) -> str:
    """What a type asks for, in words: "a whole number, at least 1"."""
    kind, limits = parts_of(hint)
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    words = [_KINDS.get(origin, "names with values")]
    if limits and isinstance(limits[0], OneOf):
        words = []
    if origin is dict and inner:
        inner = inner[1:]
    elif inner and inner[-1] is not Ellipsis:
        words = [f"{len(inner)} values"]
    words += filter(None, map(str, limits))
    return ", ".join([*words, f"each {wanted(inner[0])}"] if inner else words)


def fits(value: Any, hint) -> bool:
    """Whether a value has a type and lies within its limits."""
    kind, limits = parts_of(hint)
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if isinstance(value, bool) and origin is not object:
        return origin is bool
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        inner = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        good = len(value) == len(inner) and all(map(fits, value, inner))
    elif origin is dict and inner:
        good = isinstance(value, dict) and all(
            fits(k, inner[0]) and fits(x, inner[1]) for k, x in value.items()
        )
    elif origin is float:
        good = isinstance(value, int | float) and abs(value) <= LARGEST_FLOAT  # no NaN
    else:
        good = isinstance(value, origin)
    return good and all(limit.allows(value) for limit in limits)


def _near(value: Any, limits: tuple) -> str:
    names = [
        name
        for limit in limits
        if isinstance(limit, OneOf)
        for name in limit.names
        if isinstance(name, str)
    ]
    near = difflib.get_close_matches(value, names, 1, 0.5) if isinstance(value, str) else ()
    return f"; did you mean {near[0]!r}?" if near else ""


def argument(hint) -> Callable[[str], Any]:
    """An argparse type: a number of an annotated type, such as `Count`, a truth value, or one
    of the values that `OneOf` names."""
    kind, _ = parts_of(hint)

    def read(text: str):
        try:
            value = _TRUTH.get(text.lower(), text) if kind in (bool, object) else kind(text)
        except ValueError:
            value = None
        if not fits(value, hint):
            raise argparse.ArgumentTypeError(f"found {shorten(text)}, wanted {wanted(hint)}")
        return value

    return read
