"""The example clips of the report: streams, fused tokens, translations word by word."""

from signbind_jax import streams
from signbind_jax.report import timeline
from signbind_jax.report.differences import (
    Piece,
    compare,
    holds_name,
    is_name,
    name_words,
    words_of,
)
from signbind_jax.report.run_files import Example
from signbind_jax.report.wording import shown_variants, stream_title, variant_name
from signbind_jax.streams import StreamSpec

MAX_EXAMPLES = 16
# Recorded mouth pictures are by far the largest part of the page; base64 characters in all.
MOUTH_BUDGET = 1_500_000
# How the template is told of words: each with the element that marks it, and whether of a name.
Words = list[tuple[str, str, bool]]
_MARKS = {"missing": "del", "extra": "ins"}


def shown(examples: list[Example]) -> list[dict]:
    """What clips.html draws of each example; the pictures of mouths end where the budget does."""
    budget, clips = MOUTH_BUDGET, []
    for example in examples[:MAX_EXAMPLES]:
        cost = sum(len(code) for _, code in example.mouths)
        clips.append(_clip(example, show_mouths=cost <= budget))
        budget -= cost if cost <= budget else 0
    return clips


def shown_streams(examples: list[Example]) -> list[StreamSpec]:
    """The streams shipped, and others that an example has."""
    return [
        stream
        for stream in streams.specs()
        if stream.name in streams.SHIPPED or any(stream.name in e.streams for e in examples)
    ]


def _clip(example: Example, show_mouths: bool) -> dict:
    return {
        "example": example,
        "without_mouths": not show_mouths,
        "timeline": timeline.of_example(example, show_mouths),
        "read": [
            (stream_title(name), _stream_words(example, name))
            for name in dict.fromkeys((*streams.SHIPPED, *example.streams))
        ],
        "sentences": _sentences(example),
    }


def _stream_words(example: Example, stream: str) -> Words:
    tokens = example.streams.get(stream)
    truth = timeline.truth_tokens(example, stream)
    if tokens is None:
        return _plain("This stream is not in this run.")
    read = [token.text for token in tokens]
    if timeline.spells(stream):
        read = [letter for letter in read if not letter.isspace()]
    if truth is None:
        told = " ".join(read) or "Nothing was read."
        return _plain(f"{told} (what was really there is unknown)")
    if read == truth:
        told = " ".join(read)
        return _plain(f"{told} — all correct" if read else "Nothing to read, nothing read.")
    return _marked(compare(truth, read, key=str.casefold), set())


def _sentences(example: Example) -> list[tuple[str, Words, list[tuple[str, bool]]]]:
    """Variant, its sentence, and whether it holds each of the names; the reference first."""
    names, reference = name_words(example.names), words_of(example.reference)
    same = marked_sentence(reference, example.reference, names)
    rows = [("Reference", same if reference else _plain("no reference"), [])]
    for variant in shown_variants(example.hypotheses):
        hypothesis = example.hypotheses[variant]
        words = marked_sentence(reference, hypothesis, names)
        written = [(name, holds_name(hypothesis, name)) for name in example.names]
        rows.append((variant_name(variant), words, written))
    if not example.hypotheses:
        rows.append(("no translations", _plain("This run has none for this clip."), []))
    return rows


def marked_sentence(reference: list[str], hypothesis: str, names: set[str]) -> Words:
    """The words of a sentence, marked where they differ from the reference's and where they are
    names (`differences.name_words`)."""
    if not hypothesis.strip():
        return [("nothing was written", "i", False)]
    if not reference:
        return _plain(hypothesis)
    return _marked(compare(reference, words_of(hypothesis)), names)


def _plain(text: str) -> Words:
    return [(text, "", False)]


def _marked(pieces: list[Piece], names: set[str]) -> Words:
    return [
        (word, _MARKS.get(piece.kind, "mark" if named else ""), named)
        for piece in pieces
        for word in piece.words
        for named in (is_name(word, names),)
    ]
