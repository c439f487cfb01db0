"""Which words of a sentence are spelled in its clip, by the letters that an expert read there.

The letters of a clip fall into runs. Each is compared with the words of its sentence, by edit
distance, and the nearest one with what other sentences hold: how likely is one as near by chance?
Kept are the runs of which that is too unlikely, at a false discovery rate (Benjamini & Hochberg,
1995).
"""

import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from signbind_jax.data import labels
from signbind_jax.data.clip import TimedToken, exact
from signbind_jax.data.spellings import LEAST_LETTERS, MOST_GAP
from signbind_jax.data.vocabulary import LETTERS
from signbind_jax.ranges import Checked, Count, Range, Rate, Share

SPACE = LETTERS[0]
_LONGEST = 32  # letters of a word or run that are compared; what is longer is no word
_CHANCE = 20_000  # candidates of other sentences that tell what is chance


@dataclass(frozen=True)
class DiscoveryConfig(Checked):
    """When a run of letters counts as a word of the sentence.

    Attributes:
      gap: times the usual time from letter to letter (`spacing_s`) after which another run begins.
      min_letters: shorter runs and words are not looked at.
      min_confidence: of a run, the mean of its letters.
      max_distance: edits between run and word for each letter of the longer one.
      false_discovery: share of the words kept that may be chance.
    """

    gap: Annotated[float, Range(above=1, most=100)] = MOST_GAP
    min_letters: Count = LEAST_LETTERS
    min_confidence: Share = 0.0
    max_distance: Rate = 0.6
    false_discovery: Rate = 0.1


class Run(NamedTuple):
    """Letters spelled in one go.

    Attributes:
      clip: its number.
      letters: what was read.
      start, end: seconds.
      confidence: the mean of the letters.
    """

    clip: int
    letters: str
    start: float
    end: float
    confidence: float


class Match(NamedTuple):
    """The word nearest to a run.

    Attributes:
      words: one, or two that stand side by side in the sentence.
      place: of the first of them among the sentence's words.
      distance: edits for each letter of the longer of run and word.
      chance: how many words as near a sentence of this length holds by chance.
    """

    run: Run
    words: tuple[str, ...]
    place: int
    distance: float
    chance: float


class Candidate(NamedTuple):
    """What of a sentence may be spelled in one go; see `Match`."""

    words: tuple[str, ...]
    place: int
    letters: str


def spacing_s(streams: Iterable[Sequence[TimedToken]]) -> float:
    """The median time in seconds from the middle of a letter to that of the next; 0 without any.

    Pauses of over a second lie between words.
    """
    found = [
        b - a
        for stream in streams
        for a, b in itertools.pairwise((token.start + token.end) / 2 for token in stream)
        if b - a < 1
    ]
    return float(np.median(found)) if found else 0.0


def runs_of(
    clip: int, stream: Sequence[TimedToken], gap_s: float, config: DiscoveryConfig
) -> Iterator[Run]:
    """The runs of letters of a clip, divided by pauses of over `gap_s` seconds, that are long and
    sure enough."""
    own: list[TimedToken] = []
    before = None
    for token in (*stream, None):
        middle = (token.start + token.end) / 2 if token else None
        parted = token is None or token.token == SPACE or (own and middle - before > gap_s)
        if parted and own:
            letters = "".join(t.token for t in own)
            confidence = sum(t.confidence for t in own) / len(own)
            long = config.min_letters <= len(letters) <= _LONGEST
            if long and confidence >= config.min_confidence:
                yield Run(clip, letters, own[0].start, max(t.end for t in own), exact(confidence))
            own = []
        if token and token.token != SPACE:
            own.append(token)
        before = middle


def words_of(text: str) -> list[str]:
    """The words of a sentence in lower case; "Anna's" is "anna"."""
    words = labels.words_of(text.translate(labels.APOSTROPHES))
    return [word.casefold().removesuffix("'s") for word in words]


def candidates_of(text: str, config: DiscoveryConfig) -> list[Candidate]:
    """The words of a sentence, and each two side by side, as letters."""
    words = words_of(text)
    spelled = ["".join(labels.letters((word,))) for word in words]
    found = [
        Candidate(tuple(words[i : i + n]), i, "".join(spelled[i : i + n]))
        for n in (1, 2)
        for i in range(len(words) + 1 - n)
        if all(spelled[i : i + n])
    ]
    return [c for c in found if config.min_letters <= len(c.letters) <= _LONGEST]


