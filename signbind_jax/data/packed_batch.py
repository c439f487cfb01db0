"""PackedBatch: the clips of one step as rows that hold several clips end to end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.batch import check_fits, check_lip_size, decode_lips, modality_parts
from signbind_jax.data.batch_plan import EMPTY_ROW
from signbind_jax.data.clip import Clip
from signbind_jax.data.packed_plan import PackedStep
from signbind_jax.errors import SignBindError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PackedBatch:
    """Clips end to end in rows, in the small types they have on disk.

    Places without a clip stand behind a row's clips: index -1 and lengths of 0.

    Attributes:
      frames_bt: f16 (b, t, k, 3) canonical keypoints or uint8 (b, f, h, w) grey mouth crops,
        zeros where no clip is.
      start_bg, length_bg: int32 first frame and frames of each clip.
      target_bgn: int32 token ids, 0 behind the length.
      target_length_bg: int32 tokens.
      index_bg: int32 place of the clip in its split.
    """

    frames_bt: jax.Array | np.ndarray
    start_bg: jax.Array | np.ndarray
    length_bg: jax.Array | np.ndarray
    target_bgn: jax.Array | np.ndarray
    target_length_bg: jax.Array | np.ndarray
    index_bg: jax.Array | np.ndarray

    @property
    def valid_bg(self):
        """bool, False where there is no clip."""
        return self.index_bg >= 0


def collate_packed(
    clips: Sequence[Clip],
    step: PackedStep,
    modality: str,
    targets: Sequence[Sequence[int]],
    target_capacity: int,
    *,
    lip_size: tuple[int, int] | None = None,
    decode: Callable[[Clip], np.ndarray] = decode_lips,
) -> PackedBatch:
    """Puts the clips of one step where it says; arguments as in `batch.collate`.

    Raises:
      SignBindError: a modality that is none or two at once, or a clip that does not fit, by id.
    """
    parts = modality_parts(modality)
    if len(parts) > 1:
        raise SignBindError(
            f"modality: found {modality!r}, wanted one alone: poses and lips of a "
            "clip have different lengths, so rows cannot hold both"
        )
    rows, places = np.nonzero(step.ids != EMPTY_ROW)
    shape_bg = step.ids.shape
    length_bg, target_length_bg = np.zeros(shape_bg, np.int32), np.zeros(shape_bg, np.int32)
    target_bgn = np.zeros((*shape_bg, target_capacity), np.int32)
    lips = "lips" in parts
    picture = lip_size if lips else (keypoints.K, 3)
    frames_bt = np.zeros(
        (step.batch_size, step.bucket_length, *picture), np.uint8 if lips else np.float16
    )
    for row, place, clip, target in zip(rows, places, clips, targets, strict=True):
        frames = decode(clip) if lips else clip.modalities["pose"].data
        start, n = int(step.starts[row, place]), len(frames)
        check_fits(clip, "frames", n, step.bucket_length - start)
        check_fits(clip, "target tokens", len(target), target_capacity)
        if lips:
            check_lip_size(clip, frames.shape[1:], lip_size)
        frames_bt[row, start : start + n] = frames
        length_bg[row, place] = n
        target_bgn[row, place, : len(target)] = target
        target_length_bg[row, place] = len(target)
    return PackedBatch(frames_bt, step.starts, length_bg, target_bgn, target_length_bg, step.ids)
