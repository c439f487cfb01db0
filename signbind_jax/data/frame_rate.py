"""Recordings of more frames a second than a model was trained on.

A model counts frames: a sign that takes ten times as many of them is another movement to it. Slow
motion of a phone, 120 or 240 frames a second, has frames to spare; where a recording has too few
frames nothing can be done.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from signbind_jax.data.clip import Clip, Frames
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.lips import decode_mosaic, lip_frames

FASTER = 1.5  # times what was trained on: 60 frames a second against 50 are read as they are
_SHARE = 0.95  # of the clips that are trained on


def trained_fps(clips: Iterable[Clip], modality: str) -> float:
    """The frames a second that nearly no clip of a training split exceeds; 0 where none has any."""
    rates = [clip.modalities[modality].fps for clip in clips if clip.n_frames(modality)]
    return float(np.quantile(rates, _SHARE, method="lower")) if rates else 0.0


def thinned(clips: ClipList, modality: str, fps: float) -> ClipList:
    """Clips of which every so many frames are kept that the rate is near `fps`.

    Args:
      fps: frames a second that a model was trained on; 0: not known, all clips stay as they are.
    """
    if not fps or all(_fits(clip, modality, fps) for clip in clips.labels):
        return clips
    return ClipList([_thinned(clip, modality, fps) for clip in clips.labels])


def one_kept_of(found_fps: float, fps: float) -> int:
    """Of how many frames of a recording one is kept that the rate is near `fps`; 0: not known."""
    return round(found_fps / fps) if fps and found_fps >= FASTER * fps else 1


def _fits(clip: Clip, modality: str, fps: float) -> bool:
    return not clip.n_frames(modality) or one_kept_of(clip.modalities[modality].fps, fps) == 1


def _thinned(clip: Clip, modality: str, fps: float) -> Clip:
    if _fits(clip, modality, fps):
        return clip
    found = clip.modalities[modality]
    every = one_kept_of(found.fps, fps)
    if modality == "lips":
        kept = lip_frames(decode_mosaic(found.data, found.n)[::every], found.fps / every)
    else:
        kept = Frames(found.data[::every], found.fps / every, -(-found.n // every))
    return replace(clip, modalities={**clip.modalities, modality: kept})
