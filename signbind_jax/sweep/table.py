"""The points of a sweep and their scores as a table: ranked, averaged over seeds, as CSV."""

import csv
import io
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import unknown_name
from signbind_jax.report.wording import figure, metric_of
from signbind_jax.sweep.points import short_labels
from signbind_jax.sweep.record import FAILED, FINISHED, UNFINISHED, WAITING, Outcome, Record

CSV_FILE = "sweep.csv"
WIDTH = 110  # columns where there is no terminal to ask
SEED = "seed"
_SHOWN = 40  # points on the terminal; what failed is shown besides


@dataclass(frozen=True)
class Setting:
    """The points that differ in their seed alone.

    Attributes:
      values: config path -> value of what varies, the seed left out.
      scores: of its finished points.
      n: of its points, finished or not.
    """

    values: dict
    scores: tuple[float, ...]
    n: int

    @property
    def mean(self) -> float:
        """Mean score over seeds."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Ranking:
    """A sweep's points by one metric.

    Attributes:
      metric: its name; "loss" is that of the last logged training step.
      lower: whether less is better.
      outcomes: all points, the best first, then those without a score in order.
      settings: see `Setting`, the best mean first; those without a score are not in it.
    """

    metric: str
    lower: bool
    outcomes: tuple[Outcome, ...]
    settings: tuple[Setting, ...]

    def score(self, outcome: Outcome) -> float | None:
        """A finished point's score; None where there is none."""
        return _score(outcome, self.metric)

    @property
    def scored(self) -> list[Outcome]:
        """The points with a score, the best first."""
        return [outcome for outcome in self.outcomes if self.score(outcome) is not None]


def rank(record: Record, metric: str | None = None) -> Ranking:
    """Orders the points by `metric`; by default the first score that has a better end.

    Raises:
      SignBindError: no point has this metric, or it has no better end.
    """
    known = list(
        dict.fromkeys(name for o in record.outcomes for name in o.scores if metric_of(name).better)
    )
    metric = metric or next(iter(known), "loss")
    if metric not in (*known, "loss"):
        raise SignBindError(unknown_name("--metric", metric, (*known, "loss")))
    lower = metric_of(metric).better == "lower"

    def order(outcome: Outcome) -> tuple:
        score = _score(outcome, metric)
        if score is None:
            return (1, 0.0, outcome.index)
        return (0, score if lower else -score, outcome.index)

    settings = [s for s in _settings(record, metric) if s.scores]
    return Ranking(
        metric,
        lower,
        tuple(sorted(record.outcomes, key=order)),
        tuple(sorted(settings, key=lambda s: s.mean if lower else -s.mean)),
    )


def write_csv(record: Record, path: Path) -> None:
    """One row a point, in order: values that vary by config path, every score, the error."""
    metrics = list(dict.fromkeys(name for o in record.outcomes for name in o.scores))
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        [
            "index",
            "name",
            "state",
            *record.varying,
            *metrics,
            "loss",
            "step",
            "steps",
            "seconds",
            "error",
            "directory",
        ]
    )
    for o in record.outcomes:
        rows.writerow(
            [
                o.index,
                o.name,
                o.state,
                *(o.values.get(p, "") for p in record.varying),
                *(o.scores.get(m, "") for m in metrics),
                "" if o.loss is None else o.loss,
                o.step,
                o.steps,
                "" if o.seconds is None else round(o.seconds, 1),
                o.error,
                o.directory,
            ]
        )
    files.write(path, text.getvalue())


