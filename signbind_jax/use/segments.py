"""Where a long recording is cut into sentences: at the pauses in which no hand signs, and between
them where a trained segmenter, if there is one, finds that a sentence ends.

How active the hands are is measured from the landmarks, frame by frame; what is more active than
rest, with pauses too short to be one bridged, is a sentence, or several without a pause.

The thresholds come from 16 recorded sentences of German Sign Language: inside them the smoothed
speed of the faster hand hardly ever stays below `QUIET` for longer than `SHORTEST_PAUSE_S`, and
hands that rest in them, one beside a hand that signs, move at 0.03 to 0.1 shoulder widths a second.
`python -m benchmarks.long_recordings` measures what comes of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from signbind_jax import keypoints
from signbind_jax.errors import SignBindError
from signbind_jax.metrics.boundaries import peaks

# Shoulder widths a second of the faster hand. Signing passes MOVING in every sentence; what stays
# below QUIET is a rest or a sign that is held.
QUIET, MOVING = 0.3, 0.5
SHORTEST_PAUSE_S = 0.4  # signs that are held in a sentence are shorter
SHORTEST_S = 0.4  # two signs take longer; what is shorter is a hand that was moved, not a sentence
STEP_S = 0.08  # over which speed is measured: over single frames it would be the tracker's jitter
SMOOTHED_S = 0.16  # over turns of movement, where a hand stands still for a moment


class Segment(NamedTuple):
    """A sentence of a recording, in seconds from its start."""

    start_s: float
    end_s: float

    def frames(self, fps: float) -> tuple[int, int]:
        """Its first frame and the one behind its last."""
        return round(self.start_s * fps), round(self.end_s * fps)


class Cut(NamedTuple):
    """A recording as it was cut.

    Attributes:
      segments: in order of time; they do not overlap.
      n_short: movements between pauses that are too short to be a sentence.
      n_long: sentences longer than allowed, which were cut at their quietest moments, or at their
        likeliest boundaries where there is a segmenter.
      n_learnt: cuts at boundaries that the segmenter found.
    """

    segments: list[Segment]
    n_short: int = 0
    n_long: int = 0
    n_learnt: int = 0


def context_frames(fps: float) -> int:
    """How many frames on either side of a frame its activity depends on."""
    return _frames(STEP_S, fps) + _frames(SMOOTHED_S, fps)


def activity(pose_tkc: np.ndarray, fps: float) -> np.ndarray:
    """How fast the hands of a signer move, frame by frame.

    The mean speed of the points of a hand, its wrist on the body included, smoothed; of two hands
    the faster one. A hand that is lowered or that nobody sees does not move.

    Args:
      pose_tkc: (t, 91, 3) x, y in shoulder widths about the mid-shoulder point, confidence.
      fps: frames a second.

    Returns:
      float32 (t,) shoulder widths a second.
    """
    pose_tkc = np.asarray(pose_tkc, np.float32)
    step, width = _frames(STEP_S, fps), _frames(SMOOTHED_S, fps)
    hands = (pose_tkc[:, points] for points in keypoints.HAND_POINTS)
    return np.maximum(*(_hand_speed(hand, step, width) * fps / step for hand in hands))


def _hand_speed(hand_tkc: np.ndarray, step: int, width: int) -> np.ndarray:
    """How far a hand moves in `step` frames around each frame, smoothed; 0 where it is lowered."""
    n_frames = len(hand_tkc)
    if n_frames <= step:
        return np.zeros(n_frames, np.float32)
    seen_tk = hand_tkc[..., 2] > 0
    moved_tk = np.linalg.norm(hand_tkc[step:, :, :2] - hand_tkc[:-step, :, :2], axis=-1)
    moved_t = _mean(moved_tk, seen_tk[step:] & seen_tk[:-step])
    # As many frames as came in, each in the middle of what it was measured over.
    before = step // 2 + width // 2
    padded_t = np.pad(moved_t, (before, step + width - 1 - before), mode="edge")
    sums_t = np.cumsum(np.concatenate([[0.0], padded_t]))
    speed_t = (sums_t[width:] - sums_t[:-width]) / width
    # Behind the smoothing: a hand on its way to the lap is fast, and would make rest look busy.
    return np.where(keypoints.is_raised(hand_tkc), speed_t, 0).astype(np.float32)


def _mean(x_tk: np.ndarray, seen_tk: np.ndarray) -> np.ndarray:
    """The mean of the points that are seen; 0 where none is."""
    return np.where(seen_tk, x_tk, 0).sum(1) / np.maximum(seen_tk.sum(1), 1)


def cut(
    activity_t: np.ndarray, fps: float, longest_s: float, boundary_t: np.ndarray | None = None
) -> Cut:
    """Where a recording of this activity is cut.

    A sentence is active above `QUIET` and somewhere above `MOVING`, pauses below `SHORTEST_PAUSE_S`
    belong to it. Where `boundary_t` peaks it is cut in two, unless one of them is shorter than
    `SHORTEST_S`. One that is longer than `longest_s` is cut again, each time at the likeliest
    boundary, or the quietest moment, of the second half of what may stand in front of the cut.

    Args:
      activity_t: as `activity` gives it.
      longest_s: of a segment, in seconds.
      boundary_t: how likely a sentence ends at each frame, see `metrics.boundaries.peaks`; None:
        nobody says.

    Raises:
      SignBindError: `longest_s` is not at least twice `SHORTEST_S`.
    """
    if not longest_s >= 2 * SHORTEST_S:
        raise SignBindError(
            f"longest segment: found {longest_s:g} s, wanted at least {2 * SHORTEST_S:g} s"
        )
    runs = [(a, b) for a, b in _runs(activity_t > QUIET) if activity_t[a:b].max() > MOVING]
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and start - joined[-1][1] < SHORTEST_PAUSE_S * fps:
            start = joined.pop()[0]
        joined.append((start, stop))
    long_enough = [(a, b) for a, b in joined if b - a >= SHORTEST_S * fps]
    most, least = max(1, int(longest_s * fps)), max(1, int(SHORTEST_S * fps))
    cost_t, found = activity_t, long_enough
    if boundary_t is not None:
        cost_t, places = 1 - boundary_t, peaks(boundary_t, fps)
        found = [span for a, b in long_enough for span in _parted(a, b, places, least)]
    pieces = [_pieces(cost_t, a, b, most, least) for a, b in found]
    return Cut(
        [Segment(a / fps, b / fps) for spans in pieces for a, b in spans],
        n_short=len(joined) - len(long_enough),
        n_long=sum(len(spans) > 1 for spans in pieces),
        n_learnt=len(found) - len(long_enough),
    )


def segments(pose_tkc: np.ndarray, fps: float, longest_s: float) -> list[Segment]:
    """The sentences of a recording that is in memory as a whole; see `activity` and `cut`."""
    return cut(activity(pose_tkc, fps), fps, longest_s).segments


def _runs(is_active_t: np.ndarray) -> list[tuple[int, int]]:
    """First frames of runs of True and the frames behind their last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_active_t.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _parted(start: int, stop: int, places: Sequence[int], least: int) -> list[tuple[int, int]]:
    """A span, cut at those of some places that leave at least `least` frames on either side."""
    spans = []
    for at in places:
        if at - start >= least and stop - at >= least:
            spans.append((start, at))
            start = at
    return [*spans, (start, stop)]


def _pieces(
    cost_t: np.ndarray, start: int, stop: int, most: int, least: int
) -> list[tuple[int, int]]:
    """A span in pieces of at most `most` and at least `least` frames, cut where it costs least."""
    pieces = []
    while stop - start > most:
        first, last = start + most // 2, min(start + most, stop - least)
        at = first + int(cost_t[first : last + 1].argmin())
        pieces.append((start, at))
        start = at
    return [*pieces, (start, stop)]


def _frames(seconds: float, fps: float) -> int:
    return max(1, round(seconds * fps))
