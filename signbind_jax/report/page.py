"""The report of a run: what it says, section by section."""

import json
from pathlib import Path
from xml.etree.ElementTree import Element

from signbind_jax import streams
from signbind_jax.report import charts, clips, wording
from signbind_jax.report.document import document, write_page
from signbind_jax.report.markup import table, tag
from signbind_jax.report.run_files import Run, number, read_run, text
from signbind_jax.report.wording import figure, metric_of


def write_report(run_dir: Path) -> Path:
    """Writes `run_dir`/report.html from the files of a run and returns its path.

    Reads results.json, every <stage>/metrics.jsonl and examples.json; the last two may be
    missing or damaged, which the report then says.

    Raises:
      SignBindError: results.json is missing or is not a JSON object.
    """
    path = Path(run_dir) / "report.html"
    write_page(path, _page(read_run(path.parent)))
    return path


def _page(run: Run) -> Element:
    name = text(run.corpus.get("name")) or "unnamed corpus"
    sections = [
        ("contributions", "What each stream contributes", _contributions(run)),
        ("scores", "The scores of every variant", _variants(run)),
        ("stages", "How well each stage learned", _stages(run)),
        ("curves", "Learning curves", _curves(run)),
        ("clips", "Examples", _clips(run)),
        ("facts", "Facts of the run", _facts(run)),
    ]
    headline = [tag("h1", "SignBind run report"), *_headline(run)]
    return document(f"SignBind run report: {name}", headline, sections)


def _headline(run: Run) -> list:
    scores = run.variants.get("all", {})
    cards = [
        tag(
            "div",
            tag("b", figure(scores.get(key), metric_of(key).unit)),
            tag("span", wording.title(key)),
            class_="card",
        )
        for key in wording.HEADLINE_METRICS
        if number(scores.get(key)) is not None
    ]
    notice = wording.synthetic_notice(run.corpus)
    return [
        tag("p", " ".join(wording.headline(run)), class_="lead"),
        tag("p", notice, class_="notice") if notice else None,
        tag("div", cards, class_="cards") if cards else None,
        _how_it_works(),
    ]


def _how_it_works() -> Element:
    readers = [
        tag(
            "li",
            tag("b", stream.shown.reader),
            " ",
            tag("span", stream.shown.does),
            class_=stream.name,
        )
        for stream in map(streams.get, streams.SHIPPED)
    ]
    return tag(
        "div",
        tag("ul", readers, class_="readers"),
        tag("p", "→", class_="arrow", aria_hidden="true"),
        tag("p", tag("b", "Fusion"), " puts what they read into one order of events."),
        tag("p", "→", class_="arrow", aria_hidden="true"),
        tag("p", tag("b", "Language model"), " writes the sentence."),
        class_="road",
    )


def _contributions(run: Run) -> list:
    if not run.variants:
        return [_missing("This run holds no translation scores, so nothing can be compared.")]
    boxes = []
    for item in wording.contributions(run):
        unit = metric_of(item.metric).unit
        pair = None
        if item.off is not None and item.on is not None:
            off, on = (
                tag("span", figure(value, unit), tag("small", label))
                for value, label in zip((item.off, item.on), item.labels, strict=True)
            )
            pair = tag("p", off, " → ", on, class_="pair")
        boxes.append(
            tag(
                "div",
                tag("h3", item.title),
                tag("p", item.question, class_="question"),
                pair,
                tag("p", " ".join(item.sentences)),
                class_="contribution",
            )
        )
    top = wording.ceiling(run.variants)
    return [
        tag(
            "p",
            "The same test sentences were translated with streams switched off. What gets "
            "worse is what that stream was good for. One run on few sentences cannot settle "
            "differences of a point or two.",
        ),
        tag("div", boxes, class_="contributions"),
        tag("p", top) if top else None,
    ]


def _variants(run: Run) -> list:
    variants = run.variants
    order = wording.shown_variants(variants)
    keys = [
        key
        for key in wording.TRANSLATION_METRICS
        if any(number(variants[v].get(key)) is not None for v in order)
    ]
    if not keys:
        return [_missing("This run holds no translation scores.")]
    head = ["Variant", *(wording.title(key) for key in keys)]
    rows = [
        [
            wording.variant_name(v),
            *(figure(variants[v].get(key), metric_of(key).unit) for key in keys),
        ]
        for v in order
    ]
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("b", wording.title(key)), ". ", metric_of(key).says),
            charts.bars(f"bars-{key}", key, {v: number(variants[v].get(key)) for v in order}),
        )
        for key in keys
    ]
    signatures = sorted({text(s.get("bleu_signature")) for s in variants.values()} - {""})
    signed = (
        [
            "BLEU signature (what someone needs to compute the same number): ",
            [tag("code", s) for s in signatures],
        ]
        if signatures
        else ["The run gives no BLEU signature: this BLEU cannot be compared with any other."]
    )
    return [
        table(head, rows, "Higher is better everywhere; “–” was not measured."),
        tag("p", wording.VARIANT_NOTES),
        tag("p", signed),
        tag("div", figures, class_="figures"),
    ]


