"""What one run of a compiled program costs a chip: FLOPs, HBM traffic, collectives.

XLA's own cost analysis counts the body of a loop once; here each instruction counts as often as
the loops around it run. Work of vector units (norms, softmax, activations) is not counted.
"""

import re
from dataclasses import dataclass, field

from signbind_jax.preflight import collectives, hbm_traffic
from signbind_jax.preflight.collectives import Collective
from signbind_jax.preflight.hlo import Instruction, Module
from signbind_jax.preflight.matrix_products import product_of
from signbind_jax.preflight.trip_counts import Scope, trip_count


@dataclass(frozen=True)
class Line:
    """One instruction outside of fusions, with all its runs.

    Attributes:
      name: the instruction's; `source`: the operation of the model it is from, as JAX names it.
      is_async: whether it copies while others compute.
      count: how often it runs; `flops`, `padded_flops`, `hbm_bytes`: of all its runs.
    """

    name: str
    opcode: str
    source: str
    is_async: bool
    count: int
    flops: float
    padded_flops: float
    hbm_bytes: float


@dataclass(frozen=True)
class Cost:
    """Of one chip's part of one run of a program.

    Attributes:
      flops: of matrix products and convolutions.
      padded_flops: the same as the matrix unit sees them, see `Product.padded_flops`.
      hbm_bytes: moved to and from HBM, see `signbind_jax.preflight.hbm_traffic`.
      collectives: each place of the program once, with its count.
      unknown_calls: (target, count) of calls of foreign code whose FLOPs are not known.
      lines: the instructions that any of it is from.
    """

    flops: float
    padded_flops: float
    hbm_bytes: float
    collectives: tuple[Collective, ...]
    unknown_calls: tuple[tuple[str, int], ...]
    lines: tuple[Line, ...] = field(repr=False, default=())


def cost_of(module: Module, *, matrix_unit: int) -> Cost:
    """Counts what one run of a program costs each chip.

    Of a conditional the most expensive branch counts. A call of foreign code counts what its
    `cost_estimate` says; without one its operands and results count as HBM traffic and its
    target is listed.

    Args:
      matrix_unit: rows and columns of the chip's matrix unit.

    Raises:
      SignBindError: a loop whose number of turns is not constant, or a part of the program that
        is not understood.
    """
    count = _Count(matrix_unit)
    count.computation(Scope(module, module.entry), 1)
    return count.cost()


