"""Work that makes a translator compile, before anybody waits for it, what usual recordings need.

Every shape of a batch is a program of its own. Of few clips the shapes are few: reading has rows of
standard lengths (`reading_plan`), writing powers of two of stream tokens (`reading_batches`), both
powers of two of rows. Each takes seconds to compile.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data import lips
from signbind_jax.data.batch import modality_of
from signbind_jax.data.batch_plan import FEW_CLIPS, standard_buckets
from signbind_jax.data.clip import Clip, TimedToken, pose_frames
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.sentences import few_buckets
from signbind_jax.stages.read_streams import ExpertReader, StreamReader
from signbind_jax.use.translator import Translator

_FPS = 30.0  # usual cameras give no more
_TOKENS_A_SECOND = 20  # of all streams together, read of fast signing


def warm_ups(translator: Translator, seconds: float, batch_size: int) -> list[Callable[[], object]]:
    """Calls that each compile, for nothing, what recordings of up to so many seconds need; those
    of one recording first.

    Args:
      batch_size: the most clips of a batch.
    """
    if not seconds:
        return []
    most, rows = min(batch_size, FEW_CLIPS), [1]
    while rows[-1] < most:
        rows.append(min(2 * rows[-1], most))
    to_read = dict(_to_read(translator.reader, seconds, most))
    to_write = list(_to_write(translator.reader, seconds))
    calls: list[Callable[[], object]] = []
    for n in range(1, most + 1):
        calls += [partial(translator.read, ClipList([clip] * n)) for clip in to_read[n]]
        if n in rows:
            calls += [partial(translator.translate_clips, [clip] * n) for clip in to_write]
    return calls


def _to_read(reader: StreamReader, seconds: float, most: int) -> Iterator[tuple[int, list[Clip]]]:
    """Numbers of recordings, with those that, so often, give experts another shape of rows."""
    experts = [each for each in reader.readers.values() if isinstance(each, ExpertReader)]
    modalities = {modality_of(expert.config.frontend) for expert in experts}
    seen = set()
    for n in range(1, most + 1):
        found = []
        for frames in reversed(standard_buckets(round(seconds * _FPS))):
            plans = [reading_plan([frames] * n, expert.row_frames) for expert in experts]
            shape = tuple(plan.shapes for plan in plans)
            if shape and shape not in seen:
                seen.add(shape)
                found.append(_recording(frames, modalities, reader.lip_size))
        yield n, found


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


def _to_write(reader: StreamReader, seconds: float) -> Iterator[Clip]:
    """Clips that came with streams of every number of tokens that a batch has room for."""
    name, own = next(iter(reader.readers.items()))
    token = own.vocabulary.tokens[1]  # the first is the blank
    for room in few_buckets(round(seconds * _TOKENS_A_SECOND)):
        n = room // 2 + 1  # the fewest: their text has a room of its own, which must hold it
        starts = np.linspace(0, seconds, n, endpoint=False).tolist()
        stream = tuple(TimedToken(token, start, start) for start in starts)
        yield Clip("warm-up", "", streams={name: stream}, seconds=seconds)
