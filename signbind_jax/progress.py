"""How far long work is, on a terminal alone."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

_DELAY_S = 2  # what is done before shows nothing


def shown(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    """The items; after two seconds a line on standard error, where it is a terminal, says how many
    of them were taken. It is gone at the end."""
    # disable=None: on a terminal alone
    return iter(tqdm(items, what, total, unit=unit, disable=None, delay=_DELAY_S, leave=False))
