"""How long a chip needs for what its programs cost: a range, from stated constants.

Three answers: `floor`, which no schedule beats; `likely`; and `worst`, where nothing overlaps.
None is a measurement. Work of vector units, the host and several slices are not in it.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from signbind_jax.errors import SignBindError
from signbind_jax.preflight.collectives import Collective
from signbind_jax.preflight.costs import Cost
from signbind_jax.preflight.topologies import Generation, Topology

_BOOK = "jax-ml.github.io/scaling-book"
MATRIX, HBM, INTERCONNECT = "matrix unit", "HBM", "interconnect"


def _constant(value: float, source: str):
    return field(default=value, metadata={"source": source})


@dataclass(frozen=True)
class Constants:
    """What is assumed about any TPU, beside what `topologies` says of each generation."""

    matrix_share: float = _constant(
        0.88,
        "of the peak that matrix products of padded sizes reach; "
        f"large ones come near it ({_BOOK}/profiling: 95.6 ms predicted, 96 measured), those with "
        "fused epilogues stay below",
    )
    hbm_share: float = _constant(
        0.85,
        "of the HBM bandwidth that long streams reach; a judgement, "
        "streams of whole arrays are usually given 80-90 %",
    )
    link_share: float = _constant(
        0.82,
        f"of the link bandwidth that collectives reach; {_BOOK}/sharding: an all-gather over 4 "
        "chips of v5e: 560 us predicted, 680 measured (up to 95 % on longer rings)",
    )
    hop_seconds: float = _constant(1e-6, f"of one hop between chips ({_BOOK}/sharding)")
    hidden_share: float = _constant(
        0.8,
        "of asynchronous collectives, and of asynchronous copies, that hides behind other work; a "
        "judgement: the first ones of a loop have nothing to hide behind",
    )


CONSTANTS = Constants()
# Of the time of an all-gather of the same bytes: an all-reduce is a reduce-scatter and an
# all-gather; what all exchange moves a quarter (scaling-book/sharding).
_TIMES = {"all-reduce": 2.0, "all-to-all": 0.25, "ragged-all-to-all": 0.25}


@dataclass(frozen=True)
class Estimate:
    """Seconds of one run of all the programs, and MFU: model FLOPs a second over the peak.

    Attributes:
      floor, likely, worst: seconds; `floor_mfu`, ... the matching MFU, 0..1: the floor's is the
        highest.
      bound: the resource that the floor waits for: MATRIX, HBM or INTERCONNECT.
      seconds: of each resource alone at its full rate.
    """

    floor: float
    likely: float
    worst: float
    floor_mfu: float
    likely_mfu: float
    worst_mfu: float
    bound: str
    seconds: dict[str, float]


def constants() -> dict[str, str]:
    """Lists the assumed constants as text: name -> value and where it is from."""
    return {
        f.name: f"{getattr(CONSTANTS, f.name):g}: {f.metadata['source']}"
        for f in dataclasses.fields(Constants)
    }


def estimate(
    costs: Sequence[Cost], topology: Topology, model_flops: float, mesh_shape: Mapping[str, int]
) -> Estimate:
    """Estimates how long programs that run one after the other take on every chip of a slice.

    - floor: the slowest of matrix unit, HBM and interconnect, each at its peak and all the time.
    - likely: instructions one after the other, each as long as the slower of its products and
      its HBM traffic, as operands stream while the matrix unit works; asynchronous collectives
      and copies hide behind other work as far as there is any, up to `hidden_share`.
    - worst: products, traffic and collectives one after the other.

    Likely and worst reach only the shares of the peaks in `constants()`.

    Args:
      model_flops: of the model as written, all chips together.
      mesh_shape: sizes of the mesh axes.

    Raises:
      SignBindError: CPU devices, or a mesh of another size than the slice.
    """
    chip, n = topology.generation, topology.n_devices
    if chip is None:
        raise SignBindError(
            f"--topology: found '{topology.name}', wanted a TPU slice: nothing is "
            "known about the speed of other devices"
        )
    if math.prod(mesh_shape.values()) != n:
        raise SignBindError(
            f"mesh: found {dict(mesh_shape)}, wanted {n} devices, as {topology.name} has"
        )
    k = CONSTANTS
    matrix = sum(cost.padded_flops for cost in costs) / chip.peak_flops
    hbm = sum(cost.hbm_bytes for cost in costs) / chip.hbm_bytes_s
    every = [c for cost in costs for c in cost.collectives]
    links = sum(_seconds(c, topology) for c in every)
    # No machine multiplies faster than its peak, whatever a compiler has left out.
    matrix = max(matrix, model_flops / (chip.peak_flops * n))
    seconds = {MATRIX: matrix, HBM: hbm, INTERCONNECT: links}
    floor = max(seconds.values())
    slow = [_seconds(c, topology) / k.link_share + _latency(c, topology) for c in every]
    worst = matrix / k.matrix_share + hbm / k.hbm_share + sum(slow)
    work, copies = _in_turn(costs, chip)
    hideable = copies + sum(s for s, c in zip(slow, every, strict=True) if c.is_async)
    blocking = sum(s for s, c in zip(slow, every, strict=True) if not c.is_async)
    hidden = k.hidden_share * min(hideable, work)
    likely = max(work + blocking + hideable - hidden, floor)
    worst = max(worst, likely)
    mfu = [model_flops / (s * chip.peak_flops * n) if s else 0.0 for s in (floor, likely, worst)]
    return Estimate(floor, likely, worst, *mfu, max(seconds, key=seconds.get), seconds)


def _in_turn(costs: Sequence[Cost], chip: Generation) -> tuple[float, float]:
    """Sums seconds of instructions one after the other, and of asynchronous copies beside them."""
    work = copies = 0.0
    for cost in costs:
        rest_flops, rest_bytes = cost.padded_flops, cost.hbm_bytes
        for line in cost.lines:
            rest_flops, rest_bytes = rest_flops - line.padded_flops, rest_bytes - line.hbm_bytes
            took = _alone(line.padded_flops, line.hbm_bytes, chip)
            if line.is_async:
                copies += took
            else:
                work += took
        if not cost.lines:
            work += _alone(rest_flops, rest_bytes, chip)
    return work, copies


def _alone(padded_flops: float, hbm_bytes: float, chip: Generation) -> float:
    return max(
        padded_flops / (chip.peak_flops * CONSTANTS.matrix_share),
        hbm_bytes / (chip.hbm_bytes_s * CONSTANTS.hbm_share),
    )


def _seconds(collective: Collective, topology: Topology) -> float:
    """Times all runs of a collective at the full rate of the links that its group spans."""
    link, g = topology.generation.link_bytes_s, collective.group_size
    if g < 2:
        return 0.0
    if collective.kind == "collective-permute":  # to one neighbour, by one link
        return collective.count * collective.n_bytes / link
    ring = sum(ways for _, ways in spanned(topology, g)) * link
    share = _TIMES.get(collective.kind, 1.0) * (g - 1) / g
    return collective.count * collective.n_bytes * share / ring


def _latency(collective: Collective, topology: Topology) -> float:
    if collective.group_size < 2:
        return 0.0
    hops = 1
    if collective.kind != "collective-permute":
        parts = spanned(topology, collective.group_size)
        hops = sum(size // 2 if ways == 2 else size - 1 for size, ways in parts)
    times = 2 if collective.kind == "all-reduce" else 1
    return collective.count * hops * times * CONSTANTS.hop_seconds


def spanned(topology: Topology, group_size: int) -> list[tuple[int, int]]:
    """Finds the stretch of each torus axis that a group of chips spans, and the links along it: an
    estimate.

    Which chips a group has is for the mesh to say; its size alone tells most of it. Groups
    take whole axes where sizes allow, the fewest and longest first, as mesh axes are laid over
    a torus; what is left is a stretch of one more axis. Along a whole axis that is a ring a chip
    has two links, along an open one its end has one, which decides.

    Returns:
      (chips, links) along each axis spanned.
    """
    sizes = sorted((size for size in topology.shape if size > 1), reverse=True)
    for n in range(1, len(sizes) + 1):
        for chosen in itertools.combinations(sizes, n):
            if math.prod(chosen) == group_size:
                return [(size, _ways(topology, size)) for size in chosen]
    parts, left = [], group_size
    for size in sizes:
        if left % size == 0 and left > size:
            parts.append((size, _ways(topology, size)))
            left //= size
    return parts + [(left, 1)]


def _ways(topology: Topology, size: int) -> int:
    return 2 if size > 2 and size % topology.generation.wrap == 0 else 1
