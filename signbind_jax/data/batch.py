"""RowBatch: the clips of one step as arrays of static shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.batch_plan import EMPTY_ROW, Step
from signbind_jax.data.clip import Clip
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.errors import SignBindError

# What each frontend reads of a clip.
MODALITIES = {
    "pose": "pose",
    "hand_shape": "pose",
    "mouth_landmarks": "pose",
    "lips": "lips",
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowBatch:
    """Rows of one or several clips end to end, in the small types they have on disk: the device
    makes floats of them.

    Places without a clip stand behind a row's clips: index -1 and lengths of 0.

    Attributes:
      frames_bt: f16 (b, t, k, 3) canonical keypoints or uint8 (b, f, h, w) grey mouth crops,
        zeros where no clip is.
      start_bg, length_bg: int32 first frame and frames of each clip.
      fps_bg: float32 frames a second; 0 where there is no clip.
      target_bgn: int32 token ids, 0 behind the length.
      target_length_bg: int32 tokens.
      index_bg: int32 place of the clip in its split.
    """

    frames_bt: jax.Array | np.ndarray
    start_bg: jax.Array | np.ndarray
    length_bg: jax.Array | np.ndarray
    fps_bg: jax.Array | np.ndarray
    target_bgn: jax.Array | np.ndarray
    target_length_bg: jax.Array | np.ndarray
    index_bg: jax.Array | np.ndarray

    @property
    def valid_bg(self):
        """bool, False where there is no clip."""
        return self.index_bg >= 0


def collate(
    clips: Sequence[Clip],
    step: Step,
    frontend: str,
    targets: Sequence[Sequence[int]],
    target_capacity: int,
    *,
    lip_size: tuple[int, int] | None = None,
    decode: Callable[[Clip], np.ndarray] | None = None,
) -> RowBatch:
    """Puts the clips of one step where it says; decodes only what the frontend reads.

    Args:
      clips: one for each index of `step.ids` that is not -1, in order.
      targets: token ids, one sequence for each of `clips`.
      target_capacity: n of `target_bgn`.
      lip_size: height and width of the crops in pixels.
      decode: gives the crops of a clip in place of `decode_lips`, such as from a cache.

    Raises:
      SignBindError: an unknown frontend, no crops anywhere, or a clip that does not fit, by id.
    """
    modality = modality_of(frontend)
    lips = modality == "lips"
    if lips and lip_size is None:
        raise SignBindError("lips: found no clip with mouth crops, wanted at least one")
    rows, places = np.nonzero(step.ids != EMPTY_ROW)
    shape_bg = step.ids.shape
    length_bg, fps_bg = np.zeros(shape_bg, np.int32), np.zeros(shape_bg, np.float32)
    target_bgn = np.zeros((*shape_bg, target_capacity), np.int32)
    target_length_bg = np.zeros(shape_bg, np.int32)
    frame, dtype = (lip_size, np.uint8) if lips else ((keypoints.K, 3), np.float16)
    frames_bt = np.zeros((step.batch_size, step.bucket_length, *frame), dtype)
    for row, place, clip, target in zip(rows, places, clips, targets, strict=True):
        start, n = int(step.starts[row, place]), clip.n_frames(modality)
        check_fits(clip, "lip frames" if lips else "pose frames", n, step.bucket_length - start)
        check_fits(clip, "target tokens", len(target), target_capacity)
        if n:
            frames = (decode or decode_lips)(clip) if lips else clip.modalities["pose"].data
            if lips:
                check_lip_size(clip, frames.shape[1:], lip_size)
            frames_bt[row, start : start + n] = frames
            fps_bg[row, place] = clip.modalities[modality].fps
        length_bg[row, place] = n
        target_bgn[row, place, : len(target)] = target
        target_length_bg[row, place] = len(target)
    return RowBatch(
        frames_bt,
        step.starts,
        length_bg,
        fps_bg,
        target_bgn,
        target_length_bg,
        step.ids.astype(np.int32),
    )


def modality_of(frontend: str) -> str:
    """The modality of a clip that a frontend reads: "pose" or "lips"."""
    if frontend not in MODALITIES:
        raise SignBindError(f"modality: found {frontend!r}, wanted one of {', '.join(MODALITIES)}")
    return MODALITIES[frontend]


def reads_lips(frontend: str) -> bool:
    """Whether a frontend reads mouth crops."""
    return modality_of(frontend) == "lips"


def decode_lips(clip: Clip) -> np.ndarray:
    """The uint8 (f, h, w) mouth crops of a clip; errors name the clip."""
    lips = clip.modalities["lips"]
    try:
        return decode_mosaic(lips.data, lips.n)
    except SignBindError as error:
        raise SignBindError(f"clip {clip.id!r}: {error}") from error


def check_lip_size(clip: Clip, found: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Raises where a clip's crops (height, width) differ from the other clips'."""
    if tuple(found) != tuple(wanted):
        raise SignBindError(
            f"clip {clip.id!r}: lips: found crops of {found[0]}x{found[1]} pixels, "
            f"wanted {wanted[0]}x{wanted[1]} as in the other clips: build the "
            "dataset with one --lip_size"
        )


def check_fits(clip: Clip, what: str, found: int, wanted: int) -> None:
    """Raises where a clip has more of something than there is room for."""
    if found > wanted:
        raise SignBindError(f"clip {clip.id!r}: {what}: found {found}, wanted at most {wanted}")
