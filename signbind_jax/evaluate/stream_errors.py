"""How wrong the streams are that a stage behind the experts trains on, beside unseen ones."""

from typing import NamedTuple

import numpy as np

from signbind_jax import streams
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.stream_cache import ExpertTokens, SplitStreams
from signbind_jax.data.vocabulary import UNREAD
from signbind_jax.distributed import hosts
from signbind_jax.metrics.sequence import ErrorCounts, error_counts
from signbind_jax.stages.read_streams import ExpertReader, GivenReader, StreamReader, lengths_of

# How many times as wrong unseen streams may be before a user is warned. A choice: at an error of
# 20 % it allows 6 points, as much as splits of one corpus may differ in difficulty alone.
MOST_FACTOR = 1.3
# Clips of a split that are compared, evenly spread: aligning millions would hold up every start.
MOST_CLIPS = 2000
_UNSEEN = "; `signbind crossfit` makes training streams of experts that have not seen the clips"
_DERIVED = ("gloss", "phonemes")  # targets that come from the text where a corpus has no labels


class Transcripts(NamedTuple):
    """What an expert read beside what it should have read.

    Attributes:
      clips: int (n,), those that have what it reads.
      references, hypotheses: their tokens.
    """

    clips: np.ndarray
    references: list[list[str]]
    hypotheses: list[list[str]]


def transcripts(
    reader: ExpertReader | GivenReader, tokens: ExpertTokens, clips: ClipDataset, chosen=None
) -> Transcripts:
    """The tokens of a split as text.

    chosen: bool (clips,), those wanted; None: all.
    """
    present = lengths_of(reader, clips) > 0
    found = np.flatnonzero(present if chosen is None else present & chosen)
    target = streams.get(reader.name).target
    read = [reader.vocabulary.decode(tokens.ids[tokens.of(i)]) for i in found]
    return Transcripts(
        found,
        [list(clips.targets[i][target]) for i in found],
        [[token for token in row if token != UNREAD] for row in read],
    )


def spread(n: int, most: int = MOST_CLIPS) -> np.ndarray:
    """Bool (n,), True for at most so many, evenly spread."""
    chosen = np.zeros(n, bool)
    chosen[np.arange(min(n, most)) * n // max(min(n, most), 1)] = True
    return chosen


def errors_of(
    reader: ExpertReader | GivenReader, tokens: ExpertTokens, clips: ClipDataset, chosen=None
) -> ErrorCounts:
    """The errors of a split's stream against the targets of its clips; see `transcripts`.

    Every process has to call it, and all get the same.
    """

    def count() -> tuple[int, ...]:
        found = transcripts(reader, tokens, clips, chosen)
        counts = error_counts(found.references, found.hypotheses)
        return counts.s, counts.d, counts.i, counts.n

    return ErrorCounts(*hosts.broadcast("scoring", count))


def lines(reader: StreamReader, *splits: tuple[ClipDataset, SplitStreams]) -> list[str]:
    """One line a stream whose clips have targets: its error on each split, and a warning where that
    on the second is much larger than that on the first, which is trained on."""
    told = []
    for name, own in reader.readers.items():
        if streams.get(name).target not in splits[0][0].targets[0]:
            continue  # given with the clips, and nobody says what should have been read
        counts = [
            errors_of(own, read.experts[name], clips, spread(len(clips))) for clips, read in splits
        ]
        names = [clips.name for clips, _ in splits]
        rates = [f"{c.rate:.1f} % wrong on {n}" for c, n in zip(counts, names, strict=True) if c.n]
        if rates:
            told.append(f"stream {name}: {', '.join(rates)}, {target_told(name, splits[0][0])}")
        if len(rates) > 1 and trusted_too_much(*counts):
            told.append(
                f"warning: stream {name} is over {MOST_FACTOR} times as wrong on {names[1]} as on "
                f"{names[0]}: what trains on it learns to trust it more than it may; as many "
                f"tokens more are lost and replaced by {fitted_noise(name, *counts)}"
                f"{'' if name in reader.unseen else _UNSEEN}"
            )
    return told


def trusted_too_much(trained_on: ErrorCounts, unseen: ErrorCounts) -> bool:
    """Whether the error of unseen streams is over `MOST_FACTOR` times that of those trained on, by
    more than chance: two standard deviations of a count."""
    found = unseen.s + unseen.d + unseen.i
    allowed = MOST_FACTOR * trained_on.rate / 100 * unseen.n
    return found - allowed > 2 * found**0.5


def fitted_noise(name: str, trained_on: ErrorCounts, unseen: ErrorCounts) -> str:
    """Options of a stage behind the experts by which training streams lose and replace as many
    tokens more as unseen ones do; insertions have no counterpart there."""
    more = {
        "drop": unseen.d / unseen.n - trained_on.d / trained_on.n,
        "substitute": unseen.s / unseen.n - trained_on.s / trained_on.n,
    }
    return " ".join(f"--config.augment.{k}.{name}={max(x, 0.0):.3f}" for k, x in more.items())


def target_told(name: str, clips: ClipDataset) -> str:
    """What a stream is compared with, and whether that was derived from the text."""
    target = streams.get(name).target
    parts = getattr(clips, "parts", (clips,))
    derived = target in _DERIVED and not all(target in part.info.labelled for part in parts)
    return f"by {target} derived from the text" if derived else f"by the labels of {target}"