def show(record: Record, ranking: Ranking, file=None) -> None:
    """Prints the points, the best first, then the means over seeds where there are several."""
    file = file or sys.stdout
    known = file.isatty() or "COLUMNS" in os.environ
    console = Console(file=file, width=None if known else WIDTH, highlight=False)
    labels = short_labels(record.varying)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("point", *labels.values(), ranking.metric, "loss", "steps", "seconds"):
        table.add_column(Text(name), justify="left" if name in labels.values() else "right")
    table.add_column("state", overflow="fold")
    shown = [o for i, o in enumerate(ranking.outcomes) if i < _SHOWN or o.state == FAILED]
    for o in shown:
        cells = [
            str(o.index),
            *(value_told(o.values.get(path)) for path in record.varying),
            _bare(ranking.score(o), ranking),
            figure(o.loss),
            str(o.step),
            figure(o.seconds and round(o.seconds)),
            state_told(o),
        ]
        table.add_row(*map(Text, cells))
    console.print(table)
    if len(shown) < len(ranking.outcomes):
        console.print(Text(f"and {len(ranking.outcomes) - len(shown)} more, see {CSV_FILE}"))
    if len(ranking.settings) and any(s.n > 1 for s in ranking.settings):
        console.print(_means(record, ranking))
    console.print(Text(summary(record, ranking)))


def summary(record: Record, ranking: Ranking) -> str:
    """How many points are how far, and which is best, in one or two sentences."""
    count = {
        s: sum(o.state == s for o in record.outcomes)
        for s in (FINISHED, UNFINISHED, FAILED, WAITING)
    }
    told = [f"{n} {state}" for state, n in count.items() if n]
    lines = [f"{len(record.outcomes)} points: {', '.join(told)}."]
    if record.other_points:
        lines.append(
            f"{len(record.other_points)} directories belong to no point of the sweep, such "
            f"as {record.other_points[0]}."
        )
    if ranking.scored:
        best = ranking.scored[0]
        better = "lower" if ranking.lower else "higher"
        score = figure(ranking.score(best))
        lines.append(
            f"Best {ranking.metric} ({better} is better): {score}, point {best.index}, {best.name}."
        )
    return " ".join(lines)


def value_told(value) -> str:
    """A config value as a table says it; "–" for None, which stands for no value."""
    if isinstance(value, list | tuple):
        return ", ".join(map(value_told, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)


def state_told(outcome: Outcome) -> str:
    """A point's state as a table says it."""
    if outcome.state == FAILED:
        return f"failed: {outcome.error}"
    if outcome.state == UNFINISHED:
        return f"unfinished, step {outcome.step} of {outcome.steps}"
    return outcome.state


def _means(record: Record, ranking: Ranking) -> Table:
    paths = [path for path in record.varying if path != SEED]
    labels = short_labels(paths)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in labels.values():
        table.add_column(Text(name))
    for name in (f"mean {ranking.metric}", "± between seeds", "seeds"):
        table.add_column(name, justify="right")
    for s in ranking.settings[:_SHOWN]:
        n = str(s.n) if len(s.scores) == s.n else f"{len(s.scores)} of {s.n}"
        table.add_row(
            *(Text(value_told(s.values.get(path))) for path in paths),
            _bare(s.mean, ranking),
            _bare(s.spread, ranking),
            n,
        )
    return table


def _bare(value: float | None, ranking: Ranking) -> str:
    """A score to the decimals its unit has; the unit itself would only widen the column."""
    return figure(value, metric_of(ranking.metric).unit).removesuffix("\u00a0%")


def _settings(record: Record, metric: str) -> list[Setting]:
    groups: dict[tuple, list[Outcome]] = {}
    paths: Sequence[str] = [path for path in record.varying if path != SEED]
    for outcome in record.outcomes:
        key = tuple(repr(outcome.values.get(path)) for path in paths)
        groups.setdefault(key, []).append(outcome)
    settings = []
    for group in groups.values():
        values = {p: group[0].values[p] for p in paths if p in group[0].values}
        scores = [s for o in group if (s := _score(o, metric)) is not None]
        settings.append(Setting(values, tuple(scores), len(group)))
    return settings


def _score(outcome: Outcome, metric: str) -> float | None:
    if outcome.state != FINISHED:
        return None
    return outcome.scores.get(metric, outcome.loss if metric == "loss" else None)
