"""Bytes that one HLO instruction moves to and from HBM, by a stated model.

An instruction reads its operands and writes its results, as far as they lie in HBM (XLA's memory
space 0), once each and without the padding of tiles. Of an operand that is only sliced or
gathered from, what is taken counts; of an array that is updated in place, the update. Values
inside a fusion stay on the chip. What a cache, a register spill or a second pass over a large
operand would change is not in the model.
"""

from signbind_jax.preflight.collectives import DONE, STARTED, kind_of
from signbind_jax.preflight.hlo import Array, Computation, Instruction
from signbind_jax.preflight.trip_counts import Scope

_TAKES = ("dynamic-slice", "slice", "gather")
_UPDATES = ("dynamic-update-slice", "scatter")
_RENAMES = ("bitcast", "get-tuple-element")
ALLOCATES = "AllocateBuffer"
# They name, wait or check; what they stand for moves elsewhere or not at all.
FREE_CALLS = (
    ALLOCATES,
    STARTED,
    DONE,
    "ConcatBitcast",
    "AssumeGatherIndicesInBound",
    "GatherScatterIndicesBitpacked",
    "Sharding",
    "SPMDFullToShardShape",
    "SPMDShardToFullShape",
    "LayoutConstraint",
    "annotate_device_placement",
)
_FREE = (
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "add-dependency",
    "opt-barrier",
    "optimization-barrier",
    "partition-id",
    "replica-id",
    "domain",
    "get-dimension-size",
)


def hbm_bytes(scope: Scope, instruction: Instruction) -> float:
    """Counts bytes of one run of an instruction outside of fusions."""
    opcode, operands = instruction.opcode, instruction.operands
    if opcode in _FREE or opcode.endswith(("-done", "-update")) or _is_free(instruction):
        return 0.0
    if opcode == "fusion":
        return _fusion_bytes(scope, instruction)
    results = instruction.hbm_bytes
    if opcode == "copy-start" or kind_of(instruction) and opcode.endswith("-start"):
        # The result names the source beside the copy.
        arrays = [array for array in instruction.arrays if array.memory == 0 and array.dims]
        source = sum(scope.instruction(name).hbm_bytes for name in operands)
        return max(sum(array.n_bytes for array in arrays), source)
    if opcode in _TAKES:
        first = scope.instruction(operands[0])
        return results + (instruction.n_bytes if first.hbm_bytes else 0.0)
    if opcode in _UPDATES:
        update = scope.instruction(operands[-1] if opcode == "scatter" else operands[1])
        return update.hbm_bytes + (update.n_bytes if results else 0.0)
    return results + sum(scope.instruction(name).hbm_bytes for name in set(operands))


def collective_bytes(scope: Scope, instruction: Instruction) -> float:
    """Counts HBM bytes of an asynchronous collective inside the fusion that starts it."""
    operands = sum(scope.instruction(name).hbm_bytes for name in instruction.operands)
    users = scope.computation.users(instruction.name)
    started = [user for user in users if user.opcode == "custom-call"]
    arrays = started[0].arrays[1:2] if started else instruction.arrays
    return operands + sum(array.n_bytes for array in arrays if array.memory == 0)


def _fusion_bytes(scope: Scope, fusion: Instruction) -> float:
    inside = scope.inner(fusion)
    total = _written(inside, inside.computation.root.name, fusion.arrays)
    for parameter in inside.computation.parameters:
        operand = scope.instruction(fusion.operands[int(parameter.text)])
        if operand.hbm_bytes:
            total += _read(inside, parameter.name, operand.hbm_bytes)
    return total


def _read(scope: Scope, name: str, whole: float) -> float:
    """Counts what a fusion reads of a value from outside."""
    total = 0.0
    for user in scope.computation.users(name):
        first = user.operands[0] == name and name not in user.operands[1:]
        if user.opcode in _TAKES and first:
            total += user.n_bytes
        elif user.opcode in _UPDATES and first or _only_names(user):
            continue
        elif user.opcode in _RENAMES:
            total += _read(scope, user.name, whole)
        elif user.opcode == "fusion":
            inner = scope.inner(user)
            for parameter in inner.computation.parameters:
                if user.operands[int(parameter.text)] == name:
                    total += _read(inner, parameter.name, whole)
        else:
            return whole
    return min(total, whole)


def _written(scope: Scope, name: str, arrays: tuple[Array, ...]) -> float:
    """Counts what a fusion writes of a result, which lies where `arrays` say."""
    at = scope.instruction(name)
    if at.opcode == "tuple" and len(at.operands) == len(arrays):
        return sum(
            _written(scope, operand, (array,))
            for operand, array in zip(at.operands, arrays, strict=True)
        )
    full = sum(array.n_bytes for array in arrays if array.memory == 0)
    if not full or at.opcode == "parameter" or kind_of(at):
        return 0.0
    if _is_free(at):
        return 0.0
    if at.opcode == "bitcast":
        return _written(scope, at.operands[0], arrays)
    if at.opcode == "fusion":
        inner = scope.inner(at)
        return _written(inner, inner.computation.root.name, arrays)
    if at.opcode in _UPDATES and _in_place(scope.computation, at.operands[0]):
        update = at.operands[-1] if at.opcode == "scatter" else at.operands[1]
        return min(full, scope.instruction(update).n_bytes)
    return full


def _in_place(computation: Computation, name: str) -> bool:
    """Says whether an array that is updated is there already, outside the fusion."""
    at = computation.instructions[name]
    while at.opcode in _RENAMES:
        at = computation.instructions[at.operands[0]]
    return at.opcode == "parameter" or _is_free(at)


def _only_names(instruction: Instruction) -> bool:
    """Says whether it reads nothing itself; what a collective reads is counted with it."""
    return instruction.opcode == "tuple" or bool(kind_of(instruction)) or _is_free(instruction)


def _is_free(instruction: Instruction) -> bool:
    target = instruction.attribute("custom_call_target").strip('"')
    return instruction.opcode == "custom-call" and target in FREE_CALLS
