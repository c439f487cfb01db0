"""The points of a sweep: checked configs, each with a name and a command of its own."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signbind_jax import configs
from signbind_jax.config import RunConfig, call_config, config_module, load_config
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import literal
from signbind_jax.stages.sections import check_sections
from signbind_jax.sweep.hyper import MOST_POINTS, Hyper

_VALUE_LENGTH, _NAME_LENGTH = 24, 160  # characters; file systems allow 255 a name


@dataclass(frozen=True)
class Point:
    """One training run of a sweep.

    Attributes:
      index: its place in the sweep, from 0 on.
      name: of its directory: the values that vary, and nothing that a shell or a file system
        could take amiss.
      values: config path -> value, as `get_hyper` gave them.
      config: what it trains with.
      arguments: of `signbind` for it, but for `--workdir`.
    """

    index: int
    name: str
    values: dict[str, Any]
    config: RunConfig
    arguments: tuple[str, ...]

    def command(self, workdir: Path) -> list[str]:
        """Arguments of the `signbind train` that trains it in its directory of a sweep."""
        return [*self.arguments, f"--workdir={workdir / self.name}"]


@dataclass(frozen=True)
class Sweep:
    """A sweep as its config and the overrides make it.

    Attributes:
      spec: of its config, such as "sweeps/signing_learning_rate".
      overrides: config path -> text, common to all points.
      varying: the paths whose value is not the same at every point.
    """

    spec: str
    overrides: dict[str, str]
    varying: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def stage(self) -> str:
        """The stage it trains."""
        return self.points[0].config.stage


def load_sweep(spec: str, overrides: Mapping[str, str], options: Sequence[str] = ()) -> Sweep:
    """The sweep of `sweeps/NAME[:arg]` or `FILE.py[:arg]`, every point checked.

    Args:
      overrides: config path -> text, as `signbind train` takes them; for all points.
      options: further arguments of each point's `signbind train`.

    Raises:
      SignBindError: no sweep; a path that does not exist (with the near miss) or a value of the
        wrong type, naming the point; two points that are the same.
    """
    name = spec.partition(":")[0]
    module = config_module(name)
    if not callable(getattr(module, "get_hyper", None)):
        raise SignBindError(
            f"--config: found {name!r}, which has no get_hyper(h); wanted a sweep "
            f"such as {', '.join(known_sweeps())}"
        )
    base = load_config(spec, overrides)
    try:
        grid = call_config(module, "get_hyper", Hyper())
    except SignBindError as error:
        raise SignBindError(f"{name}: get_hyper: {error}") from None
    _check_grid(name, grid, overrides)
    varying = _varying(grid)
    points = []
    for index, (values, own) in enumerate(zip(grid, _names(grid, varying), strict=True)):
        texts = {path: _text(value) for path, value in values.items()}
        try:
            config = load_config(spec, {**overrides, **texts})
            if config.stage != base.stage:
                raise SignBindError(
                    f"config.stage: found {config.stage!r} beside {base.stage!r}, "
                    "wanted one stage a sweep"
                )
            check_sections(config)
        except SignBindError as error:
            raise SignBindError(f"{name}: get_hyper: point {index}: {error}") from None
        given = {**overrides, **texts}
        arguments = (
            "train",
            f"--config={spec}",
            *options,
            *(f"--config.{path}={text}" for path, text in given.items()),
        )
        points.append(Point(index, own, values, config, arguments))
    return Sweep(spec, dict(overrides), varying, tuple(points))


def known_sweeps() -> list[str]:
    """The sweeps that `configs/` holds."""

    folder = Path(configs.__file__).parent / "sweeps"
    return sorted(f"sweeps/{p.stem}" for p in folder.glob("*.py") if p.stem != "__init__")


def short_labels(paths: Sequence[str]) -> dict[str, str]:
    """Each path's last word, with those before it where two would be the same."""
    labels = {}
    for path in paths:
        words = path.split(".")
        n = 1
        while n < len(words) and any(
            other != path and other.split(".")[-n:] == words[-n:] for other in paths
        ):
            n += 1
        labels[path] = ".".join(words[-n:])
    return labels


def _check_grid(name: str, grid, overrides: Mapping[str, str]) -> None:
    if not isinstance(grid, list) or not all(
        isinstance(point, dict) and all(isinstance(path, str) for path in point) for point in grid
    ):
        raise SignBindError(
            f"{name}: get_hyper: found {type(grid).__name__}, wanted what h.sweep, "
            "h.product, h.zip or h.chain gave"
        )
    if not 0 < len(grid) <= MOST_POINTS:
        raise SignBindError(
            f"{name}: get_hyper: found {len(grid):,} points, wanted 1 to {MOST_POINTS:,}"
        )
    fixed = sorted({path for point in grid for path in point} & overrides.keys())
    if fixed:
        raise SignBindError(
            f"--config.{fixed[0]}: found {overrides[fixed[0]]!r}, but the sweep "
            "sets it itself; leave it out, or change get_hyper in "
            f"{name}"
        )
    first: dict[tuple, int] = {}
    for index, point in enumerate(grid):
        key = tuple(sorted((path, repr(value)) for path, value in point.items()))
        if key in first:
            raise SignBindError(
                f"{name}: get_hyper: points {first[key]} and {index} are the same, wanted each once"
            )
        first[key] = index


def _varying(grid: list[dict]) -> tuple[str, ...]:
    paths = list(dict.fromkeys(path for point in grid for path in point))
    return tuple(p for p in paths if len({repr(point.get(p)) for point in grid}) > 1)


def _names(grid: list[dict], varying: Sequence[str]) -> list[str]:
    labels = short_labels(varying)
    names = []
    for point in grid:
        parts = [f"{labels[p]}={_safe(point[p])}" for p in varying if p in point]
        name = "_".join(parts) or "point"
        names.append(
            name if len(name) <= _NAME_LENGTH else f"{name[:_NAME_LENGTH]}-{_short_digest(name)}"
        )
    # A file system may not tell upper from lower case.
    count = Counter(name.lower() for name in names)
    return [
        name if count[name.lower()] == 1 else f"{name}-{_short_digest(repr(point))}"
        for name, point in zip(names, grid, strict=True)
    ]


def _safe(value) -> str:
    text = str(value)
    safe = re.sub(r"[^A-Za-z0-9.+-]+", "-", text)
    if safe == text and len(text) <= _VALUE_LENGTH:
        return text
    return f"{safe[:_VALUE_LENGTH].strip('-.')}-{_short_digest(text)}"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def _text(value) -> str:
    """What an override has to say to mean `value`: text that reads as a number is quoted."""
    if not isinstance(value, str):
        return repr(value)
    return value if literal(value) == value else repr(value)
