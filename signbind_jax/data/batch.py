"""ClipBatch: the clips of one step as arrays of static shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.batch_plan import EMPTY_ROW, Step
from signbind_jax.data.clip import Clip
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.errors import SignBindError

# What each frontend reads of a clip; "pose+lips" is for models that read both at once.
MODALITIES = {
    "pose": ("pose",),
    "mouth_landmarks": ("pose",),
    "lips": ("lips",),
    "pose+lips": ("pose", "lips"),
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClipBatch:
    """Padded clips, in the small types they have on disk: the device makes floats of them.

    Rows without a clip have index -1, `valid_b` False and lengths of 0; so has a modality
    that the clip lacks or that was not asked for (whose array is then None).

    Attributes:
      pose_btkc: f16 (b, t, k, 3) canonical keypoints, zeros behind the length.
      pose_length_b, lip_length_b: int32 frames.
      pose_fps_b, lip_fps_b: float32 frames a second; 0 where the modality is absent.
      lips_bfhw: uint8 (b, f, h, w) grey mouth crops, zeros behind the length.
      target_bn: int32 token ids, 0 behind the length.
      target_length_b: int32 tokens.
      index_b: int32 place of the clip in its split.
      valid_b: bool, False in empty rows.
    """

    pose_btkc: jax.Array | np.ndarray | None
    pose_length_b: jax.Array | np.ndarray
    pose_fps_b: jax.Array | np.ndarray
    lips_bfhw: jax.Array | np.ndarray | None
    lip_length_b: jax.Array | np.ndarray
    lip_fps_b: jax.Array | np.ndarray
    target_bn: jax.Array | np.ndarray
    target_length_b: jax.Array | np.ndarray
    index_b: jax.Array | np.ndarray
    valid_b: jax.Array | np.ndarray


def collate(
    clips: Sequence[Clip],
    step: Step,
    modality: str,
    targets: Sequence[Sequence[int]],
    target_capacity: int,
    *,
    lip_size: tuple[int, int] | None = None,
    decode: Callable[[Clip], np.ndarray] | None = None,
) -> ClipBatch:
    """Pads the clips of one step to its bucket; decodes only what `modality` asks for.

    Args:
      clips: one for each row of `step.ids` that is not empty, in order.
      targets: token ids, one sequence for each of `clips`.
      target_capacity: n of `target_bn`.
      lip_size: height and width of the crops in pixels; taken from the first clip if not given.
      decode: gives the crops of a clip in place of `decode_lips`, such as from a cache.

    Raises:
      SignBindError: an unknown modality, or a clip that does not fit, by id.
    """
    parts = modality_parts(modality)
    rows = np.flatnonzero(step.ids != EMPTY_ROW)
    b, t = step.batch_size, step.bucket_length
    target_bn, target_length_b = np.zeros((b, target_capacity), np.int32), np.zeros(b, np.int32)
    for row, clip, target in zip(rows, clips, targets, strict=True):
        check_fits(clip, "target tokens", len(target), target_capacity)
        target_bn[row, : len(target)] = target
        target_length_b[row] = len(target)
    pose_btkc = np.zeros((b, t, keypoints.K, 3), np.float16) if "pose" in parts else None
    pose_length_b, pose_fps_b = np.zeros(b, np.int32), np.zeros(b, np.float32)
    if pose_btkc is not None:
        for row, clip in zip(rows, clips, strict=True):
            check_fits(clip, "pose frames", n := clip.n_frames("pose"), t)
            if n:
                pose = clip.modalities["pose"]
                pose_btkc[row, :n] = pose.data
                pose_length_b[row], pose_fps_b[row] = n, pose.fps
    lips_bfhw, lip_length_b, lip_fps_b = None, np.zeros(b, np.int32), np.zeros(b, np.float32)
    if "lips" in parts:
        lips_bfhw = _lips(clips, rows, b, t, lip_size, decode or decode_lips)
        for row, clip in zip(rows, clips, strict=True):
            if lips := clip.modalities.get("lips"):
                lip_length_b[row], lip_fps_b[row] = lips.n, lips.fps
    return ClipBatch(
        pose_btkc,
        pose_length_b,
        pose_fps_b,
        lips_bfhw,
        lip_length_b,
        lip_fps_b,
        target_bn,
        target_length_b,
        step.ids.astype(np.int32),
        step.ids != EMPTY_ROW,
    )


def modality_parts(modality: str) -> tuple[str, ...]:
    """The parts of a clip ("pose", "lips") that a modality reads."""
    if modality not in MODALITIES:
        raise SignBindError(f"modality: found {modality!r}, wanted one of {', '.join(MODALITIES)}")
    return MODALITIES[modality]


def reads_lips(modality: str) -> bool:
    """Whether a modality or the frontend of its name reads mouth crops."""
    return "lips" in modality_parts(modality)


def decode_lips(clip: Clip) -> np.ndarray:
    """The uint8 (f, h, w) mouth crops of a clip; errors name the clip."""
    lips = clip.modalities["lips"]
    try:
        return decode_mosaic(lips.data, lips.n)
    except SignBindError as error:
        raise SignBindError(f"clip {clip.id!r}: {error}") from error


def _lips(clips, rows, b: int, t: int, lip_size, decode) -> np.ndarray:
    lips_bfhw = None if lip_size is None else np.zeros((b, t, *lip_size), np.uint8)
    for row, clip in zip(rows, clips, strict=True):
        check_fits(clip, "lip frames", n := clip.n_frames("lips"), t)
        if not n:
            continue
        frames_fhw = decode(clip)
        if lips_bfhw is None:
            lips_bfhw = np.zeros((b, t, *frames_fhw.shape[1:]), np.uint8)
        check_lip_size(clip, frames_fhw.shape[1:], lips_bfhw.shape[2:])
        lips_bfhw[row, : len(frames_fhw)] = frames_fhw
    if lips_bfhw is None:
        raise SignBindError("lips: found no clip with mouth crops in a batch, wanted at least one")
    return lips_bfhw


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
