"""Boundaries that a probability shows, and how many of them are right."""

import numpy as np
import pytest

from signbind_jax.metrics.boundaries import BoundaryCounts, matches, peaks


def probability(n: int, **at: float) -> np.ndarray:
    """0.1 everywhere but at frames such as f5=0.9."""
    x_t = np.full(n, 0.1, np.float32)
    for name, value in at.items():
        x_t[int(name[1:])] = value
    return x_t


@pytest.mark.parametrize(
    ("x_t", "wanted"),
    [
        (probability(50), []),
        (probability(50, f20=0.5), []),  # not above one half
        (probability(50, f20=0.6), [20]),
        (probability(50, f20=0.6, f29=0.9), [29]),  # nearer than 0.4 s: the likelier one
        (probability(50, f20=0.6, f31=0.9), [20, 31]),
        (probability(50, f20=0.8, f21=0.8, f22=0.8), [21]),
        (probability(50, f0=0.8, f49=0.8), [0, 49]),
        (np.full(50, 0.9, np.float32), [25]),
        (np.zeros(0, np.float32), []),
    ],
)
def test_a_boundary_is_where_nothing_around_is_likelier(x_t, wanted):
    assert peaks(x_t, 25) == wanted


def test_each_true_boundary_counts_once_and_only_when_near():
    found, true = [1.0, 1.3, 4.0, 9.0], [1.2, 4.6, 8.5, 20.0]
    counts = matches(found, true)
    assert counts == BoundaryCounts(found=4, true=4, hits=2)  # 1.2 once; 8.5 by 9.0
    assert counts.precision == counts.recall == counts.f1 == 50
    # Two near each other take one each, whichever is nearer.
    assert matches([1.0, 1.4], [1.2, 1.5]).hits == 2
    both = counts.plus(matches([], [1.0]))
    assert both == BoundaryCounts(4, 5, 2) and both.recall == 40


def test_where_nothing_is_there_nothing_is_scored():
    assert matches([], []).f1 is None
    assert matches([], [1.0]).precision is None and matches([], [1.0]).f1 == 0
    assert matches([1.0], []).recall is None and matches([1.0], []).precision == 0