def _stages(run: Run) -> list:
    if not run.stages:
        return [_missing("This run holds no scores of its stages.")]
    rows = []
    for stage, scores in run.stages.items():
        says = []
        for key, value in scores.items():
            if key in ("seconds", "steps", *wording.COUNTS) or number(value) is None:
                continue
            metric = metric_of(key)
            meaning = metric.says.format(value=figure(value)) if metric.says else ""
            says.append(
                tag(
                    "li",
                    tag("b", f"{wording.title(key)}: {figure(value, metric.unit)}"),
                    _arrow(metric.better),
                    " ",
                    meaning,
                )
            )
        counts = [
            f"{number(scores[key]):,.0f} {name}"
            for key, name in wording.COUNTS.items()
            if number(scores.get(key)) is not None
        ]
        counted = tag("small", f"Counted: {', '.join(counts)}.") if counts else None
        does = wording.stage_words(stage)[1]
        steps = number(scores.get("steps"))
        effort = [
            wording.duration(scores.get("seconds")),
            tag("br"),
            f"{steps:,.0f} steps" if steps is not None else "",
        ]
        rows.append(
            [
                [wording.stage_name(stage), tag("small", does)],
                [tag("ul", says) if says else "no score", counted],
                effort,
            ]
        )
    return [table(["Stage", "Scores, and what they mean", "Trained for"], rows)]


def _arrow(better: str) -> Element | None:
    return tag("small", f" ({better} is better)") if better else None


def _curves(run: Run) -> list:
    if not run.logs:
        return [_missing("This run holds no training logs (metrics.jsonl).")]
    order = [s for s in run.stages if s in run.logs] + [s for s in run.logs if s not in run.stages]
    content: list = [
        tag(
            "p",
            "Solid with dots: clips the system never trains on (validation). "
            "Thin: the clips it trains on. When the thin line keeps falling and the "
            "solid one turns away, the stage learns by heart.",
        )
    ]
    others: set[str] = set()
    for stage in order:
        curves = run.logs[stage].curves
        judged = [
            key
            for key, kinds in curves.items()
            if set(kinds) != {"train"} and key != "loss" and _moves(kinds)
        ]
        drawn = (["loss"] if "loss" in curves else []) + judged
        watched = [key for key in wording.WATCHED if key in curves]
        others |= set(curves) - {*drawn, *watched}
        content.append(tag("h3", wording.stage_name(stage)))
        if not drawn:
            content.append(_missing("Its log holds no loss and no validation scores."))
        content.append(_figures(stage, curves, drawn))
        if watched:
            summary = tag("summary", "Learning rate, gradients and updates")
            content.append(tag("details", summary, _figures(stage, curves, watched)))
    if others:
        names = ", ".join(sorted(others))
        content.append(_missing(f"In the logs, but not drawn here: {names}."))
    return content


def _figures(stage: str, curves: dict[str, dict], keys: list[str]) -> Element:
    pictures = [charts.learning_curve(f"{stage}-{key}", key, curves[key]) for key in keys]
    return tag("div", [tag("figure", picture) for picture in pictures], class_="figures")


def _moves(kinds: dict[str, list]) -> bool:
    """Whether a curve is anything but zero: counts of what went wrong seldom are."""
    return any(value for points in kinds.values() for _, value in points)


def _clips(run: Run) -> list:
    if not run.examples:
        return [_missing("No example clips are shown; see the notes under the facts of the run.")]
    how = (
        "Each example shows the signer as the computer sees it, then what each reader read and "
        "when, on one clock. Point at a bar for its exact times. Below stand the sentences that "
        "each variant of the system wrote."
    )
    return [tag("p", how), clips.legend(run.examples), *clips.section(run.examples)]


def _facts(run: Run) -> list:
    results, corpus = run.results, run.corpus
    splits = corpus.get("splits")
    sizes = splits.items() if isinstance(splits, dict) else ()
    versions = results.get("versions")
    memory = number(results.get("peak_rss_gb"))
    made_of = {"True": "synthetic signing", "False": "recordings of people"}
    facts = [
        ("Corpus", text(corpus.get("name")) or "not recorded"),
        (
            "Made of",
            made_of.get(str(corpus.get("synthetic")), "not recorded"),
        ),
        ("Clips", ", ".join(f"{split} {text(n)}" for split, n in sizes) or "not recorded"),
        ("Time in all", wording.duration(results.get("seconds_total"))),
        ("Most memory used", f"{figure(memory)} GB" if memory is not None else "not recorded"),
        ("Command", tag("code", text(results.get("command")) or "not recorded")),
        ("Versions", _versions(versions)),
    ]
    notes = [tag("li", note) for note in run.notes]
    return [
        tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in facts], class_="lines"),
        [tag("h3", "Missing or left out"), tag("ul", notes)] if notes else None,
    ]


def _versions(versions) -> str:
    if not isinstance(versions, dict) or not versions:
        return "not recorded"
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in versions.items()
    )


def _missing(sentence: str) -> Element:
    return tag("p", sentence, class_="note")
