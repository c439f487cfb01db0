"""A sweep as a page: the points and their scores, drawn and listed, in one HTML file."""

from pathlib import Path

from signbind_jax.report import charts
from signbind_jax.report.render import write_page
from signbind_jax.report.wording import duration, figure, metric_of, stage_name
from signbind_jax.sweep.points import short_labels
from signbind_jax.sweep.record import FAILED, FINISHED, Record
from signbind_jax.sweep.table import SEED, Ranking, state_told, summary, value_told


def write_sweep_page(path: Path, record: Record, ranking: Ranking) -> None:
    """Writes the page; it needs nothing but a browser."""
    write_page(
        path,
        Path(__file__).with_name("sweep.html"),
        record=record,
        ranking=ranking,
        stage=stage_name(record.stage),
        summary=summary(record, ranking),
        headline=_headline(record, ranking),
        plots=_plots(record, ranking),
        settings=_settings(record, ranking),
        points=_points(record, ranking),
        failed=[o for o in record.outcomes if o.state == FAILED],
        overrides=" ".join(f"--config.{path}={text}" for path, text in record.overrides.items()),
    )


def _headline(record: Record, ranking: Ranking) -> list[tuple[str, str]]:
    metric = metric_of(ranking.metric)
    scores = [figure(ranking.score(point), metric.unit) for point in ranking.scored]
    ends = [(scores[0], f"best {metric.label}"), (scores[-1], "worst")] if scores else []
    return [
        (f"{len(record.outcomes):,}", "points"),
        (f"{sum(o.state == FINISHED for o in record.outcomes):,}", "finished"),
        (f"{sum(o.state == FAILED for o in record.outcomes):,}", "failed"),
        *ends,
        (duration(sum(o.seconds or 0 for o in record.outcomes)), "of training in all"),
    ]


def _plots(record: Record, ranking: Ranking) -> dict:
    """Nothing where scores are but nothing varies."""
    labels, metric = short_labels(record.varying), metric_of(ranking.metric).label
    points = [
        charts.Scored(
            o.name,
            {labels[p]: o.values[p] for p in record.varying if p in o.values},
            ranking.score(o),
        )
        for o in ranking.scored
    ]
    # The seed gets an axis only where nothing else varies.
    axes = [labels[p] for p in record.varying if p != SEED] or list(labels.values())
    if points and not axes:
        return {}
    having = {label: [p for p in points if label in p.values] for label in axes if points}
    return {
        "n": len(points),
        "left_out": len(record.outcomes) - len(points),
        "parallel": charts.parallel_coordinates(metric, axes, points) if len(having) > 1 else "",
        "scatter": [charts.scatter(metric, label, shown) for label, shown in having.items()],
    }


def _settings(record: Record, ranking: Ranking) -> tuple[list, list] | None:
    """Head and rows of the table of means, where there are any to compare."""
    if not any(s.n > 1 for s in ranking.settings) or len(ranking.settings) < 2:
        return None
    labels, metric = short_labels(record.varying), metric_of(ranking.metric)
    paths = [path for path in record.varying if path != SEED]
    rows = [
        [
            *(value_told(s.values.get(path)) for path in paths),
            figure(s.mean, metric.unit),
            figure(s.spread, metric.unit),
            f"{len(s.scores)} of {s.n}",
            ", ".join(figure(score) for score in sorted(s.scores)),
        ]
        for s in ranking.settings
    ]
    columns = (f"Mean {metric.label}", "Standard deviation", "Seeds", "Scores")
    return [*(labels[path] for path in paths), *columns], rows


def _points(record: Record, ranking: Ranking) -> tuple[list, list]:
    """Head and rows of the table of all points."""
    metrics = [ranking.metric, *(name for o in record.outcomes for name in o.scores)]
    shown = {name: metric_of(name) for name in dict.fromkeys(metrics)}
    rows = [
        [
            o.index,
            *(value_told(o.values.get(path)) for path in record.varying),
            *(
                figure(
                    ranking.score(o) if name == ranking.metric else o.scores.get(name), metric.unit
                )
                for name, metric in shown.items()
            ),
            figure(o.loss),
            f"{o.step:,}",
            duration(o.seconds) if o.seconds else "–",
            state_told(o),
        ]
        for o in ranking.outcomes
    ]
    labels = short_labels(record.varying).values()
    names = (metric.label for metric in shown.values())
    return ["Point", *labels, *names, "Loss", "Steps", "Time", "State"], rows
