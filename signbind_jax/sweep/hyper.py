"""What a sweep config's `get_hyper(h)` is written with: grids over config paths.

The shape of big_vision's sweeps: a config file holds `get_config(arg)`, the run, and
`get_hyper(h)`, which points of it are wanted. A grid is a list of points, a point a mapping from
a dotted config path, as in `--config.PATH=VALUE`, to its value.
"""

import itertools
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.ranges import Count, Seed, fit

Grid = list[dict[str, Any]]
MOST_POINTS = 10_000


class Hyper:
    """The builder that `get_hyper` is called with; every method gives a grid."""

    def sweep(self, path: str, values: Iterable) -> Grid:
        """One path at each of several values, such as `("optim.learning_rate", [1e-3, 3e-3])`.

        Raises:
          SignBindError: no value, or one that a command line cannot carry.
        """
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            raise SignBindError(
                f"sweep({path!r}): found {shorten(values)}, wanted a list of values"
            )
        grid = [{path: _plain(path, value)} for value in _few(values, f"sweep({path!r})")]
        if not grid:
            raise SignBindError(f"sweep({path!r}): found an empty list, wanted values")
        return grid

    def seeds(self, n: int, first: int = 0) -> Grid:
        """`n` seeds from `first` on; the table gives the mean over them."""
        n, first = fit(n, Count, "seeds", "n"), fit(first, Seed, "seeds", "first")
        return self.sweep("seed", range(first, first + n))

    def points(self, points: Iterable[Mapping[str, Any]]) -> Grid:
        """Points written out one by one."""
        return [
            {path: _plain(path, v) for path, v in point.items()} for point in _few(points, "points")
        ]

    def product(self, grids: Iterable[Grid]) -> Grid:
        """Every combination; the last grid varies fastest."""
        grids = [_few(grid, "product") for grid in _few(grids, "product")]
        if (n := math.prod(map(len, grids))) > MOST_POINTS:
            raise SignBindError(f"product: found {n:,} points, wanted at most {MOST_POINTS:,}")
        return [_joined("product", parts) for parts in itertools.product(*grids)]

    def zip(self, grids: Iterable[Grid]) -> Grid:
        """The first point of each grid together, then the second of each, and so on.

        Raises:
          SignBindError: grids of different lengths.
        """
        grids = [_few(grid, "zip") for grid in _few(grids, "zip")]
        lengths = sorted({len(grid) for grid in grids})
        if len(lengths) > 1:
            paths = ", ".join(
                next(iter(grid[0]), "nothing") if grid else "nothing" for grid in grids
            )
            raise SignBindError(
                f"zip of {paths}: found {' and '.join(map(str, lengths))} values, "
                "wanted the same number each"
            )
        return [_joined("zip", parts) for parts in zip(*grids, strict=True)]

    def chain(self, grids: Iterable[Grid]) -> Grid:
        """The points of one grid after those of another."""
        return [dict(point) for grid in _few(grids, "chain") for point in _few(grid, "chain")]


def _few(values: Iterable, kind: str) -> list:
    """A list of what may have no end, such as a generator."""
    found = list(itertools.islice(values, MOST_POINTS + 1))
    if len(found) > MOST_POINTS:
        raise SignBindError(
            f"{kind}: found more than {MOST_POINTS:,} values, wanted at most so many"
        )
    return found


def _joined(kind: str, parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    point: dict[str, Any] = {}
    for part in parts:
        for path, value in part.items():
            if path in point:
                raise SignBindError(f"{kind}: found {path} in two of its grids, wanted it in one")
            point[path] = value
    return point


def _plain(path: str, value):
    """The value in types that Python's literals have: numpy's numbers become plain ones."""
    if isinstance(value, list | tuple):
        return tuple(_plain(path, part) for part in value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise SignBindError(f"{path}: found {shorten(value)}, wanted a finite number")
    if not isinstance(value, bool | int | float | str):
        raise SignBindError(
            f"{path}: found {shorten(value)}, wanted a number, text, True, False or a list of them"
        )
    return value
