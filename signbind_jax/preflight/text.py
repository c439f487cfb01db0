"""What preflight found, for a terminal and as rows of a table."""

from collections.abc import Iterator, Sequence

from signbind_jax.preflight.outcome import TIGHT, Outcome
from signbind_jax.preflight.programs import GRADIENTS, WRITING

GIB = 2**30
_REMAT, _PADDING = 1.05, 1.10  # FLOPs beyond these shares of the model's are pointed out
HEADER = (
    "config",
    "topology",
    "mesh (data, fsdp, tensor)",
    "rows",
    "GiB a chip",
    "spare",
    "step, s (floor - likely - worst)",
    "MFU, % (worst - likely - floor)",
    "bound by",
    "compile, s",
    "verdict",
)


def lines(found: Outcome) -> Iterator[str]:
    """Writes the whole of an outcome, for a terminal."""
    yield f"{found.spec} on {found.topology}"
    if found.problem:
        yield f"  {found.verdict.upper()}: {found.problem}"
        if found.advice:
            yield f"  change first: {found.advice}"
        return
    yield f"  mesh            {_mesh(found)}, {found.rows} rows"
    yield (
        f"  compiled        in {found.compile_s:.0f} s ("
        + ", ".join(f"{name} {p['compile_s']:.0f}" for name, p in found.programs.items())
        + f"), {found.compile_memory / GIB:.1f} GiB of this machine's memory"
    )
    yield from _memory(found)
    yield from _flops(found)
    yield from _collectives(found)
    yield from _time(found)
    tight = "; less than a tenth of the memory is left" if found.verdict == TIGHT else ""
    yield f"  {found.verdict.upper()}{tight}"


def row(found: Outcome) -> tuple[str, ...]:
    """Writes one row below HEADER."""
    if found.problem:
        blank = ("",) * (len(HEADER) - 3)
        return (found.spec, found.topology, *blank, f"{found.verdict}: {found.problem}")
    e = found.estimate
    times = mfus = bound = ""
    if e:
        times = " - ".join(f"{e[k]:.3g}" for k in ("floor", "likely", "worst"))
        mfus = " - ".join(f"{100 * e[f'{k}_mfu']:.0f}" for k in ("worst", "likely", "floor"))
        bound = e["bound"]
    return (
        found.spec,
        found.topology,
        " x ".join(map(str, found.mesh.values())),
        str(found.rows),
        f"{found.peak / GIB:.2f} of {found.limit / GIB:.2f}",
        f"{found.spare:.0%}",
        times,
        mfus,
        bound,
        f"{found.compile_s:.0f}",
        found.verdict,
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Writes rows below HEADER as a table in Markdown."""
    table = [HEADER, ["---"] * len(HEADER), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def _mesh(found: Outcome) -> str:
    return " x ".join(f"{axis} {size}" for axis, size in found.mesh.items())


def _memory(found: Outcome) -> Iterator[str]:
    parts = [f"{name} {size / GIB:.2f}" for name, size in found.held.items()]
    yield f"  held, GiB/chip  {', '.join(parts)}"
    for name, p in found.programs.items():
        yield (
            f"  {name:15s} {p['peak'] / GIB:.2f} GiB/chip in all: {p['arguments'] / GIB:.2f} "
            f"given, {p['results'] / GIB:.2f} made ({p['reused'] / GIB:.2f} in place), "
            f"{p['temporaries'] / GIB:.2f} for a while, {p['code'] / GIB:.2f} program"
        )
    yield (
        f"  largest         {found.peak / GIB:.2f} of {found.limit / GIB:.2f} GiB/chip, "
        f"{found.spare:.0%} spare"
    )


def _flops(found: Outcome) -> Iterator[str]:
    cost = found.costs.get(GRADIENTS)
    if not cost or not found.model_flops:
        return
    tera = (found.model_flops / found.devices, cost["flops"], cost["padded_flops"])
    model, compiled, padded = (x / 1e12 for x in tera)
    notes = []
    if compiled > _REMAT * model:
        notes.append(f"{compiled / model - 1:.0%} computed again or by several chips")
    if padded > _PADDING * compiled:
        notes.append(f"{padded / compiled - 1:.0%} padding of the matrix unit")
    yield (
        f"  TFLOP/chip      model {model:.3g}, compiled {compiled:.3g}, padded {padded:.3g}"
        + (f" ({'; '.join(notes)})" if notes else "")
    )
    for target, count in cost["unknown_calls"]:
        yield f"  not counted     the FLOPs of {target}, called {count} times"


def _collectives(found: Outcome) -> Iterator[str]:
    """Sums bytes a chip by kind and group, the largest first."""
    for program in (GRADIENTS, WRITING):
        sums: dict[tuple, list[float]] = {}
        for c in found.costs.get(program, {}).get("collectives", ()):
            total = sums.setdefault((c["kind"], c["group_size"], c["stands_for_gather"]), [0.0, 0])
            total[0] += c["n_bytes"] * c["count"]
            total[1] += c["count"]
        for (kind, group, stands), (size, count) in sorted(sums.items(), key=lambda s: -s[1][0]):
            instead = "; stands in for all-gathers of half the bytes" if stands else ""
            yield (
                f"  {program:15s} {size / GIB:.3f} GiB/chip by {kind} among {group} chips, "
                f"{count:g} times{instead}"
            )


def _time(found: Outcome) -> Iterator[str]:
    e = found.estimate
    if not e:
        return
    alone = ", ".join(f"{name} {s:.3g}" for name, s in e["seconds"].items())
    yield (
        f"  step, estimated {e['floor']:.3g} to {e['worst']:.3g} s, likely {e['likely']:.3g} s; "
        f"each alone: {alone}"
    )
    yield (
        f"  MFU, estimated  {e['worst_mfu']:.0%} to {e['floor_mfu']:.0%}, likely "
        f"{e['likely_mfu']:.0%}; bound by {e['bound']}"
    )