class Chance:
    """How near words of other sentences lie to a run.

    sentences: the candidates of every clip.
    """

    def __init__(self, sentences: Sequence[Sequence[Candidate]]):
        total = sum(map(len, sentences))
        every = max(1, -(-total // _CHANCE))
        self._sampled = range(0, len(sentences), every)
        counts = collections.Counter(c.letters for i in self._sampled for c in sentences[i])
        self._sentences = sentences
        self._counts = np.array(list(counts.values()), np.int64)
        self._n = int(self._counts.sum())
        self._letters = _Letters(list(counts))

    def of(self, run: Run, distance: float) -> float:
        """How many candidates as near as `distance` the sentence of a run holds by chance.

        That is their share among the candidates of other sentences, of which one more is thought,
        as none of few tells little, times the candidates of its own.
        """
        own = [c.letters for c in self._sentences[run.clip]]
        near = int(self._counts @ (self._letters.distances(run.letters, distance) <= distance))
        n = self._n
        if run.clip in self._sampled:
            near -= int((_Letters(own).distances(run.letters, distance) <= distance).sum())
            n -= len(own)
        return len(own) * (near + 1) / (n + 1)


class _Letters:
    """Words as numbers, to compare a run with all of them at once."""

    def __init__(self, words: Sequence[str]):
        self._n_v = np.array([len(word) for word in words], np.int64)
        self._ids_vl = np.zeros((len(words), max(self._n_v, default=0)), np.int16)
        for row, word in zip(self._ids_vl, words, strict=True):
            row[: len(word)] = [ord(char) for char in word]

    def distances(self, run: str, most: float = 1.0) -> np.ndarray:
        """Edits between a run and each word (Levenshtein, 1966) by letter of the longer, (v,).

        Words so much longer or shorter that it is more than `most` are not looked at: 1.
        """
        n, n_v = len(run), self._n_v
        longer_v = np.maximum(n_v, n)
        chosen = np.flatnonzero(np.abs(n_v - n) <= most * longer_v)
        distance_v = np.ones(len(n_v))
        if not chosen.size:
            return distance_v
        ids_vl = self._ids_vl[chosen, : n_v[chosen].max()]
        slope_l = np.arange(ids_vl.shape[1] + 1, dtype=np.int16)
        row_vl = np.repeat(slope_l[None], len(chosen), 0)
        for char in run:
            best_vl = row_vl + np.int16(1)
            replaced_vl = row_vl[:, :-1] + (ids_vl != ord(char))
            best_vl[:, 1:] = np.minimum(best_vl[:, 1:], replaced_vl)
            # Letters that the run lacks: along a row the minimum with that slope taken out.
            row_vl = np.minimum.accumulate(best_vl - slope_l, axis=1) + slope_l
        edits_v = row_vl[np.arange(len(chosen)), n_v[chosen]]
        distance_v[chosen] = edits_v / longer_v[chosen]
        return distance_v


def matches_of(
    runs: Iterable[Run], sentences: Sequence[Sequence[Candidate]], config: DiscoveryConfig
) -> Iterator[Match | None]:
    """Of each run the nearest word of its sentence; None where there is none, or two as near."""
    chance = Chance(sentences)
    for run in runs:
        own = sentences[run.clip]
        if not own:
            yield None
            continue
        distances = _Letters([c.letters for c in own]).distances(run.letters)
        nearest = [c for c, x in zip(own, distances, strict=True) if x == distances.min()]
        if len({c.words for c in nearest}) != 1:
            yield None
            continue
        distance = float(distances.min())
        words, place, _ = nearest[0]
        near = distance <= config.max_distance
        likely = chance.of(run, distance) if near else float(len(own))
        yield Match(run, words, place, distance, likely)


def accepted(matches: Sequence[Match | None], config: DiscoveryConfig) -> list[Match]:
    """The matches that are near enough and too unlikely to be chance, in order of clip and time.

    Each word of a sentence is taken once, by the run least likely to be chance. The likelihoods of
    all runs decide how many stay: as many as there may be at the share of false ones allowed, which
    is n likelihoods below n / runs of that share (Benjamini & Hochberg, 1995).
    """
    best = sorted((m for m in matches if m), key=lambda m: m.chance)
    below = [
        i for i, m in enumerate(best, 1) if m.chance <= config.false_discovery * i / len(matches)
    ]
    taken: set[tuple[int, int]] = set()
    kept = []
    for match in best[: max(below, default=0)]:
        places = {(match.run.clip, match.place + i) for i in range(len(match.words))}
        if match.distance <= config.max_distance and not places & taken:
            taken |= places
            kept.append(match)
    return sorted(kept, key=lambda m: (m.run.clip, m.run.start))


def timed_words(match: Match) -> list[TimedToken]:
    """The words of a match; two share the time of the run by their letters."""
    run = match.run
    sizes = np.cumsum([0, *(len(labels.letters((word,))) for word in match.words)])
    edges = [exact(run.start + (run.end - run.start) * n / sizes[-1]) for n in sizes]
    return [
        TimedToken(word, *edges[i : i + 2], run.confidence) for i, word in enumerate(match.words)
    ]
