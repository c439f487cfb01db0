"""An audit as a page: findings, counts, histograms and example clips in one HTML file."""

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element

from signbind_jax.data_pipelines.audit.feasibility import WHY
from signbind_jax.data_pipelines.audit.finding import ERROR, NOTE, OK, SKIPPED, WARNING, Finding
from signbind_jax.data_pipelines.audit.page_examples import examples
from signbind_jax.data_pipelines.audit.result import Result
from signbind_jax.report.document import document, write_page
from signbind_jax.report.histogram import histogram
from signbind_jax.report.markup import table, tag
from signbind_jax.report.wording import duration, figure

_CLIPS_SHOWN = 20
_IDS_SHOWN = 50
_SYNTHETIC = (
    "This corpus is synthetic: a program drew the signing; no person was recorded. The "
    "numbers describe the program's clips, not sign language."
)


def write_audit_page(path: Path, result: Result) -> None:
    """Writes the page; it needs nothing but a browser."""
    name = str(result.source.get("corpus", "unnamed corpus"))
    sections = [
        ("findings", "What was found", _findings(result)),
        ("splits", "The splits", _splits(result)),
        ("build", "What the build left out or repaired", _build(result)),
        ("ctc", "What each expert can be trained on", _feasible(result)),
        ("histograms", "How the clips are distributed", _histograms(result)),
        ("examples", "Examples", examples(result)),
        ("passed", "Checks that found nothing", _passed(result)),
        ("facts", "Facts of the dataset", _facts(result)),
    ]
    write_page(path, document(f"SignBind dataset audit: {name}", _headline(result), sections))


def _headline(result: Result) -> list:
    n, survey = result.n, result.survey
    if n[ERROR]:
        lead = "Training on this dataset would go wrong: mend the errors first."
    elif n[WARNING]:
        lead = "Nothing that would make training wrong; the warnings deserve a look."
    else:
        lead = "Nothing that would make training wrong."
    read = f"All {survey.n_clips:,} clips were read and every file compared with its digest."
    if survey.sampled:
        read = (
            f"Only the arrays of {survey.n_read:,} of {survey.n_clips:,} clips were read, "
            "evenly spaced, and files were compared by size only; labels were read of all "
            "clips."
        )
    splits = result.splits()
    cards = [
        *((f"{n[level]:,}", f"{level}s") for level in (ERROR, WARNING, NOTE)),
        (f"{sum(row['clips'] for row in splits):,}", "clips"),
        (duration(3600 * sum(row["hours"] or 0 for row in splits)), "in all"),
    ]
    return [
        tag("h1", "SignBind dataset audit"),
        tag("p", f"{survey.info.directory}. {lead}", class_="lead"),
        tag("p", read),
        tag("p", _SYNTHETIC, class_="notice") if result.source.get("synthetic") else None,
        tag(
            "div",
            [
                tag("div", tag("b", value), tag("span", label), class_="card")
                for value, label in cards
            ],
            class_="cards",
        ),
    ]


def _findings(result: Result) -> list:
    told = [f for f in result.findings if f.level in (ERROR, WARNING, NOTE)]
    if not told:
        return [tag("p", "Nothing.", class_="note")]
    rows = [
        [
            [_level(f), tag("small", f.title)],
            [
                tag("span", f.found, dir="auto"),
                tag("p", tag("b", "Do: "), f.advice) if f.advice else None,
                _clips(result, f),
            ],
            [f.wanted, tag("small", f.why, class_="why")],
        ]
        for f in told
    ]
    return [
        tag(
            "p",
            "Errors make training wrong, warnings make it worse or its scores misleading, "
            "notes are good to know.",
        ),
        table(["Level, check", "Found", "Wanted, and why"], rows),
    ]


def _level(finding: Finding) -> Element:
    return tag("span", finding.level, class_=f"level {finding.level}")


def _clips(result: Result, finding: Finding) -> Element | None:
    if not finding.clips:
        return None
    names = result.names(finding, _CLIPS_SHOWN)
    more = len(finding.clips) - len(names)
    return tag(
        "details",
        tag("summary", f"Names ({len(finding.clips):,})"),
        tag("p", _listed(names, more), dir="auto"),
    )


