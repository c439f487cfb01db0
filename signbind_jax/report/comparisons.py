"""What each stream, and knowing the time, brought: computed from the variants' scores."""

from collections.abc import Iterable
from typing import NamedTuple

from signbind_jax import streams
from signbind_jax.report.run_files import number
from signbind_jax.report.wording import METRICS, TIME_METRICS, figure

# Below this many points two scores of one run are called alike.
SAME = 1.0


class Comparison(NamedTuple):
    """The same metric with a stream (or the times) off and on, in percent or points.

    Attributes:
      answer: what the scores say, with {off} and {on}; `missing` where there are none.
      change: what makes a difference.
      bleu: BLEU-4 off and on, where the metric is another.
    """

    title: str
    question: str
    metric: str
    answer: str = ""
    missing: str = "This comparison was not measured in this run."
    change: str = "it"
    labels: tuple[str, str] = ("off", "on")
    off: float | None = None
    on: float | None = None
    bleu: tuple[float, float] | None = None

    def between(self, variants: dict, pairs: Iterable[tuple[str, str]]) -> "Comparison":
        """With the scores of the first pair of variants of which both were measured."""
        for pair in pairs:
            off, on = (_score(variants, variant, self.metric) for variant in pair)
            if off is not None and on is not None:
                bleu = tuple(_score(variants, variant, "bleu4") for variant in pair)
                others = self.metric != "bleu4" and None not in bleu
                return self._replace(off=off, on=on, bleu=bleu if others else None)
        return self


def comparisons(variants: dict) -> list[Comparison]:
    """The first stream alone, every other one, and the times, as far as they were measured."""
    compared = (
        Comparison(spec.title, spec.shown.question, spec.shown.metric, spec.shown.answer).between(
            variants, _off_and_on(variants, spec.name)
        )
        for spec in streams.specs()
        if spec.shown.answer
    )
    return [_base(variants), *compared, *_times(variants)]


def _base(variants: dict) -> Comparison:
    first = streams.specs()[0]
    alone = _score(variants, first.name, "bleu4")
    reached = f"From the signs alone the system reaches BLEU-4 {figure(alone)}."
    absent = f"The run has no score for {first.title.lower()} on its own."
    return Comparison(
        first.title,
        "The signs carry most of the sentence. How far do they get alone?",
        "bleu4",
        "From the signs alone the system reaches BLEU-4 {off}. All streams together reach {on}.",
        absent if alone is None else reached,
        "adding the others",
        (f"BLEU-4, {first.title.lower()} alone", "BLEU-4, all streams"),
    ).between(variants, [(first.name, "all")])


def _times(variants: dict) -> list[Comparison]:
    if not variants.get("all_without_time"):
        scores = {METRICS[key].label: _score(variants, "all", key) for key in TIME_METRICS}
        right = [f"“{label}” {figure(s, '%')}" for label, s in scores.items() if s is not None]
        known = f"With the times known, it gets right: {', '.join(right)}. " if right else ""
        question = "When something happened can decide what it means. Does the system use it?"
        missing = f"{known}How the system does without the times was not measured in this run."
        return [Comparison("Time", question, TIME_METRICS[0], missing=missing)]
    answer = (
        "With the times of the tokens hidden, {off} of these sentences come out right; with the "
        "times known, {on}."
    )
    labels = ("times hidden", "times known")
    return [
        Comparison(
            f"Time: {METRICS[key].label}", METRICS[key].says, key, answer, labels=labels
        ).between(variants, [("all_without_time", "all")])
        for key in TIME_METRICS
    ]


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
