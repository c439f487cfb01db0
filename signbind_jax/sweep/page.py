"""A sweep as a page: the points and their scores, drawn and listed, in one HTML file."""

from pathlib import Path

from signbind_jax.report.document import document, write_page
from signbind_jax.report.markup import table, tag
from signbind_jax.report.sweep_charts import Scored, parallel_coordinates, scatter
from signbind_jax.report.wording import duration, figure, metric_of, stage_name
from signbind_jax.sweep.points import short_labels
from signbind_jax.sweep.record import FAILED, FINISHED, Record
from signbind_jax.sweep.table import SEED, Ranking, state_told, summary, value_told

PAGE_FILE = "sweep.html"


def write_sweep_page(path: Path, record: Record, ranking: Ranking) -> None:
    """Writes the page; it needs nothing but a browser."""
    sections = [
        ("plots", "The scores drawn", _plots(record, ranking)),
        ("settings", "Means over seeds", _settings(record, ranking)),
        ("scores", "All points", _points(record, ranking)),
        ("failed", "What failed", _failed(record)),
        ("facts", "Facts of the sweep", _facts(record, ranking)),
    ]
    kept = [section for section in sections if section[2]]
    write_page(path, document(f"SignBind sweep: {record.spec}", _headline(record, ranking), kept))


def _headline(record: Record, ranking: Ranking) -> list:
    cards = [
        (f"{len(record.outcomes):,}", "points"),
        (f"{sum(o.state == FINISHED for o in record.outcomes):,}", "finished"),
        (f"{sum(o.state == FAILED for o in record.outcomes):,}", "failed"),
    ]
    if ranking.scored:
        best, last = (ranking.score(ranking.scored[i]) for i in (0, -1))
        cards += [
            (_figure(best, ranking), f"best {_metric(ranking)}"),
            (_figure(last, ranking), "worst"),
        ]
    seconds = sum(o.seconds or 0 for o in record.outcomes)
    cards.append((duration(seconds), "of training in all"))
    return [
        tag("h1", "SignBind sweep"),
        tag(
            "p",
            f"{record.spec}: {stage_name(record.stage)}. {summary(record, ranking)}",
            class_="lead",
        ),
        tag(
            "div",
            [
                tag("div", tag("b", value), tag("span", label), class_="card")
                for value, label in cards
            ],
            class_="cards",
        ),
    ]


def _plots(record: Record, ranking: Ranking) -> list:
    paths = _drawn(record)
    if not ranking.scored:
        return [tag("p", "No point has a score yet.", class_="note")]
    if not paths:
        return []
    labels = short_labels(record.varying)
    points = [
        Scored(
            o.name,
            {labels[p]: o.values[p] for p in record.varying if p in o.values},
            ranking.score(o),
        )
        for o in ranking.scored
    ]
    better = "lower" if ranking.lower else "higher"
    left_out = len(record.outcomes) - len(points)
    told = (
        f"{len(points)} points, {better} is better; green the best, blue the best quarter. "
        "Point at a line or dot for its name and score."
    )
    if left_out:
        told += f" {left_out} without a score are not drawn."
    axes = [labels[path] for path in paths]
    figures = []
    for i, label in enumerate(axes):
        having = [point for point in points if label in point.values]
        figures.append(tag("figure", scatter(f"scatter-{i}", _metric(ranking), label, having)))
    return [
        tag("p", told),
        tag("div", parallel_coordinates(_metric(ranking), axes, points), class_="scroll")
        if len(axes) > 1
        else None,
        tag("div", figures, class_="figures"),
    ]


def _drawn(record: Record) -> list[str]:
    """The paths that get an axis: the seed only where nothing else varies."""
    return [path for path in record.varying if path != SEED] or list(record.varying)


def _settings(record: Record, ranking: Ranking) -> list:
    if not any(s.n > 1 for s in ranking.settings) or len(ranking.settings) < 2:
        return []
    paths = [path for path in record.varying if path != SEED]
    labels = short_labels(record.varying)
    rows = [
        [
            *(value_told(s.values.get(path)) for path in paths),
            _figure(s.mean, ranking),
            _figure(s.spread, ranking),
            f"{len(s.scores)} of {s.n}",
            ", ".join(figure(score) for score in sorted(s.scores)),
        ]
        for s in ranking.settings
    ]
    head = [
        *(labels[path] for path in paths),
        f"Mean {_metric(ranking)}",
        "Standard deviation",
        "Seeds",
        "Scores",
    ]
    return [
        tag("p", "A difference smaller than what two seeds differ by says nothing."),
        table(head, rows),
    ]


def _points(record: Record, ranking: Ranking) -> list:
    labels = short_labels(record.varying)
    others = list(
        dict.fromkeys(name for o in record.outcomes for name in o.scores if name != ranking.metric)
    )
    rows = [
        [
            str(o.index),
            *(value_told(o.values.get(path)) for path in record.varying),
            _figure(ranking.score(o), ranking),
            *(figure(o.scores.get(name), metric_of(name).unit) for name in others),
            figure(o.loss),
            f"{o.step:,}",
            duration(o.seconds) if o.seconds else "–",
            state_told(o),
        ]
        for o in ranking.outcomes
    ]
    head = [
        "Point",
        *labels.values(),
        _metric(ranking),
        *(metric_of(n).label for n in others),
        "Loss",
        "Steps",
        "Time",
        "State",
    ]
    where = f"on split “{record.validation}”" if record.validation else "on no split"
    return [
        table(
            head,
            rows,
            f"Scores {where}, the best first; “–” is not measured. The loss is "
            "that of the last logged training step.",
        )
    ]


def _failed(record: Record) -> list:
    rows = [
        [o.name, o.error, tag("code", str(o.directory))]
        for o in record.outcomes
        if o.state == FAILED
    ]
    return [table(["Point", "Last error", "Directory"], rows)] if rows else []


def _facts(record: Record, ranking: Ranking) -> list:
    overrides = " ".join(f"--config.{path}={text}" for path, text in record.overrides.items())
    facts = [
        ("Sweep", tag("code", record.spec)),
        ("Stage", record.stage),
        ("At all points", tag("code", overrides) if overrides else "nothing overridden"),
        ("Ranked by", f"{ranking.metric}, {'lower' if ranking.lower else 'higher'} is better"),
        ("Directory", tag("code", str(record.workdir))),
    ]
    if record.other_points:
        facts.append(("No point of it", ", ".join(record.other_points)))
    return [
        tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in facts], class_="lines")
    ]


def _metric(ranking: Ranking) -> str:
    return metric_of(ranking.metric).label


def _figure(value: float | None, ranking: Ranking) -> str:
    return figure(value, metric_of(ranking.metric).unit)
