"""Plain-language names and numbers; the words themselves stand in wording.toml and templates."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from signbind_jax import streams
from signbind_jax.report.run_files import number


class Metric(NamedTuple):
    """How a metric is shown: `better` is "higher" or "lower"; `says` may hold {value}."""

    label: str
    unit: str = ""
    better: str = ""
    says: str = ""


_WORDS = tomllib.loads(Path(__file__).with_name("wording.toml").read_text("utf-8"))
METRICS = {key: Metric(*words) for key, words in _WORDS["metrics"].items()}
COUNTS = _WORDS["counts"]
TIME_METRICS = ("role", "lonely_twin", "adjacent_names")
WATCHED = ("learning_rate", "gradient_norm", "update_norm")  # drawn, but behind a click
HEADLINE_METRICS = ("bleu4", "name_recall", "homonym_accuracy", *TIME_METRICS)
TRANSLATION_METRICS = (
    "bleu4",
    "chrf",
    "name_recall",
    "name_recall_read",
    "text_name_recall",
    "homonym_accuracy",
    *TIME_METRICS,
)


def metric_of(key: str) -> Metric:
    """How to show the metric `key`; an unknown one is shown under its own name."""
    bare = key.rsplit("/", 1)[-1]
    for prefix in ("validation_", "test_", "train_"):
        bare = bare.removeprefix(prefix)
    if bare in METRICS:
        return METRICS[bare]
    if bare.startswith("bleu4_"):  # by a convention
        return METRICS["bleu4"]._replace(label=f"BLEU-4 as {bare.removeprefix('bleu4_')}")
    for stream in streams.specs():
        if stream.metric == bare:
            return Metric(bare.replace("_", " "), "%", "higher" if stream.accuracy else "lower")
    return Metric(key.replace("_", " "))


def title(key: str) -> str:
    """The label of a metric as a heading."""
    label = metric_of(key).label
    return label if label == "chrF" else label[:1].upper() + label[1:]


def stage_words(stage: str) -> tuple[str, str]:
    """The title of a stage and what it does, one sentence or nothing."""
    if stage in streams.names():
        stream = streams.get(stage)
        return stream.shown.reader or f"{stream.title} reader", stream.shown.does
    return _WORDS["stages"].get(stage, (stage.replace("_", " "), ""))


def stage_name(stage: str) -> str:
    """The title of a stage."""
    return stage_words(stage)[0]


def stream_title(stream: str) -> str:
    """What the report calls a stream, known or not."""
    return streams.get(stream).title if stream in streams.names() else stream


def variant_names() -> dict[str, str]:
    """What the charts call the variants, from the poorest input to the richest."""
    first, *others = streams.specs()
    pairs = {
        f"{first.name}+{other.short}": f"{first.title} + {other.title.lower()}" for other in others
    }
    return {first.name: f"{first.title} only", **pairs, **_WORDS["variants"]}


def variant_name(variant: str) -> str:
    """What the chart calls a variant."""
    return variant_names().get(variant, variant.replace("_", " "))


def shown_variants(variants: dict) -> list[str]:
    """The variants from the poorest input to the richest, unknown ones last."""
    known = variant_names()
    return [v for v in known if v in variants] + [v for v in variants if v not in known]


def figure(value, unit: str = "") -> str:
    """A number with one decimal where it has one (three digits below 1), "–" when absent."""
    value = number(value)
    if value is None:
        return "–"
    if unit == "%" or abs(value) >= 1 or value == 0:
        # "100" and "0" are exact: 99.97 stays 100.0.
        shown = str(int(value)) if value.is_integer() else f"{value:.1f}"
    else:
        shown = f"{value:.3g}"
    return f"{shown}\u00a0%" if unit == "%" else shown


def count(value: int | None) -> str:
    """A whole number in groups of three digits, "–" when absent."""
    return "–" if value is None else f"{value:,}"


def duration(seconds) -> str:
    """Seconds as a person would say them."""
    seconds = number(seconds)
    if seconds is None:
        return "time not recorded"
    if seconds < 59.95:
        return f"{figure(seconds)}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