class _Count:
    """Adds up what a walk over a program meets."""

    def __init__(self, unit: int):
        self.unit = unit
        self.lines: list[Line] = []
        self.collectives: list[Collective] = []
        self.unknown: dict[str, int] = {}
        self.channels: set[str] = set()
        self.repeated: dict[str, Collective] = {}

    def cost(self) -> Cost:
        # A repeat whose start was not seen is all there is of its collective.
        left = [c for channel, c in self.repeated.items() if channel not in self.channels]
        return Cost(
            sum(line.flops for line in self.lines),
            sum(line.padded_flops for line in self.lines),
            sum(line.hbm_bytes for line in self.lines),
            (*self.collectives, *left),
            tuple(self.unknown.items()),
            tuple(self.lines),
        )

    def computation(self, scope: Scope, times: int) -> None:
        for instruction in scope.computation.instructions.values():
            self.instruction(scope, instruction, times)

    def instruction(self, scope: Scope, at: Instruction, times: int) -> None:
        if at.opcode == "while":
            turns = trip_count(scope, at)
            if turns:
                self.computation(scope.inner(at, "body"), times * turns)
        elif at.opcode == "conditional":
            self.branches(scope, at, times)
        elif at.opcode in ("call", "async-start"):
            self.computation(scope.inner(at), times)
        else:
            flops, padded, extra = self.products(scope, at, times)
            own = hbm_traffic.hbm_bytes(scope, at) if extra is None else extra
            line = Line(
                at.name,
                at.opcode,
                _source(at),
                _is_async(scope, at),
                times,
                flops * times,
                padded * times,
                own * times,
            )
            if line.flops or line.hbm_bytes:
                self.lines.append(line)

    def branches(self, scope: Scope, at: Instruction, times: int) -> None:
        """Adds the branch of the most FLOPs, or, where they are equal, of the most traffic."""
        counts = []
        for name in at.called():
            branch = _Count(self.unit)
            branch.computation(Scope(scope.module, name), times)
            counts.append(branch)
        dearest = max(counts, key=lambda c: (c.cost().padded_flops, c.cost().hbm_bytes))
        self.lines += dearest.lines
        self.collectives += dearest.collectives
        self.channels |= dearest.channels
        self.repeated |= dearest.repeated
        for target, n in dearest.unknown.items():
            self.unknown[target] = self.unknown.get(target, 0) + n

    def products(
        self, scope: Scope, at: Instruction, times: int
    ) -> tuple[float, float, float | None]:
        """Counts FLOPs, padded FLOPs and, where they are no instruction's own, HBM bytes of one
        run; notes collectives and foreign code on the way."""
        if at.opcode == "fusion":
            return self.fusion(scope, at, times)
        if collectives.kind_of(at):
            self.collective(scope, at, times)
        operands = (
            tuple(scope.instruction(name).arrays[0] for name in at.operands)
            if at.opcode in ("dot", "convolution", "custom-call")
            else ()
        )
        product = product_of(at, operands)
        if product:
            return product.flops, product.padded_flops(self.unit), None
        return self.foreign(scope, at, times) if at.opcode == "custom-call" else (0.0, 0.0, None)

    def fusion(self, scope: Scope, at: Instruction, times: int):
        inside = scope.inner(at)
        flops, padded = self.inside(inside, times)
        moved = sum(
            hbm_traffic.collective_bytes(inside, inner)
            for inner in inside.computation.instructions.values()
            if collectives.kind_of(inner) and not collectives.repeats(inside, inner)
        )
        nested = scope.call is not None and scope.call.opcode == "fusion"
        return flops, padded, 0.0 if nested else moved + hbm_traffic.hbm_bytes(scope, at)

    def inside(self, scope: Scope, times: int) -> tuple[float, float]:
        """Counts FLOPs and padded FLOPs of a computation whose values stay on the chip."""
        found = [self.products(scope, at, times) for at in scope.computation.instructions.values()]
        return sum(each[0] for each in found), sum(each[1] for each in found)

    def collective(self, scope: Scope, at: Instruction, times: int) -> None:
        channel = at.attribute("channel_id") or at.name
        found = collectives.describe(scope, at, times)
        if collectives.repeats(scope, at):
            self.repeated.setdefault(channel, found)
        else:
            self.channels.add(channel)
            self.collectives.append(found)

    def foreign(
        self, scope: Scope, at: Instruction, times: int
    ) -> tuple[float, float, float | None]:
        target = at.attribute("custom_call_target").strip('"')
        if target in hbm_traffic.FREE_CALLS:
            return 0.0, 0.0, None
        if len(at.called()) == 1:  # what it does is written out, as for work of a sparse core
            return *self.inside(scope.inner(at), times), None
        estimate = re.search(r'"cost_estimate":\{([^}]*)\}', at.attributes)
        said = dict(re.findall(r'"(\w+)":"?(\d+)', estimate.group(1))) if estimate else {}
        if "flops" not in said:
            self.unknown[target] = self.unknown.get(target, 0) + times
            return 0.0, 0.0, None
        flops = float(said["flops"])
        return flops, flops, float(said["bytes_accessed"]) if "bytes_accessed" in said else None


def _is_async(scope: Scope, at: Instruction) -> bool:
    """Says whether an instruction only starts what goes on beside others."""
    caller = scope.call.opcode if scope.call else ""
    starts = at.opcode == "fusion" and collectives.is_start(scope.inner(at).computation.root)
    return at.opcode == "copy-start" or caller == "async-start" or starts


def _source(at: Instruction) -> str:
    found = re.search(r'op_name="([^"]*)"', at.attributes)
    return found.group(1) if found else ""
