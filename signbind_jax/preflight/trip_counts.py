"""Where a value of an HLO program comes from, and how often each of its loops runs."""

import re

from signbind_jax.errors import SignBindError
from signbind_jax.preflight.hlo import Computation, Instruction, Module

# What hands its first operand on with other bits, layout or place, but the same numbers.
PASSING = (
    "bitcast",
    "copy",
    "convert",
    "reshape",
    "transpose",
    "copy-done",
    "copy-start",
    "optimization-barrier",
)
_CALLS = ("fusion", "call")
_MIRRORED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "NE": "NE"}


class Scope:
    """A computation as one instruction calls it.

    Args:
      outer: where it is called; None for the entry.
      call: the fusion, call or while; None for the entry.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        outer: "Scope | None" = None,
        call: Instruction | None = None,
    ):
        if name not in module.computations:
            raise SignBindError(
                f"HLO: {call.name if call else module.name}: found no computation {name!r}"
            )
        self.module, self.outer, self.call = module, outer, call
        self.computation: Computation = module.computations[name]

    def instruction(self, name: str) -> Instruction:
        """Finds the instruction of a name.

        Raises:
          SignBindError: there is none.
        """
        if name not in self.computation.instructions:
            raise SignBindError(f"HLO: {self.computation.name}: found no instruction {name!r}")
        return self.computation.instructions[name]

    def inner(self, call: Instruction, kind: str = "") -> "Scope":
        """Finds the computation that an instruction calls: the only one, or attribute `kind`'s."""
        if kind:
            return Scope(self.module, call.attribute(kind).removeprefix("%"), self, call)
        called = call.called()
        if len(called) != 1:
            raise SignBindError(f"HLO: {call.name}: found {len(called)} computations, wanted 1")
        return Scope(self.module, called[0], self, call)

    def origin(
        self, name: str, index: int | None = None
    ) -> tuple["Scope", Instruction, int | None]:
        """Finds the instruction that makes a value, and which element of a tuple the value is.

        Follows what hands values on: copies, tuples, fusions and calls (in and out), and loops
        that leave an element as it came.
        """
        scope, at = self, self.instruction(name)
        while True:
            step = scope._step(at, index)
            if step is None:
                return scope, at, index
            scope, name, index = step
            at = scope.instruction(name)

    def _step(self, at: Instruction, index: int | None):
        if at.opcode in PASSING and len(at.operands) == 1:
            return self, at.operands[0], None if at.opcode == "copy-start" else index
        if at.opcode == "get-tuple-element" and index is None:
            return self, at.operands[0], int(at.attribute("index"))
        if at.opcode == "tuple" and index is not None:
            return self, at.operands[index], None
        if at.opcode in _CALLS:
            inner = self.inner(at)
            return inner, inner.computation.root.name, index
        if at.opcode == "while" and index is not None and _unchanged(self, at, index):
            return self, at.operands[0], index
        if at.opcode == "parameter" and self.outer is not None:
            loop = self.call.opcode == "while"
            if loop and (index is None or not _unchanged(self.outer, self.call, index)):
                return None
            return self.outer, self.call.operands[int(at.text)], index
        return None


def _unchanged(scope: Scope, loop: Instruction, index: int) -> bool:
    """Says whether a loop's body returns an element of its state as it came."""
    body = Scope(scope.module, loop.attribute("body").removeprefix("%"))
    _, at, found = body.origin(body.computation.root.name, index)
    return at.opcode == "parameter" and found == index


def trip_count(scope: Scope, loop: Instruction) -> int:
    """Counts how often the body of a while loop runs.

    What XLA says of it (`known_trip_count`), else from the limit in its condition, its start and
    its increment. Of a loop that data may end earlier, such as generation, the most turns.

    Raises:
      SignBindError: none of these is a constant.
    """
    known = re.search(r'"known_trip_count":\{"n":"?(\d+)', loop.attributes)
    if known:
        return int(known.group(1))
    condition = Scope(scope.module, loop.attribute("condition").removeprefix("%"))
    bounds = [_bound(scope, loop, *part) for part in _all_of(condition)]
    known = [bound for bound in bounds if bound is not None]
    if not known:
        raise _unknown(scope, loop)
    return min(known)


def _all_of(condition: Scope) -> list[tuple[Scope, Instruction]]:
    """Lists what has to hold for another turn: the parts that the condition joins by "and"."""
    joined, parts = [(condition, condition.computation.root.name)], []
    while joined:
        scope, name = joined.pop()
        inside, at, _ = scope.origin(name)
        if at.opcode == "and":
            joined += [(inside, name) for name in at.operands]
        else:
            parts.append((inside, at))
    return parts


def _bound(scope: Scope, loop: Instruction, inside: Scope, compare: Instruction) -> int | None:
    """Says how many turns one part of a condition allows; None where that depends on data."""
    direction = compare.attribute("direction")
    if compare.opcode != "compare" or direction not in _MIRRORED:
        return None
    left, right = (_affine(inside, name) for name in compare.operands)
    if left is None or right is None:
        return None
    courses = _course(scope, loop, left), _course(scope, loop, right)
    if None in courses:
        return None
    (start, step), (limit, limit_step) = courses
    if step == 0:
        start, step, limit, limit_step = limit, limit_step, start, step
        direction = _MIRRORED[direction]
    if limit_step or not step:
        return None
    distance = (limit - start) if step > 0 else (start - limit)
    upward = direction in ("LT", "LE") if step > 0 else direction in ("GT", "GE")
    if direction == "NE":
        if distance < 0 or distance % abs(step):
            return None
    elif not upward:
        return None
    inclusive = direction in ("LE", "GE")
    return max(-(-(distance + inclusive) // abs(step)), 0)


def _course(
    scope: Scope, loop: Instruction, value: tuple[int | None, int]
) -> tuple[int, int] | None:
    """Gives a number of the condition before the first turn, and by how much each turn changes it;
    None where that is no constant."""
    index, offset = value
    if index is None:
        return offset, 0
    begun = _affine(scope, loop.operands[0], index)
    body = Scope(scope.module, loop.attribute("body").removeprefix("%"))
    turned = _affine(body, body.computation.root.name, index)
    if begun is None or begun[0] is not None or turned is None or turned[0] != index:
        return None
    return begun[1] + offset, turned[1]


def _affine(scope: Scope, name: str, index: int | None = None) -> tuple[int | None, int] | None:
    """Writes a whole number as (element of the loop's state or None, plus a constant), or None."""
    scope, at, index = scope.origin(name, index)
    if at.opcode == "constant":
        found = re.fullmatch(r"-?\d+", at.text.strip())
        return (None, int(found.group())) if found else None
    if at.opcode == "parameter" and index is not None:
        return index, 0
    if at.opcode in ("add", "subtract"):
        left, right = (_affine(scope, operand) for operand in at.operands)
        if left is None or right is None:
            return None
        if at.opcode == "subtract":
            if right[0] is not None:
                return None
            right = (None, -right[1])
        if left[0] is not None and right[0] is not None:
            return None
        return (left[0] if right[0] is None else right[0]), left[1] + right[1]
    return None


def _unknown(scope: Scope, loop: Instruction) -> SignBindError:
    return SignBindError(
        f"HLO: loop {loop.name} in {scope.computation.name}: found a number of "
        "turns that depends on data, wanted a constant one"
    )
