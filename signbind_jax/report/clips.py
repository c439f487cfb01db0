"""One example clip of the report: picture, streams, fused tokens, translations word by word."""

from xml.etree.ElementTree import Element

from signbind_jax import streams
from signbind_jax.report import timeline
from signbind_jax.report.differences import compare, holds_name, is_name, name_words, words_of
from signbind_jax.report.markup import table, tag
from signbind_jax.report.run_files import Example
from signbind_jax.report.wording import figure, shown_variants, variant_name
from signbind_jax.streams import StreamSpec

MAX_EXAMPLES = 16
# Recorded mouth pictures are by far the largest part of the page; base64 characters in all.
MOUTH_BUDGET = 1_500_000


def section(examples: list[Example]) -> list[Element]:
    """All example clips, each an article, and a sentence for what was left out."""
    budget, articles, without_mouths = MOUTH_BUDGET, [], 0
    for i, example in enumerate(examples[:MAX_EXAMPLES]):
        cost = sum(len(code) for _, code in example.mouths)
        without_mouths += cost > budget
        articles.append(_article(f"clip{i + 1}", example, show_mouths=cost <= budget))
        budget -= cost if cost <= budget else 0
    notes = []
    if len(examples) > MAX_EXAMPLES:
        notes.append(f"{len(examples) - MAX_EXAMPLES} more examples stand in examples.json.")
    if without_mouths:
        notes.append(
            f"To keep this file small, {without_mouths} clips are shown without their "
            "recorded mouth pictures."
        )
    return [*articles, *(tag("p", note, class_="note") for note in notes)]


def shown_streams(examples: list[Example]) -> list[StreamSpec]:
    """The streams shipped, and others that an example has."""
    return [
        stream
        for stream in streams.specs()
        if stream.name in streams.SHIPPED or any(stream.name in e.streams for e in examples)
    ]


def legend(examples: list[Example]) -> Element:
    """What the colours and outlines of an example mean."""
    swatches = [
        tag("span", tag("i", class_=f"swatch {stream.name}"), stream.title)
        for stream in shown_streams(examples)
    ]
    return tag(
        "div",
        tag(
            "p",
            swatches,
            tag("span", tag("i", class_="swatch fade"), "bar: pale = unsure, full = sure"),
            tag("span", tag("i", class_="swatch wrong"), "dashed outline: misread"),
            tag("span", "␣ a pause between spelled words"),
        ),
        tag(
            "p",
            tag("span", tag("mark", "name", class_="name"), " a name, written correctly"),
            tag("span", tag("ins", "word"), " written, but not in the reference"),
            tag("span", tag("del", "word"), " in the reference, but not written"),
        ),
        class_="legend",
    )


def _article(key: str, example: Example, show_mouths: bool) -> Element:
    facts = [
        f"split: {example.split}" if example.split else None,
        f"signer: {example.signer}" if example.signer else None,
        f"{figure(example.duration)} s long" if example.duration else None,
    ]
    return tag(
        "article",
        tag("h3", example.id, tag("small", " · ".join(fact for fact in facts if fact))),
        tag("div", timeline.draw(key, example, show_mouths), class_="scroll"),
        tag("h4", "Read by the three readers, against what was really there"),
        tag(
            "dl",
            [_stream_line(example, stream) for stream in shown_streams([example])],
            _fused_line(example),
            class_="lines",
        ),
        tag("h4", "Translations"),
        _translations(example),
        class_="clip",
        id=key,
    )


def _stream_line(example: Example, stream: StreamSpec) -> list[Element]:
    tokens = example.streams.get(stream.name)
    truth = timeline.truth_tokens(example, stream.name)
    if tokens is None:
        content: list = ["This stream is not in this run."]
    else:
        read = [token.text for token in tokens]
        if stream.spells:
            read = [letter for letter in read if not letter.isspace()]
        if truth is None:
            content = [" ".join(read) or "Nothing was read.", " (what was really there is unknown)"]
        elif read == truth:
            content = [
                " ".join(read) + " — all correct" if read else "Nothing to read, nothing read."
            ]
        else:
            content = _marked(compare(truth, read, key=str.casefold), set())
    return [tag("dt", stream.title), tag("dd", content, dir="auto", class_="tokens")]


def _fused_line(example: Example) -> list[Element]:
    if example.fused is None:
        content: list = ["not in this run"]
    else:
        content = [[tag("span", token, class_="chip"), " "] for token in example.fused]
        content = content or ["nothing"]
    return [tag("dt", "Merged by fusion"), tag("dd", content, dir="auto", class_="tokens")]


def _translations(example: Example) -> Element:
    names = name_words(example.names)
    reference = words_of(example.reference)
    shown = [[_name_marked(word, names), " "] for word in reference] or ["no reference"]
    rows = [[tag("b", "Reference"), tag("span", shown, dir="auto", class_="sentence")]]
    if example.names:
        rows[0].append("")
    for variant in shown_variants(example.hypotheses):
        hypothesis = example.hypotheses[variant]
        if not hypothesis.strip():
            content: list = [tag("i", "nothing was written")]
        elif not reference:
            content = [hypothesis]
        else:
            content = _marked(compare(reference, words_of(hypothesis)), names)
        rows.append([variant_name(variant), tag("span", content, dir="auto", class_="sentence")])
        if example.names:
            rows[-1].append([_tally(hypothesis, name) for name in example.names])
    if not example.hypotheses:
        rows.append(["no translations", "This run has none for this clip."])
    return table(["Variant", "Sentence", *(["Names"] if example.names else [])], rows)


def _marked(pieces: list, names: set[str]) -> list:
    content: list = []
    for piece in pieces:
        for word in piece.words:
            if piece.kind == "same":
                content.append(_name_marked(word, names))
            else:
                css = "name" if is_name(word, names) else None
                content.append(tag("del" if piece.kind == "missing" else "ins", word, class_=css))
            content.append(" ")
    return content


def _name_marked(word: str, names: set[str]) -> Element | str:
    return tag("mark", word, class_="name") if is_name(word, names) else word


def _tally(hypothesis: str, name: str) -> Element:
    right = holds_name(hypothesis, name)
    told = "written" if right else "missed"
    return tag(
        "span", f"{'✓' if right else '✗'} {name} ", tag("small", told), class_=f"tally {told}"
    )
