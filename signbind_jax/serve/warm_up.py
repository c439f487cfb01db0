"""Clips that make a translator compile, before anybody waits for it, what usual recordings need.

Every shape of a batch is a program of its own. Reading has rows of standard lengths and numbers,
writing standard numbers of stream tokens (`reading_plan`, `reading_batches`): few, but each takes
seconds to compile.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data import lips
from signbind_jax.data.batch import modality_of
from signbind_jax.data.batch_plan import standard_buckets
from signbind_jax.data.clip import Clip, TimedToken, pose_frames
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.stages.read_streams import ExpertReader, StreamReader

_FPS = 30.0  # usual cameras give no more
_TOKENS_A_SECOND = 20  # of all streams together, read of fast signing


def warm_ups(reader: StreamReader, seconds: float, batch_size: int) -> list[list[Clip]]:
    """Batches of which each compiles a program that recordings of up to so many seconds need.

    Args:
      batch_size: the most clips of a batch.
    """
    if not seconds:
        return []
    return [*_to_read(reader, seconds, batch_size), *_to_write(reader, seconds)]


def _to_read(reader: StreamReader, seconds: float, batch_size: int) -> Iterator[list[Clip]]:
    """Recordings of every number and length that gives experts another shape of rows."""
    experts = [each for each in reader.readers.values() if isinstance(each, ExpertReader)]
    modalities = {modality_of(expert.config.frontend) for expert in experts}
    seen = set()
    for frames in standard_buckets(round(seconds * _FPS)):
        for n in range(1, batch_size + 1):
            plans = [reading_plan([frames] * n, expert.row_frames) for expert in experts]
            shape = tuple(plan.step(0).ids.shape + plan.shapes[0] for plan in plans)
            if shape and shape not in seen:
                seen.add(shape)
                yield [_recording(frames, modalities, reader.lip_size)] * n


def _recording(frames: int, modalities: Iterable[str], lip_size: int | None) -> Clip:
    """Noise that looks like a recording to whatever reads it."""
    random = np.random.default_rng(0)
    made: dict[str, Any] = {}
    if "pose" in modalities:
        points_tkc = random.normal(0, 0.5, (frames, keypoints.K, 3)).astype(np.float16)
        points_tkc[..., 2] = 1
        made["pose"] = pose_frames(points_tkc, _FPS)
    if "lips" in modalities:
        crops_fhw = random.integers(0, 256, (frames, lip_size, lip_size), np.uint8)
        made["lips"] = lips.lip_frames(crops_fhw, _FPS)
    return Clip("warm-up", "", modalities=made)


def _to_write(reader: StreamReader, seconds: float) -> Iterator[list[Clip]]:
    """Clips that came with streams of every standard number of tokens."""
    name, own = next(iter(reader.readers.items()))
    token = own.vocabulary.tokens[1]  # the first is the blank
    for n in standard_buckets(round(seconds * _TOKENS_A_SECOND)):
        starts = np.linspace(0, seconds, n, endpoint=False).tolist()
        stream = tuple(TimedToken(token, start, start) for start in starts)
        yield [Clip("warm-up", "", streams={name: stream}, seconds=seconds)]
