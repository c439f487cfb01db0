"""Which clip stands in front of each in its recording, and in which rounds they can be written."""

from collections.abc import Iterator, Sequence

import numpy as np

from signbind_jax.data.clip import Clip

NONE = -1


def previous_clips(clips: Sequence[Clip]) -> np.ndarray:
    """int32 (clips,): the place of the clip before each in its recording; `NONE` for the first of
    a recording and where none is known.

    Clips of a recording are in order of their starts; where these are not known, as they are given.
    """
    places: dict[str, list[int]] = {}
    for i, clip in enumerate(clips):
        if clip.recording:
            places.setdefault(clip.recording, []).append(i)
    previous = np.full(len(clips), NONE, np.int32)
    for own in places.values():
        if all(clips[i].start_s is not None for i in own):
            own.sort(key=lambda i: clips[i].start_s)
        previous[own[1:]] = own[:-1]
    return previous


def rounds(previous: np.ndarray) -> Iterator[np.ndarray]:
    """Bool (clips,) a round: all first clips of their recordings, then all second ones, and on."""
    depth, at = np.zeros(len(previous), int), previous
    while (at != NONE).any():
        depth += at != NONE
        at = np.where(at != NONE, previous[at], NONE)
    return (depth == i for i in range(depth.max(initial=-1) + 1))
