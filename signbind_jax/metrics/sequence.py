"""Edit-distance alignment of token sequences, pooled over a corpus.

Letter accuracy, gloss WER, phoneme and token error rates all come from `error_counts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from signbind_jax.errors import SignBindError

# (deletion, insertion, substitution). "htk" is HTK's HResults, "signjoey" the PHOENIX lineage.
EDIT_COSTS = {"unit": (1, 1, 1), "htk": (7, 7, 10), "signjoey": (3, 3, 4)}


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of a corpus: s substitutions, d deletions, i insertions, n reference tokens."""

    s: int
    d: int
    i: int
    n: int

    @property
    def rate(self) -> float | None:
        """100 (S + D + I) / N, in percent; may exceed 100. None without reference tokens."""
        return 100.0 * (self.s + self.d + self.i) / self.n if self.n else None

    @property
    def accuracy(self) -> float | None:
        """100 (N - S - D - I) / N, in percent; may be negative. None without reference tokens."""
        return 100.0 - self.rate if self.n else None

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(self.s + other.s, self.d + other.d, self.i + other.i, self.n + other.n)


def error_counts(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], costs: str = "unit"
) -> ErrorCounts:
    """Aligns each hypothesis with its reference and sums the errors of all pairs.

    The alignment is the cheapest under `costs` (Levenshtein 1966; Wagner and Fischer 1974).
    Where several are equally cheap, the path from the end prefers a match or substitution,
    then an insertion, then a deletion. Under "unit" that choice moves errors between S, D
    and I, never their sum.

    Args:
      references: token sequences; a string is a sequence of characters, spaces included.
      hypotheses: as many token sequences.
      costs: "unit" (1, 1, 1), "htk" (deletion 7, insertion 7, substitution 10) or
        "signjoey" (3, 3, 4). Costs choose the alignment; every error counts once.

    Raises:
      ValueError: the two sides differ in number.
      SignBindError: unknown `costs`.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references, {len(hypotheses)} hypotheses")
    total = ErrorCounts(0, 0, 0, 0)
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        total += _pair_errors(reference, hypothesis, _costs(costs))
    return total


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The least number of deletions, insertions and substitutions that turn `a` into `b`."""
    return int(_distances(*_as_numbers(a, b), EDIT_COSTS["unit"])[-1, -1])


def _costs(name: str) -> tuple[int, int, int]:
    if name not in EDIT_COSTS:
        raise SignBindError(f"edit costs: found {name!r}, wanted one of {', '.join(EDIT_COSTS)}")
    return EDIT_COSTS[name]


def _as_numbers(a: Sequence[str], b: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    ids: dict[str, int] = {}
    return tuple(
        np.array([ids.setdefault(token, len(ids)) for token in tokens], dtype=np.int64)
        for tokens in (a, b)
    )


def _distances(
    reference: np.ndarray, hypothesis: np.ndarray, costs: tuple[int, int, int]
) -> np.ndarray:
    """Cost table int64 (len(reference) + 1, len(hypothesis) + 1) of all pairs of prefixes."""
    deletion, insertion, substitution = costs
    # Insertions run along a row, so a row is min-accumulated with that slope taken out.
    slope = insertion * np.arange(len(hypothesis) + 1)
    table = np.empty((len(reference) + 1, len(hypothesis) + 1), dtype=np.int64)
    table[0] = slope
    for row, token in enumerate(reference, start=1):
        above = table[row - 1]
        best = above + deletion
        best[1:] = np.minimum(best[1:], above[:-1] + substitution * (hypothesis != token))
        table[row] = np.minimum.accumulate(best - slope) + slope
    return table


def _pair_errors(
    reference: Sequence[str], hypothesis: Sequence[str], costs: tuple[int, int, int]
) -> ErrorCounts:
    ids_r, ids_h = _as_numbers(reference, hypothesis)
    deletion, insertion, substitution = costs
    table = _distances(ids_r, ids_h, costs)
    r, h = len(ids_r), len(ids_h)
    s = d = i = 0
    while r or h:
        differs = bool(r and h and ids_r[r - 1] != ids_h[h - 1])
        if r and h and table[r, h] == table[r - 1, h - 1] + substitution * differs:
            s, r, h = s + differs, r - 1, h - 1
        elif h and table[r, h] == table[r, h - 1] + insertion:
            i, h = i + 1, h - 1
        else:
            d, r = d + 1, r - 1
    return ErrorCounts(s, d, i, len(ids_r))
