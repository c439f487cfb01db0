"""Optimised HLO as text -> computations, instructions, shapes; no costs yet.

The text is what XLA writes with `--xla_dump_to` ("after_optimizations"). Only what the costs
need is understood; an instruction that cannot be taken apart is an error, never skipped.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from signbind_jax.errors import SignBindError

# Bits of an element where its type's name does not say them.
_BITS = {"pred": 8, "token": 0, "opaque": 0}
_NUMBER = re.compile(r"(?:s|u|f|bf|c)(\d+)(?:e\d+m\d+\w*)?")  # s32, bf16, f8e4m3fn
# Attributes that name computations.
_CALLING = ("calls", "to_apply", "called_computations", "branch_computations")
_CALLING += ("true_computation", "false_computation")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?")
_HEAD = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .* )?\{$")
_NAME = re.compile(r"%?([\w.\-]+)$")


@dataclass(frozen=True)
class Array:
    """One array of a shape.

    Attributes:
      dtype: HLO's name of the element type.
      dims: sizes.
      memory: XLA's memory space: 0 is HBM, others are on the chip or on the host.
    """

    dtype: str
    dims: tuple[int, ...]
    memory: int = 0

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.dims)

    @property
    def n_bytes(self) -> float:
        """Bytes without the padding of tiles."""
        return self.size * _bits(self.dtype) / 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      arrays: of the result; several for a tuple.
      operands: names within the same computation.
      text: between the parentheses behind the opcode, for constants and parameters.
      attributes: the rest of the line.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str
    attributes: str
    is_root: bool

    @property
    def n_bytes(self) -> float:
        """Of the result, without the padding of tiles."""
        return sum(array.n_bytes for array in self.arrays)

    @property
    def hbm_bytes(self) -> float:
        """Of the result's arrays that lie in HBM."""
        return sum(array.n_bytes for array in self.arrays if array.memory == 0)

    def attribute(self, name: str) -> str:
        """Gives an attribute's text, such as `{1}` of `lhs_contracting_dims`; empty if absent."""
        found = re.search(rf"(?<![\w]){name}=", self.attributes)
        return _value(self.attributes, found.end()) if found else ""

    def numbers(self, name: str) -> tuple[int, ...]:
        """Gives an attribute's integers."""
        return tuple(int(n) for n in re.findall(r"-?\d+", self.attribute(name)))

    def called(self) -> tuple[str, ...]:
        """Computations of a fusion, call, asynchronous start, reduction or branch."""
        texts = [self.attribute(kind).replace("%", "") for kind in _CALLING]
        return tuple(name for text in texts for name in re.findall(r"[\w.\-]+", text))


@dataclass
class Computation:
    """Instructions in order, by name."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @property
    def root(self) -> Instruction:
        """The instruction whose result the computation returns."""
        return next(i for i in self.instructions.values() if i.is_root)

    @property
    def parameters(self) -> list[Instruction]:
        """In order of their number."""
        found = [i for i in self.instructions.values() if i.opcode == "parameter"]
        return sorted(found, key=lambda i: int(i.text))

    def users(self, name: str) -> list[Instruction]:
        """Lists the instructions that read a result."""
        return [i for i in self.instructions.values() if name in i.operands]


@dataclass(frozen=True)
class Module:
    """A compiled program.

    Attributes:
      entry: name of the computation that runs.
      computations: by name.
      n_devices: number of devices that run it together.
    """

    name: str
    entry: str
    computations: dict[str, Computation]
    n_devices: int


def parse(text: str) -> Module:
    """Reads the module of a dump.

    Raises:
      SignBindError: a line that is not understood.
    """
    lines = iter(text.splitlines())
    header = next((line for line in lines if line.startswith("HloModule ")), "")
    if not header:
        raise SignBindError("HLO: found no HloModule line, wanted a dump of XLA's optimised HLO")
    n_devices = math.prod(map(int, re.findall(r"(?:num_partitions|replica_count)=(\d+)", header)))
    computations, entry, current = {}, "", None
    for line in lines:
        if current is None:
            opened = _COMPUTATION.match(line.rstrip())
            if opened:
                current = Computation(opened.group(2))
                computations[current.name] = current
                entry = current.name if opened.group(1) else entry
        elif line.startswith("}"):
            current = None
        elif line.strip():
            instruction = _instruction(line)
            current.instructions[instruction.name] = instruction
    if not entry:
        raise SignBindError("HLO: found no ENTRY computation")
    name = re.match(r"HloModule ([^\s,]+)", header).group(1)
    return Module(name, entry, computations, n_devices)


def arrays(text: str) -> tuple[Array, ...]:
    """Reads the arrays of a shape such as `(s32[], bf16[2,3]{1,0:T(8,128)S(1)})`."""
    return tuple(_array(*found) for found in _ARRAY.findall(text))


def _bits(dtype: str) -> int:
    found = _NUMBER.fullmatch(dtype)
    if not found and dtype not in _BITS:
        raise SignBindError(f"HLO: element type: found {dtype!r}, wanted one such as f32 or pred")
    return int(found[1]) if found else _BITS[dtype]


def _array(dtype: str, dims: str, layout: str) -> Array:
    _bits(dtype)  # which refuses what it does not know
    space = re.search(r"S\((\d+)\)", layout)
    sizes = tuple(int(d.removeprefix("<=")) for d in dims.split(",") if d)
    return Array(dtype, sizes, int(space.group(1)) if space else 0)


def _instruction(line: str) -> Instruction:
    head = _HEAD.match(line)
    if not head:
        raise SignBindError(f"HLO: found {line.strip()[:120]!r}, wanted an instruction")
    at = head.end()
    end = _closing(line, at) if line[at] == "(" else line.index(" ", at)
    shape = arrays(line[at:end])
    opened = line.index("(", end)
    closed = _closing(line, opened)
    inside = line[opened + 1 : closed - 1]
    operands = []
    for part in _split(inside):
        found = _NAME.search(part)
        if found and "%" in part or found and not part[:1].isdigit():
            operands.append(found.group(1))
    return Instruction(
        head.group(2),
        line[end:opened].strip(),
        shape,
        tuple(operands),
        inside,
        line[closed:],
        head.group(1) is not None,
    )


def _closing(text: str, at: int) -> int:
    """Finds the index behind the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i + 1
    raise SignBindError(f"HLO: found no closing bracket in {text.strip()[:120]!r}")


def _split(text: str) -> Iterator[str]:
    """Parts between commas that stand outside of brackets."""
    depth, start = 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[start:i].strip()
            start = i + 1
    if text[start:].strip():
        yield text[start:].strip()


def _value(text: str, at: int) -> str:
    """Gives an attribute's value: bracketed text and what is attached to it, or up to a comma."""
    end = at
    while end < len(text) and text[end] not in ", ":
        end = _closing(text, end) if text[end] in "([{" else end + 1
    return text[at:end]