def _listed(names: Iterable[str], more: int) -> list:
    shown = [[tag("code", name), " "] for name in names]
    return [*shown, f"and {more:,} more (--json lists all)" if more > 0 else None]


def _splits(result: Result) -> list:
    rows = []
    for row in result.splits():
        languages = [
            ", ".join(f"{name or 'not named'} {n:,}" for name, n in (row[key] or {}).items())
            for key in ("text_languages", "signed_languages")
        ]
        hours = duration(row["hours"] * 3600) if row["hours"] is not None else "–"
        hours = hours.replace(" ", "\u00a0")
        rows.append(
            [
                row["split"],
                *(
                    _count(row[key])
                    for key in ("clips", "published", "missing", "with_pose", "with_lips")
                ),
                hours,
                _count(row["signers"]),
                *languages,
            ]
        )
    head = [
        "Split",
        "Clips",
        "Published",
        "Missing",
        "With pose",
        "With mouth crops",
        "Duration",
        "Signers",
        "Text languages",
        "Sign languages",
    ]
    return [
        table(
            head,
            rows,
            "“Published”: the clips the corpus was published with; “–”: not stated, or not known.",
        )
    ]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _build(result: Result) -> list:
    report = result.survey.info.description["report"]
    content = []
    if report["left_out"]:
        rows = [
            [
                reason,
                _count(len(ids)),
                tag("span", _listed(ids[:_IDS_SHOWN], len(ids) - _IDS_SHOWN), dir="auto"),
            ]
            for reason, ids in sorted(report["left_out"].items(), key=lambda item: -len(item[1]))
        ]
        content.append(table(["Left out because", "Clips", "Which"], rows))
    if report["repaired"]:
        rows = [[what, _count(n)] for what, n in report["repaired"].items()]
        content.append(table(["Repaired", "Times"], rows))
    return content or [tag("p", "Nothing was left out and nothing repaired.", class_="note")]


def _feasible(result: Result) -> list:
    rows = [
        [
            row.config,
            row.split,
            _count(row.clips),
            _count(row.present),
            _count(row.present - row.empty),
            _count(row.impossible),
            figure(100 * row.impossible / row.present, "%") if row.present > row.empty else "–",
        ]
        for row in result.feasible
    ]
    head = [
        "Config",
        "Split",
        "Clips",
        "With its modality",
        "With a target",
        "Impossible for CTC",
        "Share",
    ]
    return [tag("p", f"{WHY[:1].upper()}{WHY[1:]}."), table(head, rows)]


def _histograms(result: Result) -> list:
    figures = [
        tag(
            "figure",
            histogram(f"h{i}", h.name, h.unit, h.edges, h.counts, h.beyond, h.median),
            tag("figcaption", f"{sum(h.counts) + h.beyond:,} clips, at most {figure(h.largest)}"),
        )
        for i, h in enumerate(result.histograms)
    ]
    return [tag("div", figures, class_="figures")]


def _passed(result: Result) -> list:
    rows = [
        [
            [_level(f), tag("small", f.title)],
            tag("span", f.found, dir="auto"),
            [f.wanted, tag("small", f.why, class_="why")],
        ]
        for f in result.findings
        if f.level in (OK, SKIPPED)
    ]
    return [
        table(
            ["Check", "Found", "Wanted, and why"], rows, "“skipped”: there was nothing to look at."
        )
    ]


def _facts(result: Result) -> list:
    info = result.survey.info
    facts = [
        *((str(name), str(value)) for name, value in result.source.items()),
        (
            "labels of the corpus",
            ", ".join(sorted(result.survey.labelled)) or "none: derived from the text",
        ),
        ("format", str(info.description["format"])),
        ("keypoint layout", info.description["keypoint_layout"]),
        ("digest", info.digest),
    ]
    return [
        tag(
            "dl",
            [[tag("dt", name), tag("dd", value, dir="auto")] for name, value in facts],
            class_="lines",
        )
    ]
