"""Edit-distance alignment of token sequences, pooled over a corpus.

Letter accuracy, gloss WER, phoneme and token error rates all come from `error_counts`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from signbind_jax.errors import SignBindError

# (deletion, insertion, substitution). "htk" is HTK's HResults, "signjoey" the PHOENIX lineage.
EDIT_COSTS = {"unit": (1, 1, 1), "htk": (7, 7, 10), "signjoey": (3, 3, 4)}
_BATCH_CELLS = 2**20  # of the tables of pairs that are aligned together
_MATCH, _INSERT, _DELETE = range(3)  # how an alignment ends; the numbers are calculated with


_Pair = tuple[np.ndarray, np.ndarray]  # reference and hypothesis, tokens as numbers


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
    """Sums the errors of all pairs, see `each_error_counts`."""
    return sum(each_error_counts(references, hypotheses, costs), ErrorCounts(0, 0, 0, 0))


def each_error_counts(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], costs: str = "unit"
) -> list[ErrorCounts]:
    """Aligns each hypothesis with its reference and counts the errors of each pair.

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
    pairs = _as_numbers(references, hypotheses)
    found = [ErrorCounts(0, 0, 0, 0)] * len(pairs)
    for places in _batches(pairs):
        batch = [pairs[i] for i in places]
        moves_bqu, _ = _align(batch, _costs(costs))
        for i, moves_qu, (reference, hypothesis) in zip(places, moves_bqu, batch, strict=True):
            found[i] = _errors(moves_qu, reference, hypothesis)
    return found


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Counts the least number of deletions, insertions and substitutions that turn `a` into `b`."""
    return int(_align(_as_numbers([a], [b]), EDIT_COSTS["unit"])[1][0])


def _costs(name: str) -> tuple[int, int, int]:
    if name not in EDIT_COSTS:
        raise SignBindError(f"edit costs: found {name!r}, wanted one of {', '.join(EDIT_COSTS)}")
    return EDIT_COSTS[name]


def _as_numbers(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
) -> list[_Pair]:
    ids: dict[str, int] = {}
    return [
        tuple(
            np.array([ids.setdefault(token, len(ids)) for token in tokens], dtype=np.int32)
            for tokens in pair
        )
        for pair in zip(references, hypotheses, strict=True)
    ]


def _batches(pairs: list[_Pair]) -> Iterator[list[int]]:
    """Puts pairs of like lengths together, by their places: a row of all their tables is one
    operation."""
    batch: list[int] = []
    q = u = 0
    for i in sorted(range(len(pairs)), key=lambda i: tuple(map(len, pairs[i]))):
        pair = pairs[i]
        wide_q, wide_u = max(q, len(pair[0])), max(u, len(pair[1]))
        if batch and (len(batch) + 1) * (wide_q + 1) * (wide_u + 1) > _BATCH_CELLS:
            yield batch
            batch, wide_q, wide_u = [], *map(len, pair)
        batch.append(i)
        q, u = wide_q, wide_u
    if batch:
        yield batch


def _align(pairs: list[_Pair], costs: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Finds how the cheapest alignment of every pair of prefixes ends, and what that of the longest
    reference and hypothesis of the batch costs.

    Returns:
      uint8 (b, q + 1, u + 1) of `_MATCH` (or substitution), `_INSERT` and `_DELETE`; and int32
      (b,) costs, which hold for pairs of the full lengths q and u.
    """
    deletion, insertion, substitution = costs
    reference_bq, hypothesis_bu = (_padded(side) for side in zip(*pairs, strict=True))
    n_q, n_u = reference_bq.shape[1], hypothesis_bu.shape[1]
    # Insertions run along a row, so a row is min-accumulated with that slope taken out.
    slope_u = insertion * np.arange(n_u + 1, dtype=np.int32)
    moves_bqu = np.full((len(pairs), n_q + 1, n_u + 1), _INSERT, np.uint8)
    row_bu = np.repeat(slope_u[None], len(pairs), 0)
    for i in range(n_q):
        differs_bu = hypothesis_bu != reference_bq[:, i, None]
        matched_bu = row_bu[:, :-1] + differs_bu * np.int32(substitution)
        best_bu = row_bu + deletion
        best_bu[:, 1:] = np.minimum(best_bu[:, 1:], matched_bu)
        row_bu = np.minimum.accumulate(best_bu - slope_u, axis=1) + slope_u
        moves_bu = moves_bqu[:, i + 1]
        moves_bu[:, 0] = _DELETE
        inserted_bu = row_bu[:, 1:] == row_bu[:, :-1] + insertion
        moved_bu = np.subtract(_DELETE, inserted_bu, dtype=np.uint8, casting="unsafe")
        moves_bu[:, 1:] = moved_bu * (row_bu[:, 1:] != matched_bu)
    return moves_bqu, row_bu[:, -1]


def _padded(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Sequences as rows, int32 (sequences, longest), -1 behind their ends."""
    rows = np.full((len(sequences), max(map(len, sequences))), -1, np.int32)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return rows


def _errors(moves_qu: np.ndarray, reference: np.ndarray, hypothesis: np.ndarray) -> ErrorCounts:
    """Counts the errors on the way back through the table of a pair."""
    q, u = len(reference), len(hypothesis)
    s = d = i = 0
    while q or u:
        move = moves_qu[q, u]
        if move == _MATCH:
            q, u = q - 1, u - 1
            s += int(reference[q] != hypothesis[u])
        elif move == _INSERT:
            i, u = i + 1, u - 1
        else:
            d, q = d + 1, q - 1
    return ErrorCounts(s, d, i, len(reference))
