"""Boundaries between sentences: where a probability peaks, and which of them are right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LIKELY = 0.5  # probability above which a peak is a boundary
APART_S = 0.4  # of two boundaries, at least: a sentence takes longer
NEAR_S = 0.5  # of a true one, at most


class BoundaryCounts(NamedTuple):
    """How many boundaries were found, are true, and are both; sums of several recordings add up."""

    found: int = 0
    true: int = 0
    hits: int = 0

    @property
    def precision(self) -> float | None:
        """Percent of the found ones that are true; None: none was found."""
        return 100.0 * self.hits / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Percent of the true ones that were found; None: there are none."""
        return 100.0 * self.hits / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both in percent; None: neither found nor true ones."""
        n = self.found + self.true
        return 200.0 * self.hits / n if n else None

    def plus(self, other: "BoundaryCounts") -> "BoundaryCounts":
        """Of both recordings."""
        return BoundaryCounts(*(a + b for a, b in zip(self, other, strict=True)))


def peaks(probability_t: np.ndarray, fps: float) -> list[int]:
    """Frames at which a probability is above `LIKELY` and larger than anywhere within `APART_S`, in
    order; of equal ones the middle."""
    if not len(probability_t):
        return []
    apart = max(1, round(APART_S * fps))
    padded_t = np.pad(probability_t, apart, constant_values=-1.0)
    largest_t = np.lib.stride_tricks.sliding_window_view(padded_t, 2 * apart + 1).max(axis=1)
    (candidates,) = np.nonzero((probability_t > LIKELY) & (probability_t == largest_t))
    runs = np.split(candidates, np.flatnonzero(np.diff(candidates) > apart) + 1)
    return [int(run[len(run) // 2]) for run in runs if len(run)]


def matches(found: Sequence[float], true: Sequence[float], near: float = NEAR_S) -> BoundaryCounts:
    """Counts of boundaries of one recording, both in order of time; each true one counts once.

    near: in the units of both, seconds or frames.
    """
    hits = i = 0
    for place in true:
        # What lies before cannot match a later one either.
        while i < len(found) and found[i] < place - near:
            i += 1
        if i < len(found) and found[i] <= place + near:
            hits, i = hits + 1, i + 1
    return BoundaryCounts(len(found), len(true), hits)
