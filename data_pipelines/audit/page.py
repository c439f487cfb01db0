"""An audit as a page: findings, counts, histograms and example clips in one HTML file."""

from pathlib import Path

from signbind_jax.data_pipelines.audit.feasibility import WHY
from signbind_jax.data_pipelines.audit.finding import ERROR, NOTE, OK, SKIPPED, WARNING
from signbind_jax.data_pipelines.audit.page_examples import examples
from signbind_jax.data_pipelines.audit.result import Result
from signbind_jax.report import charts, skeleton
from signbind_jax.report.render import write_page
from signbind_jax.report.wording import count, duration, figure

_COUNTS = ("clips", "published", "missing", "with_pose", "with_lips")


def write_audit_page(path: Path, result: Result) -> None:
    """Writes the page; it needs nothing but a browser."""
    splits, info = result.splits(), result.survey.info
    seconds = 3600 * sum(row["hours"] or 0 for row in splits)
    flagged, spaced = examples(result)
    write_page(
        path,
        Path(__file__).with_name("audit.html"),
        result=result,
        headline=[
            *((f"{result.n[level]:,}", f"{level}s") for level in (ERROR, WARNING, NOTE)),
            (f"{sum(row['clips'] for row in splits):,}", "clips"),
            (duration(seconds), "in all"),
        ],
        told=[f for f in result.findings if f.level in (ERROR, WARNING, NOTE)],
        passed=[f for f in result.findings if f.level in (OK, SKIPPED)],
        splits=[_split(row) for row in splits],
        why=f"{WHY[:1].upper()}{WHY[1:]}",
        feasible=[_feasible(row) for row in result.feasible],
        histograms=[(_drawn(h), sum(h.counts) + h.beyond, h.largest) for h in result.histograms],
        flagged=flagged,
        spaced=spaced,
        reach=skeleton.REACH,
        facts=[
            *result.source.items(),
            (
                "labels of the corpus",
                ", ".join(sorted(result.survey.labelled)) or "none: derived from the text",
            ),
            ("format", info.description["format"]),
            ("keypoint layout", info.description["keypoint_layout"]),
            ("digest", info.digest),
        ],
    )


def _split(row: dict) -> list[str]:
    languages = [
        ", ".join(f"{name or 'not named'} {n:,}" for name, n in (row[key] or {}).items())
        for key in ("text_languages", "signed_languages")
    ]
    hours = "–" if row["hours"] is None else duration(row["hours"] * 3600).replace(" ", "\u00a0")
    counts = (count(row[key]) for key in _COUNTS)
    return [row["split"], *counts, hours, count(row["signers"]), *languages]


def _feasible(row) -> list[str]:
    with_target = row.present - row.empty
    share = figure(100 * row.impossible / row.present, "%") if with_target > 0 else "–"
    counts = map(count, (row.clips, row.present, with_target, row.impossible))
    return [row.config, row.split, *counts, share]


def _drawn(h):
    return charts.histogram(h.name, h.unit, h.edges, h.counts, h.beyond, h.median)
