"""Checks of the streams that came with the clips: rates, silences, empty ones, unknown tokens."""

from collections import Counter
from collections.abc import Iterator

from signbind_jax import streams
from signbind_jax.data_pipelines.audit.finding import (
    NOTE,
    Finding,
    Limits,
    of_clips,
    of_total,
    percent,
)
from signbind_jax.data_pipelines.audit.sentences import unseen_tokens
from signbind_jax.data_pipelines.audit.streams import LEAST_DRIFT_S, Measured
from signbind_jax.data_pipelines.audit.survey import Survey

EMPTY = Limits("a recogniser that read nothing, or was never run, looks alike", warning=0.05)
LONGEST_SILENCE_S = 5.0
SILENT = Limits(
    "people sign in shorter pauses: the recogniser lost them, or times are in another unit",
    warning=0.05,
)
PAST_END = Limits("the stream was read from another version of the video", warning=0.01)
MEASURED = (
    Measured(
        "silences",
        "silence",
        lambda seconds: seconds > LONGEST_SILENCE_S,
        SILENT,
        "have a long silence in a stream",
        "look at these streams; check fps or seconds of their lines",
        "no clip came with a stream that has tokens",
        f"at most {LONGEST_SILENCE_S:g} s without a token",
    ),
    Measured(
        "tokens_past_end",
        "past_end",
        lambda seconds: seconds > LEAST_DRIFT_S,
        PAST_END,
        "have tokens past the end of their pose or mouth crops",
        "take poses and streams from the same span of the video",
        "no clip came with tokens beside a pose or mouth crops",
        f"at most {LEAST_DRIFT_S:g} s past it",
    ),
)


def stream_findings(survey: Survey) -> Iterator[Finding]:
    """What there is to know of each stream, then what is wrong with some clips of them."""
    names = survey.info.description.get("streams", ())
    if not names:
        return
    for name in names:
        yield _rates(survey, name)
    splits = {
        split: (found.facts["empty"] > 0, found.facts["given"] > 0)
        for split, found in survey.splits.items()
    }
    yield of_clips(
        "empty_streams",
        splits,
        EMPTY,
        "came with a stream in which nothing was read",
        "run the recogniser again on these clips, or leave out what it never saw",
        "no clip came with streams",
    )
    yield from (check(survey) for check in MEASURED)
    yield from (unseen_tokens(survey, streams.given_vocabulary(name)) for name in names)


def _rates(survey: Survey, name: str) -> Finding:
    """How much of a stream there is."""
    tallies = [split.tally for split in survey.splits.values()]
    counts = sum((tally.streams for tally in tallies), start=Counter())
    kind = streams.given_vocabulary(name)
    tokens = sum((tally.tokens.get(kind, Counter()) for tally in tallies), start=Counter())
    seconds = counts[name, "seconds"]
    found = (
        f"{of_total(counts[name, 'clips'], survey.n_clips)} came with it: {tokens.total():,} "
        f"tokens of {len(tokens):,} kinds, {tokens.total() / max(seconds, 1e-9):.2f} a second, "
        f"in {percent(counts[name, 'covered'] / max(seconds, 1e-9))} of the time"
    )
    return Finding(kind, NOTE, found)
