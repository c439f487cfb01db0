"""How far long work is, on a terminal alone."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

_DELAY_S = 2  # what is done before shows nothing


def shown(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    """The items; after two seconds a line on standard error, where it is a terminal, says how many
    of them were taken. It is gone at the end."""
    # disable=None: on a terminal alone
    return iter(tqdm(items, what, total, unit=unit, disable=None, delay=_DELAY_S, leave=False))


def seconds_shown(
    items: Iterable[Item], what: str, total_s: float, end_s: Callable[[Item], float]
) -> Iterator[Item]:
    """The items, as `shown`; the line says how many seconds of a recording they reach.

    Args:
      end_s: where in the recording an item ends.
    """
    total = round(total_s)
    with tqdm(None, what, total, unit="s", disable=None, delay=_DELAY_S, leave=False) as bar:
        for item in items:
            yield item
            bar.update(min(round(end_s(item)), total) - bar.n)
