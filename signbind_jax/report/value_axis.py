"""Where the values of one config path stand on an axis."""

import math
from collections.abc import Iterable

from signbind_jax.report.charts import round_ticks
from signbind_jax.report.run_files import number

_MOST_APART = 10  # values; more are placed by size instead of evenly
_LABEL = 14  # characters


class ValueAxis:
    """An axis from 0 to 1 for the values of a grid.

    Few values stand evenly apart in order, whatever their kind; many numbers stand where their
    size puts them, by their logarithm where they span a factor of 20 and more.
    """

    def __init__(self, values: Iterable):
        distinct = {repr(value): value for value in values}
        numeric = all(number(value) is not None for value in distinct.values())
        kept = list(distinct.values())
        self._order = sorted(kept, key=float) if numeric else sorted(kept, key=repr)
        self._by_size = numeric and len(kept) > _MOST_APART
        self._place = {repr(value): i for i, value in enumerate(self._order)}
        self._log = self._by_size and self._order[0] > 0 and self._order[-1] / self._order[0] >= 20

    def place(self, value) -> float:
        """0 at the lowest value, 1 at the highest; a single one stands in the middle."""
        if len(self._order) == 1:
            return 0.5
        if not self._by_size:
            return self._place[repr(value)] / (len(self._order) - 1)
        low, high = self._scaled(self._order[0]), self._scaled(self._order[-1])
        return (self._scaled(value) - low) / (high - low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(place, label) of the values, or of round numbers among many."""
        if not self._by_size:
            shown = self._order if len(self._order) <= 2 * _MOST_APART else ()
            return [(self.place(value), _short(value)) for value in shown]
        low, high = self._order[0], self._order[-1]
        values = {low, high} if self._log else {low, high, *round_ticks(low, high)[1:-1]}
        return [(self.place(v), f"{v:.4g}") for v in sorted(values) if low <= v <= high]

    def _scaled(self, value) -> float:
        return math.log10(value) if self._log else float(value)


def _short(value) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(map(_short, value))
    else:
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
