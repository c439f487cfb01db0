"""What a segmenter finds where sentences follow one another without a pause, beside pauses alone.

python -m benchmarks.segmenter --checkpoint=RUN --data=DATASET [--split=test] [--recordings=10]

- joined: the clips of the split, joined as in training (`signbind_jax/data/joined_clips.py`), true
  joints and false ones. That false joints are taken for boundaries as seldom as other moments is
  what shows that the joints were not learnt in place of sentences.
- continuous: recordings of the synthetic corpus's hard preset in which one of the signers of its
  test split signs eight sentences in one go: drawn anew, each sign going over into the next as
  within a sentence, nothing joined. A sentence ends where its last sign does. Faces are left
  neutral, as one recording has one face here.

Scored are the boundaries inside a recording, found ones within 0.5 s of a true one, each true one
once. `pauses`: those where `signbind translate --segment` cuts without a segmenter, its ends and
starts of sentences that lie inside; `segmenter`: with one, longest sentence 20 s. `guessed`: a
boundary every so many seconds, as far apart as the true ones are on average. All of it is
synthetic.

The last line is all of it as JSON.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from benchmarks.harness import make_parser
from signbind_jax.data.dataset import ClipDataset, open_dataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data_pipelines.synthetic.grammar import Sentence
from signbind_jax.data_pipelines.synthetic.hard import corpus as hard
from signbind_jax.data_pipelines.synthetic.render import FPS, render
from signbind_jax.data_pipelines.synthetic.timeline import Timeline, schedule
from signbind_jax.evaluate.evaluators import open_evaluator
from signbind_jax.metrics.boundaries import BoundaryCounts, matches
from signbind_jax.stages.segmentation import FRONTEND, NO_TARGET, SCORED_KEY, joined_rows
from signbind_jax.use.boundaries import BoundaryReader, open_segmenter
from signbind_jax.use.segments import activity, cut
from signbind_jax.use.translator import LONGEST_S

SENTENCES = 8
SEED = 1  # of the sentences, not of the language: other ones than those of the dataset
_LEAD_S = 0.4  # before the first and behind the last sign

# Pose (t, 91, 3), frames a second, seconds at which one sentence ends and the next begins.
Recording = tuple[np.ndarray, float, list[float]]


def continuous(number: int) -> Recording:
    """A recording f16 (t, 91, 3) of several sentences, and where one goes over into the next."""
    rng = np.random.default_rng([SEED, number])
    who = hard.signer(0, "test", number % hard.PARTS["test"].n_signers)
    line, words, ends = Timeline(), [], []
    for i in range(SENTENCES):
        drawn = hard.sentence(SEED, "test", number * SENTENCES + i)
        own = schedule(drawn, who, rng)
        own.shift(line.duration - _LEAD_S)
        for event in (*own.signs, *own.mouthings):
            event.place += len(words)
        for event in own.spellings:
            event.places = tuple(place + len(words) for place in event.places)
        for kind in ("signs", "spellings", "mouthings"):
            getattr(line, kind).extend(getattr(own, kind))
        words += drawn.words
        line.duration += own.duration - 2 * _LEAD_S
        ends.append(line.duration)
    line.shift(_LEAD_S)
    line.duration += 2 * _LEAD_S
    pose_tk3, _ = render(Sentence(tuple(words), "", "continuous"), who, line, rng)
    return pose_tk3, FPS, [end + _LEAD_S for end in ends[:-1]]


def joined(clips: ClipDataset, row_frames: int) -> Iterator[Recording]:
    """The recordings that `signbind evaluate` scores a segmenter on."""
    plan = reading_plan(clips.lengths(FRONTEND), row_frames)
    join = jax.jit(joined_rows)
    for batch in clip_batches(clips, plan, FRONTEND, [[]] * len(clips), NO_TARGET):
        found = jax.device_get(join(batch, jax.random.key(SCORED_KEY)))
        for b in np.flatnonzero(batch.index_bg[:, 0] >= 0):
            fps, n = float(batch.fps_bg[b, 0]), found.real_bt[b].sum()
            true_p = np.sort(found.joint_bp[b][found.true_bp[b]])
            yield found.x_btkc[b, :n], fps, [float(t) / fps for t in true_p]


def boundaries(pose_tkc: np.ndarray, fps: float, reader: BoundaryReader | None) -> list[float]:
    """Where a recording is cut inside: the middle between two sentences."""
    probability_t = reader.probabilities(pose_tkc, fps) if reader else None
    found = cut(activity(pose_tkc, fps), fps, LONGEST_S, probability_t).segments
    return [(a.end_s + b.start_s) / 2 for a, b in zip(found, found[1:], strict=False)]


def score(recordings: list[Recording], reader: BoundaryReader) -> dict:
    """How well pauses, the segmenter and guesses tell the boundaries of some recordings."""
    counts = dict.fromkeys(("pauses", "segmenter", "guessed"), BoundaryCounts())
    seconds = sum(len(pose) / fps for pose, fps, _ in recordings)
    every_s = seconds / (sum(len(true) for *_, true in recordings) + len(recordings))
    for pose_tkc, fps, true in recordings:
        found = {
            "pauses": boundaries(pose_tkc, fps, None),
            "segmenter": boundaries(pose_tkc, fps, reader),
            "guessed": list(np.arange(every_s, len(pose_tkc) / fps, every_s)),
        }
        for name, places in found.items():
            counts[name] = counts[name].plus(matches(places, true))
    return {
        name: {"precision": c.precision, "recall": c.recall, "f1": c.f1} | c._asdict()
        for name, c in counts.items()
    }


def main() -> None:
    """Prints the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="RUN")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--split", default="test")
    parser.add_argument("--recordings", type=int, default=10)
    arguments = parser.parse_args()
    run = open_segmenter(arguments.checkpoint)
    reader = BoundaryReader.of(run)
    clips = open_dataset(arguments.data).split(arguments.split)
    facts: dict = {"evaluate": open_evaluator(run).run(clips).scores}
    print(facts["evaluate"], flush=True)
    kinds = {
        "joined": joined(clips, run.config.data.row_frames),
        "continuous": map(continuous, range(arguments.recordings)),
    }
    for name, recordings in kinds.items():
        facts[name] = score(list(recordings), reader)
        print(name, facts[name], flush=True)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
