"""Collectives of an HLO program: which, over how many devices, of how many bytes."""

import math
import re
from dataclasses import dataclass

from signbind_jax.errors import SignBindError
from signbind_jax.preflight.hlo import Instruction
from signbind_jax.preflight.trip_counts import Scope

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "ragged-all-to-all",
    "collective-broadcast",
)
STARTED, DONE = "AsyncCollectiveStart", "AsyncCollectiveDone"


@dataclass(frozen=True)
class Collective:
    """Collectives of one place in a program.

    Attributes:
      name: the instruction's.
      kind: one of KINDS.
      group_size: devices that take part in one.
      n_bytes: of the larger of operand and result on one device: what is gathered, reduced,
        scattered or exchanged. Factors such as (g - 1) / g are the roofline's.
      count: how often it runs.
      is_async: whether the program goes on while it runs.
      stands_for_gather: an all-reduce of parts that each device has laid into zeros, which moves
        twice the bytes of the all-gather that it stands for. Told only where it can be seen.
    """

    name: str
    kind: str
    group_size: int
    n_bytes: float
    count: int
    is_async: bool = False
    stands_for_gather: bool = False


def kind_of(instruction: Instruction) -> str:
    """Gives the kind of a collective or of its start; empty for its end and for everything else."""
    kind = instruction.opcode.removesuffix("-start")
    return kind if kind in KINDS else ""


def describe(scope: Scope, instruction: Instruction, count: int) -> Collective:
    """Describes the collective that an instruction starts, `count` times.

    Raises:
      SignBindError: its groups are not understood.
    """
    kind = kind_of(instruction)
    operands = sum(scope.instruction(name).n_bytes for name in instruction.operands)
    results = instruction.n_bytes
    if instruction.opcode.endswith("-start"):  # the result holds the operands, too
        results = max((array.n_bytes for array in instruction.arrays), default=0.0)
    stands = kind == "all-reduce" and all(
        _laid_into_zeros(scope, name) for name in instruction.operands
    )
    if kind == "all-reduce" and _only_sliced(scope, instruction):
        kind = "reduce-scatter"  # so a TPU's compiler writes one
    is_async = instruction.opcode.endswith("-start") or _starts(scope, instruction)
    outer = scope.call is not None and scope.call.opcode == "async-start"
    return Collective(
        instruction.name,
        kind,
        group_size(instruction, scope.module.n_devices),
        max(operands, results),
        count,
        is_async or outer,
        stands,
    )


def repeats(scope: Scope, instruction: Instruction) -> bool:
    """Says whether it only stands for a collective that was started elsewhere and goes on.

    An asynchronous collective is written again into each fusion that it overlaps; only the copy
    that feeds its start moves anything.
    """
    config = re.search(r'"async_collective_fusion_config":\{"', instruction.attributes)
    if not config or scope.call is None:
        return False
    return not _starts(scope, instruction)


def _starts(scope: Scope, instruction: Instruction) -> bool:
    users = scope.computation.users(instruction.name)
    return any(is_start(user) for user in users)


def is_start(instruction: Instruction) -> bool:
    """Says whether it is what an asynchronous collective inside a fusion starts with."""
    return STARTED in instruction.attribute("custom_call_target")


def group_size(instruction: Instruction, n_devices: int) -> int:
    """Counts how many devices take part in one group.

    Understands `{{0,1},{2,3}}`, `[2,4]<=[8]` and `mesh['x'=2,'y'=4] {'y'}`.

    Raises:
      SignBindError: another notation.
    """
    if kind_of(instruction) == "collective-permute":
        return n_devices
    found = re.search(r"replica_groups=(.*?)(?:, (?!device_ids)[a-z_]+=|$)", instruction.attributes)
    text = found.group(1) if found else "{}"
    if text == "{}":
        return n_devices
    listed = re.match(r"\{\{([\d,]*)\}", text)
    if listed:
        return len(listed.group(1).split(","))
    tiled = re.match(r"\[\d+,(\d+)\]<=", text)
    if tiled:
        return int(tiled.group(1))
    mesh = re.match(r"@?mesh.*?\[(.*?)\](?:, device_ids=.*)? \{(.*)\}", text)
    if mesh:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh.group(1)))
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh.group(2))
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    raise SignBindError(
        f"HLO: {instruction.name}: replica_groups: found {text[:80]!r}, wanted a list of groups"
    )


def _laid_into_zeros(scope: Scope, name: str) -> bool:
    scope, at, _ = scope.origin(name)
    if at.opcode == "pad":
        return _is_zero(scope, at.operands[1])
    if at.opcode == "dynamic-update-slice":
        return _is_zero(scope, at.operands[0])
    return False


def _is_zero(scope: Scope, name: str) -> bool:
    scope, at, _ = scope.origin(name)
    if at.opcode == "broadcast":
        return _is_zero(scope, at.operands[0])
    return at.opcode == "constant" and re.fullmatch(r"-?0(\.0*)?", at.text.strip()) is not None


def _only_sliced(scope: Scope, instruction: Instruction) -> bool:
    """Says whether a fusion reduces for the sake of one slice a device."""
    users = scope.computation.users(instruction.name)
    return (
        scope.call is not None
        and scope.call.opcode == "fusion"
        and bool(users)
        and all(user.opcode == "dynamic-slice" for user in users)
    )
