"""The report of a run: the values that report.html tells, section by section."""

import json
from pathlib import Path

from signbind_jax import streams
from signbind_jax.report import charts, clips, wording
from signbind_jax.report.comparisons import SAME, comparisons
from signbind_jax.report.render import write_page
from signbind_jax.report.run_files import Run, as_dict, number, read_run, text
from signbind_jax.report.wording import figure, metric_of


def write_report(run_dir: Path) -> Path:
    """Writes `run_dir`/report.html from the files of a run and returns its path.

    Reads results.json, every <stage>/metrics.jsonl and examples.json; the last two may be
    missing or damaged, which the report then says.

    Raises:
      SignBindError: results.json is missing or is not a JSON object.
    """
    path = Path(run_dir) / "report.html"
    run = read_run(path.parent)
    write_page(
        path,
        Path(__file__).with_name("report.html"),
        run=run,
        same=SAME,
        comparisons=comparisons(run.variants) if run.variants else [],
        scores=_scores(run.variants),
        counts=wording.COUNTS,
        versions={
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in as_dict(run.results.get("versions")).items()
        },
        clips=clips.shown(run.examples),
        legend=clips.shown_streams(run.examples),
        unread=any(row for example in run.examples for row in example.unread.values()),
        **_headline(run),
        **_curves(run),
    )
    return path


def _headline(run: Run) -> dict:
    scores = {key: number(value) for key, value in run.variants.get("all", {}).items()}
    sizes = as_dict(run.corpus.get("splits"))
    return {
        "corpus": text(run.corpus.get("name")),
        "sizes": sizes,
        "n_test": int(number(sizes.get("test")) or 0),
        "shipped": [streams.get(name) for name in streams.SHIPPED],
        "all_streams": {"bleu4": None, "name_recall": None} | scores,
        "perfect": number(run.variants.get("oracle_text", {}).get("bleu4")),
        "headline": [
            (figure(scores[key], metric_of(key).unit), wording.title(key))
            for key in wording.HEADLINE_METRICS
            if scores.get(key) is not None
        ],
    }


def _scores(variants: dict) -> dict | None:
    """The table of all variants, and a bar chart for each metric that any of them has."""
    order = wording.shown_variants(variants)
    found = {
        key: {v: number(variants[v].get(key)) for v in order} for key in wording.TRANSLATION_METRICS
    }
    measured = {key: s for key, s in found.items() if any(x is not None for x in s.values())}
    return measured and {
        "head": ["Variant", *map(wording.title, measured)],
        "rows": [
            [
                wording.variant_name(v),
                *(figure(scores[v], metric_of(key).unit) for key, scores in measured.items()),
            ]
            for v in order
        ],
        "bars": [(key, wording.title(key), scores) for key, scores in measured.items()],
        "signatures": sorted({text(s.get("bleu_signature")) for s in variants.values()} - {""}),
    }


def _curves(run: Run) -> dict:
    drawn, others = [], set()
    order = [s for s in run.stages if s in run.logs] + [s for s in run.logs if s not in run.stages]
    for stage in order:
        curves = run.logs[stage].curves
        # Counts of what went wrong seldom are anything but zero.
        scored = [
            key
            for key, kinds in curves.items()
            if key != "loss" and kinds.keys() != {"train"} and _moves(kinds)
        ]
        keys = ["loss"] * ("loss" in curves) + scored
        watched = [key for key in wording.WATCHED if key in curves]
        others |= curves.keys() - {*keys, *watched}
        drawn.append(
            {
                "name": wording.stage_name(stage),
                "drawn": [charts.learning_curve(key, curves[key]) for key in keys],
                "watched": [charts.learning_curve(key, curves[key]) for key in watched],
            }
        )
    return {"curves": drawn, "not_drawn": sorted(others)}


def _moves(kinds: dict[str, list]) -> bool:
    return any(value for points in kinds.values() for _, value in points)
