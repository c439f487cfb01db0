"""An audit as a page: findings, counts, histograms and example clips in one HTML file."""

from pathlib import Path

from signbind_jax.data_pipelines.audit.feasibility import WHY
from signbind_jax.data_pipelines.audit.finding import ERROR, NOTE, OK, SKIPPED, WARNING
from signbind_jax.data_pipelines.audit.page_examples import examples
from signbind_jax.data_pipelines.audit.result import Result
from signbind_jax.report import charts, skeleton
from signbind_jax.report.render import write_page
from signbind_jax.report.wording import duration


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
        why=WHY,
        nbsp="\u00a0",
        histograms=[
            (
                charts.histogram(h.name, h.unit, h.edges, h.counts, h.beyond, h.median),
                sum(h.counts) + h.beyond,
                h.largest,
            )
            for h in result.histograms
        ],
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
