"""Plain-language names and sentences, each made from the numbers of the run."""

from dataclasses import dataclass

from signbind_jax import streams
from signbind_jax.report.run_files import number

# Below this many points two scores of one run are called alike.
SAME = 1.0


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: `better` is "higher" or "lower"; `says` may hold {value}."""

    label: str
    unit: str
    better: str
    says: str


METRICS = {
    "loss": Metric(
        "loss",
        "nats",
        "lower",
        "What training drives down; the level alone says "
        "little, its fall says that the stage learned.",
    ),
    "gloss_wer": Metric(
        "gloss error rate (WER)",
        "%",
        "lower",
        "For every 100 signs there are {value} mistakes: signs misread, missed or made up.",
    ),
    "letter_accuracy": Metric(
        "letter accuracy",
        "%",
        "higher",
        "Of 100 spelled letters {value} are right, with every made-up letter taken off.",
    ),
    "letter_accuracy_htk": Metric(
        "letter accuracy, HTK costs",
        "%",
        "higher",
        "The same, with the letters matched by the rule of an older toolkit that other papers use.",
    ),
    "phoneme_error_rate": Metric(
        "phoneme error rate",
        "%",
        "lower",
        "For every 100 speech sounds on the lips there are {value} mistakes.",
    ),
    "token_error_rate": Metric(
        "token error rate",
        "%",
        "lower",
        "For every 100 signs and letters in the merged stream there are {value} mistakes.",
    ),
    "copy_accuracy": Metric(
        "copy accuracy",
        "%",
        "higher",
        "Of 100 names it was shown, {value} are copied without a mistake.",
    ),
    "perplexity": Metric(
        "perplexity",
        "",
        "lower",
        "How many words seem equally likely at each step: {value}. 1 would be certainty.",
    ),
    "bleu4": Metric(
        "BLEU-4",
        "0–100",
        "higher",
        "How far the wording agrees with the reference, "
        "in runs of up to four words: 0 nothing, 100 the very same.",
    ),
    "chrf": Metric(
        "chrF",
        "0–100",
        "higher",
        "The same question asked of letters instead of words; kinder to small slips.",
    ),
    "name_recall": Metric(
        "names written",
        "%",
        "higher",
        "The share of the spelled names that stand in the translation without a mistake.",
    ),
    "name_recall_read": Metric(
        "names, letters read right",
        "%",
        "higher",
        "The same share, over "
        "the clips in which every letter was read right: what is lost here "
        "is lost in writing.",
    ),
    "oracle_text_bleu4": Metric(
        "BLEU-4 from perfect readers",
        "0–100",
        "higher",
        "How it writes when it is handed what was really signed, spelled and mouthed.",
    ),
    "homonym_accuracy": Metric(
        "look-alike signs",
        "%",
        "higher",
        "Signs that look the same on "
        "the hands: how often the right one of the meanings is written. "
        "With two meanings, guessing gives 50 %.",
    ),
    "role": Metric(
        "who did what",
        "%",
        "higher",
        "Same signs, same name; only the moment at "
        "which the name is spelled says who did it. Guessing gives about 50 %.",
    ),
    "lonely_twin": Metric(
        "same sign twice",
        "%",
        "higher",
        "The same hand sign comes twice with two meanings, and only one of them is mouthed.",
    ),
    "adjacent_names": Metric(
        "two names in a row",
        "%",
        "higher",
        "Two names are spelled back to back; only a longer pause shows where the second begins.",
    ),
}
TIME_METRICS = ("role", "lonely_twin", "adjacent_names")
WATCHED = ("learning_rate", "gradient_norm", "update_norm")  # drawn, but behind a click
HEADLINE_METRICS = ("bleu4", "name_recall", "homonym_accuracy", *TIME_METRICS)
TRANSLATION_METRICS = (
    "bleu4",
    "chrf",
    "name_recall",
    "name_recall_read",
    "homonym_accuracy",
    *TIME_METRICS,
)
# What stages count beside their scores.
COUNTS = {
    "n": "clips",
    "absent": "clips without this stream",
    "reference_tokens": "tokens to read",
    "substitutions": "misread",
    "deletions": "missed",
    "insertions": "made up",
    "overflow": "lost for lack of room",
}

STAGES = {
    "language_model": (
        "Language model",
        "Learns to write sentences and to copy names, before it is connected to any signing.",
    ),
    "fusion": (
        "Fusion",
        "Merges the streams into one, using the moment at which each token happened.",
    ),
    "alignment": (
        "Alignment",
        "Trains the link between the merged stream and the language model, "
        "which itself stays as it is.",
    ),
    "translation": (
        "Translation",
        "Trains link and language model together to write the sentence.",
    ),
}
OTHER_VARIANTS = {
    "all": "All streams",
    "all_without_time": "All, times hidden",
    "all_without_hidden": "Tokens and times only",
    "oracle_text": "Perfect readers",
}
VARIANT_NOTES = (
    "“Times hidden”: the system gets the tokens of the same streams, but not the moments at "
    "which they happened, nor the readers' inner states, which tell of time as well. “Tokens and "
    "times only”: without the inner states, but with the moments. “Perfect readers”: the "
    "language model is handed what was really signed, spelled and mouthed; it marks what could "
    "be reached if no reader made a mistake. “Who did what”, “same sign twice” and “two names in "
    "a row” each have their own test sentences; a translation is right when it is nearer to the "
    "true sentence than to the wrong one."
)


def metric_of(key: str) -> Metric:
    """How to show the metric `key`; an unknown one is shown under its own name."""
    bare = key.rsplit("/", 1)[-1]
    for prefix in ("validation_", "test_", "train_"):
        bare = bare.removeprefix(prefix)
    if bare in METRICS:
        return METRICS[bare]
    for stream in streams.specs():
        if stream.metric == bare:
            better = "higher" if stream.accuracy else "lower"
            return Metric(bare.replace("_", " "), "%", better, "")
    return Metric(key.replace("_", " "), "", "", "")


def title(key: str) -> str:
    """The label of a metric as a heading."""
    label = metric_of(key).label
    return label if label == "chrF" else label[:1].upper() + label[1:]


def stage_name(stage: str) -> str:
    """The title of a stage."""
    return stage_words(stage)[0]


def stage_words(stage: str) -> tuple[str, str]:
    """The title of a stage and what it does, one sentence or nothing."""
    if stage in streams.names():
        stream = streams.get(stage)
        return stream.shown.reader or f"{stream.title} reader", stream.shown.does
    return STAGES.get(stage, (stage.replace("_", " "), ""))


def stream_title(stream: str) -> str:
    """What the report calls a stream, known or not."""
    return streams.get(stream).title if stream in streams.names() else stream


def variant_names() -> dict[str, str]:
    """What the charts call the variants, from the poorest input to the richest."""
    first, *others = streams.specs()
    pairs = {
        f"{first.name}+{other.short}": f"{first.title} + {other.title.lower()}" for other in others
    }
    return {first.name: f"{first.title} only", **pairs, **OTHER_VARIANTS}


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


def headline(run) -> list[str]:
    """The first paragraph: what was trained on what, and how good it is."""
    corpus, scores = run.corpus, run.variants.get("all", {})
    name = corpus.get("name")
    sentences = [
        f"The system was trained on the corpus “{name}”."
        if name
        else "The run does not say which corpus it was trained on."
    ]
    bleu, names = number(scores.get("bleu4")), number(scores.get("name_recall"))
    if bleu is None:
        sentences.append("There is no translation score of the complete system in this run.")
    else:
        test = _size(corpus, "test")
        on = f" on {test} test clips" if test else ""
        sentences.append(
            f"With all streams its translations reach BLEU-4 {figure(bleu)} of 100{on}."
        )
    if names is not None:
        sentences.append(f"It writes {figure(names, '%')} of the spelled names without a mistake.")
    return sentences


def synthetic_notice(corpus: dict) -> str | None:
    """A plain warning where the corpus was made by a program; None for recorded people."""
    if corpus.get("synthetic") is True:
        return (
            "This corpus is synthetic: a program drew the signing; no person was recorded. The "
            "scores show that the parts work together and what each of them is worth. They say "
            "nothing about real sign language and must not be set beside published results."
        )
    if corpus.get("synthetic") is None:
        return "The run does not say whether its corpus is recorded or synthetic."
    return None


@dataclass(frozen=True)
class Contribution:
    """One comparison: the same metric with a stream (or the times) off and on, in percent."""

    title: str
    question: str
    metric: str
    off: float | None
    on: float | None
    sentences: list[str]
    labels: tuple[str, str] = ("off", "on")


def contributions(run) -> list[Contribution]:
    """What each stream, and knowing the time, brought: computed from the variants' scores."""
    variants = run.variants
    return [
        _base(variants),
        *(
            _compare(
                variants,
                s.title,
                s.shown.question,
                s.shown.metric,
                _off_and_on(variants, s.name),
                s.shown.answer,
            )
            for s in streams.specs()
            if s.shown.answer
        ),
        *_times(variants),
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


def ceiling(variants: dict) -> str | None:
    """How much is lost by reading mistakes, None where it was not measured."""
    best, reached = (number(variants.get(name, {}).get("bleu4")) for name in ("oracle_text", "all"))
    if best is None or reached is None:
        return None
    if best - reached < SAME:
        return (
            f"Handed a perfect reading of the streams, the language model scores BLEU-4 "
            f"{figure(best)}, no better than the complete system ({figure(reached)}): reading "
            "mistakes are not what holds this run back."
        )
    return (
        f"Handed a perfect reading of the streams, the language model scores BLEU-4 "
        f"{figure(best)}. The complete system reaches {figure(reached)}; the "
        f"{figure(best - reached)} points between them are lost in reading and merging."
    )


def verdict(off: float, on: float) -> str:
    """What a difference means, in one sentence; more is better."""
    gain = on - off
    if abs(gain) < SAME:
        return "In this run it makes no clear difference."
    points = f"{figure(abs(gain))} points"
    return (
        f"That is a gain of {points}."
        if gain > 0
        else (f"That is a loss of {points}: in this run it does harm here.")
    )


def _base(variants: dict) -> Contribution:
    first = streams.specs()[0]
    scores = variants.get(first.name, {})
    bleu, full = number(scores.get("bleu4")), number(variants.get("all", {}).get("bleu4"))
    sentences = []
    if bleu is None:
        sentences.append(f"The run has no score for {first.title.lower()} on its own.")
    else:
        sentences.append(f"From the signs alone the system reaches BLEU-4 {figure(bleu)}.")
        if full is not None:
            sentences.append(f"All streams together reach {figure(full)}.")
            sentences.append(verdict(bleu, full).replace("it makes", "adding the others makes"))
    question = "The signs carry most of the sentence. How far do they get alone?"
    labels = (f"BLEU-4, {first.title.lower()} alone", "BLEU-4, all streams")
    return Contribution(first.title, question, "bleu4", bleu, full, sentences, labels)


def _compare(
    variants, heading, question, key, pairs, sentence, labels=("off", "on")
) -> Contribution:
    def score(variant, metric):
        return number(variants.get(variant, {}).get(metric))

    for without, having in pairs:
        off, on = score(without, key), score(having, key)
        if off is None or on is None:
            continue
        sentences = [sentence.format(off=figure(off, "%"), on=figure(on, "%")), verdict(off, on)]
        bleu_off, bleu_on = score(without, "bleu4"), score(having, "bleu4")
        if bleu_off is not None and bleu_on is not None:
            sentences.append(f"BLEU-4 over all sentences: {figure(bleu_off)} → {figure(bleu_on)}.")
        return Contribution(heading, question, key, off, on, sentences, labels)
    missing = "This comparison was not measured in this run."
    return Contribution(heading, question, key, None, None, [missing])


def _times(variants: dict) -> list[Contribution]:
    known = {key: number(variants.get("all", {}).get(key)) for key in TIME_METRICS}
    if not variants.get("all_without_time"):
        right = [
            f"“{METRICS[key].label}” {figure(value, '%')}"
            for key, value in known.items()
            if value is not None
        ]
        sentences = ["How the system does without the times was not measured in this run."]
        if right:
            sentences.insert(0, f"With the times known, it gets right: {', '.join(right)}.")
        question = "When something happened can decide what it means. Does the system use it?"
        return [Contribution("Time", question, TIME_METRICS[0], None, None, sentences)]
    return [
        _compare(
            variants,
            "Time: " + METRICS[key].label,
            METRICS[key].says,
            key,
            [("all_without_time", "all")],
            "With the times of the tokens hidden, {off} of these sentences come out right; with "
            "the times known, {on}.",
            ("times hidden", "times known"),
        )
        for key in TIME_METRICS
    ]


def _size(corpus: dict, split: str) -> int | None:
    splits = corpus.get("splits")
    size = number(splits.get(split)) if isinstance(splits, dict) else None
    return None if size is None else int(size)
