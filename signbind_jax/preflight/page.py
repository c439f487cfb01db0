"""The tables of docs/use/check_fit_and_speed.md, between its markers; other words stay."""

from collections.abc import Sequence
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.preflight import roofline, text
from signbind_jax.preflight.outcome import Outcome

BEGIN, END = "<!-- signbind preflight --all -->", "<!-- end -->"


def write_page(page: Path, outcomes: Sequence[Outcome]) -> None:
    """Puts the outcomes' table into the page.

    Raises:
      SignBindError: the page has no place for it.
    """
    words = files.read_text(page) if page.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = words.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SignBindError(
            f"{page}: found no lines '{BEGIN}' and '{END}', wanted both: the table "
            "goes between them"
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    files.write(page, f"{before}{BEGIN}\n\n{table(outcomes)}\n{END}{after}")


def table(outcomes: Sequence[Outcome]) -> str:
    """Gives the rows, what compiling took, and the constants behind the times."""
    slowest = max(outcomes, key=lambda found: found.compile_s)
    largest = max(outcomes, key=lambda found: found.compile_memory)
    constants = [f"- {name}: {value}\n" for name, value in roofline.constants().items()]
    return (
        text.markdown([text.row(found) for found in outcomes])
        + f"\nSlowest compile: {slowest.spec} on {slowest.topology}, {slowest.compile_s:.0f} s. "
        f"Most memory to compile: {largest.spec} on {largest.topology}, "
        f"{largest.compile_memory / text.GIB:.1f} GiB.\n\n"
        "Constants of the estimated times:\n\n" + "".join(constants)
    )
