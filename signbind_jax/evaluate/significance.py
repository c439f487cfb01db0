"""Two systems score by score: which is better, and whether that is more than chance."""

import argparse
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from signbind_jax.errors import SignBindError
from signbind_jax.metrics import resampling
from signbind_jax.metrics.resampling import Difference
from signbind_jax.metrics.text import Score
from signbind_jax.ranges import Range, argument

_Resamples = Annotated[int, Range(100, 100_000)]


class Compared(NamedTuple):
    """A score of two systems.

    Attributes:
      test: None where the score cannot be computed anew for other sentences.
    """

    convention: str
    score: Score
    baseline: Score
    test: Difference | None

    @property
    def difference(self) -> float | None:
        """By how much the system's score is above the baseline's."""
        both = self.score.value, self.baseline.value
        return None if None in both else both[0] - both[1]


def compared(
    system: Sequence[tuple[str, Score]], baseline: Sequence[tuple[str, Score]], samples: int
) -> list[Compared]:
    """Tests each score of two systems, both listed in the same order."""
    rows = []
    for (convention, score), (_, other) in zip(system, baseline, strict=True):
        test = None
        if score.resampling and other.resampling:
            test = resampling.paired_bootstrap(score.resampling, other.resampling, samples)
        rows.append(Compared(convention, score, other, test))
    return rows


def not_tested(rows: Sequence[Compared]) -> list[str]:
    """The scores that were not, by name."""
    return [f"{row.convention} {row.score.name}" for row in rows if row.test is None]


def check_memory(sentences: int, samples: int) -> None:
    """Raises SignBindError where a test would take too much memory."""
    needed, most = resampling.bytes_needed(sentences, samples), resampling.MOST_BYTES
    if needed > most:
        raise SignBindError(
            f"--resamples: found {samples:,} of {sentences:,} sentences, which take "
            f"{needed / 1e9:.1f} GB of memory, wanted at most {most / 1e9:.1f}: give fewer"
        )


def add_resamples(parser: argparse.ArgumentParser) -> None:
    """Adds `--resamples`."""
    parser.add_argument(
        "--resamples",
        type=argument(_Resamples),
        default=resampling.SAMPLES,
        metavar="N",
        help="how often the bootstrap draws all sentences anew (default: %(default)s)",
    )


def print_compared(rows: Sequence[Compared]) -> None:
    """Prints a table, and below it what was and what was not tested."""
    head = ("convention", "score", "value", "against", "difference", "p", "resampled", "against")
    cells = [(*head, "signature"), *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for *row, signature in cells:
        sides = [f"{cell:{'<' if i < 2 else '>'}{widths[i]}}" for i, cell in enumerate(row)]
        print("  ".join([*sides, signature]))
    tests = [row.test for row in rows if row.test]
    if tests:
        print(f"paired bootstrap by sacrebleu: {tests[0].signature}; resampled: mean +- 95 %")
    if untested := not_tested(rows):
        print(f"not tested, as they are not computed for other sentences: {', '.join(untested)}")


def _cells(row: Compared) -> tuple[str, ...]:
    numbers = [
        "-" if x is None else f"{x:{form}}"
        for x, form in (
            (row.score.value, ".2f"),
            (row.baseline.value, ".2f"),
            (row.difference, "+.2f"),
        )
    ]
    test = row.test
    drawn = ["-"] * 3
    if test:
        drawn = [f"{test.p_value:.4f}"]
        drawn += [f"{x.mean:.2f} +- {x.half:.2f}" for x in (test.system, test.baseline)]
    return row.convention, row.score.name, *numbers, *drawn, row.score.signature
