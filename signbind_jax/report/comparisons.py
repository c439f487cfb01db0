"""What each stream, and knowing the time, brought: computed from the variants' scores."""

from collections.abc import Iterable
from dataclasses import dataclass

from signbind_jax import streams
from signbind_jax.report.run_files import number
from signbind_jax.report.wording import METRICS, TIME_METRICS, figure

# Below this many points two scores of one run are called alike.
SAME = 1.0


@dataclass(frozen=True)
class Comparison:
    """The same metric with a stream (or the times) off and on.

    Attributes:
      off, on: percent or points; both None where nothing can be compared.
      answer: what they say, with {off} and {on}.
      bleu: BLEU-4 off and on, where the metric is another.
      missing: what to say where they are None.
      change: what makes a difference or none.
      labels: of the two scores.
    """

    title: str
    question: str
    metric: str
    off: float | None = None
    on: float | None = None
    answer: str = ""
    bleu: tuple[float, float] | None = None
    missing: str = "This comparison was not measured in this run."
    change: str = "it"
    labels: tuple[str, str] = ("off", "on")


def comparisons(variants: dict) -> list[Comparison]:
    """The first stream alone, every other one, and the times, as far as they were measured."""
    return [
        _base(variants),
        *(
            _compare(
                variants,
                _off_and_on(variants, spec.name),
                title=spec.title,
                question=spec.shown.question,
                metric=spec.shown.metric,
                answer=spec.shown.answer,
            )
            for spec in streams.specs()
            if spec.shown.answer
        ),
        *_times(variants),
    ]


def _base(variants: dict) -> Comparison:
    first = streams.specs()[0]
    alone, full = (_score(variants, variant, "bleu4") for variant in (first.name, "all"))
    missing = f"The run has no score for {first.title.lower()} on its own."
    if alone is not None:
        missing = f"From the signs alone the system reaches BLEU-4 {figure(alone)}."
    known = alone is not None and full is not None
    return Comparison(
        first.title,
        "The signs carry most of the sentence. How far do they get alone?",
        "bleu4",
        alone if known else None,
        full if known else None,
        "From the signs alone the system reaches BLEU-4 {off}. All streams together reach {on}.",
        missing=missing,
        change="adding the others",
        labels=(f"BLEU-4, {first.title.lower()} alone", "BLEU-4, all streams"),
    )


def _times(variants: dict) -> list[Comparison]:
    if variants.get("all_without_time"):
        return [
            _compare(
                variants,
                [("all_without_time", "all")],
                title=f"Time: {METRICS[key].label}",
                question=METRICS[key].says,
                metric=key,
                answer="With the times of the tokens hidden, {off} of these sentences come out "
                "right; with the times known, {on}.",
                labels=("times hidden", "times known"),
            )
            for key in TIME_METRICS
        ]
    right = [
        f"“{METRICS[key].label}” {figure(score, '%')}"
        for key in TIME_METRICS
        if (score := _score(variants, "all", key)) is not None
    ]
    known = f"With the times known, it gets right: {', '.join(right)}. " if right else ""
    return [
        Comparison(
            "Time",
            "When something happened can decide what it means. Does the system use it?",
            TIME_METRICS[0],
            missing=f"{known}How the system does without the times was not measured in this run.",
        )
    ]


def _compare(variants: dict, pairs: Iterable[tuple[str, str]], **words) -> Comparison:
    """The first pair of variants of which both were measured."""
    for without, having in pairs:
        off, on = (_score(variants, variant, words["metric"]) for variant in (without, having))
        if off is not None and on is not None:
            bleu = tuple(_score(variants, variant, "bleu4") for variant in (without, having))
            return Comparison(**words, off=off, on=on, bleu=None if None in bleu else bleu)
    return Comparison(**words)


def _off_and_on(variants: dict, stream: str) -> list[tuple[str, str]]:
    """Pairs of variants that differ in one stream: those with most of the others first."""
    first = streams.SHIPPED[0]
    seen = streams.variants(
        spec.name
        for spec in streams.specs()
        if spec.name in streams.SHIPPED or f"{first}+{spec.short}" in variants
    )
    pairs = [
        (off, on)
        for on in seen
        for off in seen
        if seen[on] - seen[off] == {stream} and seen[off] < seen[on]
    ]
    return sorted(pairs, key=lambda pair: -len(seen[pair[1]]))


def _score(variants: dict, variant: str, metric: str) -> float | None:
    return number(variants.get(variant, {}).get(metric))
