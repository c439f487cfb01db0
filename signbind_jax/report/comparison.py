"""Two systems as a page: their scores, and chosen clips with what both wrote, word by word."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.report import charts, timeline
from signbind_jax.report.clip_moments import duration_s, skeleton_moments
from signbind_jax.report.clips import marked_sentence
from signbind_jax.report.differences import name_words, words_of
from signbind_jax.report.render import write_page

if TYPE_CHECKING:
    from signbind_jax.evaluate.significance import Compared

CHANCE = 0.05  # the largest p of a difference that is called more than chance
KINDS = {
    "worst": "Both worst",
    "best": "Both best",
    "different": "Most different",
    "random": "Drawn at random",
}
_BINS = 21
_LOWER = ("WER", "PER")  # begin the names of scores of which less is better


class Pair(NamedTuple):
    """A clip with what two systems wrote.

    Attributes:
      i: its line.
      chrf: of each sentence by itself.
    """

    i: int
    reference: str
    written: tuple[str, ...]
    chrf: tuple[float, ...]

    @property
    def difference(self) -> float:
        """How much higher the first is."""
        return self.chrf[0] - self.chrf[1]

    @property
    def better(self) -> str:
        """Which of them is, as the page's filter calls it."""
        return "neither" if not self.difference else "first" if self.difference > 0 else "second"


def write_comparison_page(
    path: Path,
    names: Sequence[str],
    scores: Sequence["Compared"],
    pairs: Sequence[Pair],
    chosen: Mapping[str, Sequence[int]],
    clips: ClipDataset | None = None,
) -> None:
    """Writes the page; it needs nothing but a browser.

    Args:
      names: of the two systems.
      scores: of the first, tested against the second.
      pairs: every clip.
      chosen: which of `KINDS` -> places of the clips that are shown.
      clips: the clips themselves, in the order of `pairs`.
    """
    shown = sorted({i for places in chosen.values() for i in places})
    better = [pair.better for pair in pairs]
    tests = [row.test for row in scores if row.test]
    write_page(
        path,
        Path(__file__).with_name("comparison.html"),
        names=names,
        kinds=KINDS,
        counts={kind: len(places) for kind, places in chosen.items()},
        better={side: better.count(side) for side in ("first", "second", "neither")},
        shown_better=[pairs[i].better for i in shown],
        n=len(pairs),
        scores=[(row, _verdict(row, names)) for row in scores],
        headline=_headline(scores, names),
        test=tests[0].signature if tests else "",
        histogram=_histogram(pairs, names),
        shown=[_clip(pairs[i], chosen, clips) for i in shown],
    )


def _verdict(row: "Compared", names: Sequence[str]) -> str:
    if row.difference is None:
        return "nothing to compare"
    if row.test is None:
        return "not tested"
    if row.test.p_value > CHANCE or not row.difference:
        return "may be chance"
    first = (row.difference > 0) != row.score.name.startswith(_LOWER)
    return f"{names[0] if first else names[1]} is better"


def _headline(scores: Sequence["Compared"], names: Sequence[str]) -> list[tuple[str, str]]:
    """The score that each convention is known by."""
    chief = next((row for row in scores if row.score.name == "BLEU-4"), scores[0])
    sides = chief.score.value, chief.baseline.value
    return [
        ("–" if value is None else f"{value:.2f}", f"{chief.score.name} of {name}")
        for name, value in zip(names, sides, strict=True)
    ]


def _histogram(pairs: Sequence[Pair], names: Sequence[str]):
    apart = np.array([pair.difference for pair in pairs])
    most = max(float(np.abs(apart).max()), 1.0)
    counts, edges = np.histogram(apart, _BINS, (-most, most))
    title = f"chrF of {names[0]} less that of {names[1]}"
    median = float(np.median(apart))
    return charts.histogram(title, "points", edges.tolist(), counts.tolist(), 0, median)


def _clip(pair: Pair, chosen: Mapping[str, Sequence[int]], clips: ClipDataset | None) -> dict:
    clip = None if clips is None else clips[pair.i]
    names = name_words(clip.spelled if clip else ())
    reference = words_of(pair.reference)
    return {
        "pair": pair,
        "kinds": [kind for kind in KINDS if pair.i in chosen[kind]],
        "told": ", ".join(KINDS[kind].lower() for kind in KINDS if pair.i in chosen[kind]),
        "reference": marked_sentence(reference, pair.reference, names),
        "written": [marked_sentence(reference, text, names) for text in pair.written],
        "clip": clip,
        "seconds": duration_s(clip) if clip else 0,
        "timeline": _timeline(clip) if clip else None,
    }


def _timeline(clip: Clip) -> timeline.Timeline:
    poses = skeleton_moments(clip)
    return timeline.of_clip(clip, list(zip(poses["times"], poses["frames"], strict=True)), [])
