"""An audit on the terminal: the splits, then what was found, the worst first."""

import os
import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from signbind_jax.data_pipelines.audit.finding import ERROR, NOTE, OK, SKIPPED, WARNING, Finding
from signbind_jax.data_pipelines.audit.result import Result

WIDTH = 100  # columns where there is no terminal to ask
_CLIPS_SHOWN = 3
_COLUMNS = ("clips", "published", "missing", "with_pose", "with_lips", "hours", "signers")
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "cyan"}


def show(result: Result, file=None) -> None:
    """Prints the audit."""
    file = file or sys.stdout
    known = file.isatty() or "COLUMNS" in os.environ
    console = Console(file=file, width=None if known else WIDTH, highlight=False)
    console.print(_text(_headline(result)))
    console.print(_splits(result))
    told = [f for f in result.findings if f.level in _STYLES]
    if told:
        console.print(_findings(result, told))
    console.print(_text(_summary(result)))


def _headline(result: Result) -> str:
    survey = result.survey
    corpus = result.source.get("corpus", "unnamed")
    synthetic = " (synthetic: no person was recorded)" if result.source.get("synthetic") else ""
    read = f"arrays of {survey.n_read:,} of {survey.n_clips:,} clips read"
    if survey.sampled:
        read += ", evenly spaced; files compared by size only (--clips)"
    licence = f"; licence: {result.source['licence']}" if result.source.get("licence") else ""
    return f"{survey.info.directory}: corpus {corpus}{synthetic}; {read}{licence}"


def _splits(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("split")
    for name in _COLUMNS:
        table.add_column(name.removeprefix("with_"), justify="right")
    for row in result.splits():
        table.add_row(_text(row["split"]), *(_number(row[name]) for name in _COLUMNS))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _findings(result: Result, told: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("level", no_wrap=True)
    table.add_column("check", max_width=20, overflow="fold")
    table.add_column("found", ratio=3)
    table.add_column("wanted, and why", ratio=2)
    for finding in told:
        found = finding.found
        if finding.clips:
            more = len(finding.clips) - _CLIPS_SHOWN
            found += f" [{', '.join(result.names(finding, _CLIPS_SHOWN))}"
            found += f" and {more:,} more]" if more > 0 else "]"
        if finding.advice:
            found += f"\n-> {finding.advice}"
        wanted = "; ".join(filter(None, (finding.wanted, finding.why)))
        level = Text(finding.level, style=_STYLES[finding.level])
        table.add_row(level, _text(finding.title), _text(found), _text(wanted), end_section=True)
    return table


def _summary(result: Result) -> str:
    n = result.n
    counted = ", ".join(
        f"{n[level]} {level}{'' if n[level] == 1 else 's'}" for level in (ERROR, WARNING, NOTE)
    )
    return (
        f"{counted}; {n[OK]} checks found nothing, {n[SKIPPED]} had nothing to look at "
        "(--html and --json list them)"
    )


def _text(line: str) -> Text:
    """Text as it stands: nothing in it is markup, and no control character reaches the terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in line))
