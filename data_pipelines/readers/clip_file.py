"""Files of a recording as a clip: the one reader for `data build folder` and `signbind translate`.

A `.pose` or `.npz` file becomes a pose, with mouth crops where the `.npz` holds some; a directory
or video of mouth crops becomes lips. Any other video is a recording, which `signbind extract`
turns into an `.npz` file first.
"""

import itertools
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from signbind_jax.data import lips
from signbind_jax.data.clip import Clip, Frames, check_bounds
from signbind_jax.data_pipelines.corpus import ReadResult
from signbind_jax.data_pipelines.extraction.worker.opening import (
    Unreadable,
    open_picture,
    open_video,
)
from signbind_jax.data_pipelines.extraction.worker.pictures import in_order
from signbind_jax.data_pipelines.readers import extracted
from signbind_jax.data_pipelines.readers.lip_crops import read_lip_crops
from signbind_jax.data_pipelines.readers.token_streams import is_token_file
from signbind_jax.errors import SignBindError, from_extra

LANDMARKS = extracted.SUFFIXES
VIDEOS = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".ogv",
    ".ogg",
    ".flv",
    ".asf",
    ".wmv",
    ".3gp",
)
KNOWN = ".pose, .npz, .jsonl, a video, or a directory of mouth crops"
# Pixels of a side: a signer on fewer has no mouth that could be cut out.
LARGEST_CROP = 128
DEFAULT_LIP_FPS = 25.0
LARGEST_DRIFT = 0.05  # share by which the durations of pose and lips may differ


class Kind(StrEnum):
    """What a file or directory holds of a clip."""

    LANDMARKS = "landmarks"  # with mouth crops or without
    CROPS = "mouth crops"
    VIDEO = "video"  # a recording, to be extracted
    STREAMS = "token streams"  # of several clips


def kind_of(path: Path, crops: bool = False) -> Kind:
    """What a path holds, by its ending and the size of its pictures.

    Args:
      crops: videos and pictures show mouths whatever their size; otherwise only those of at most
        `LARGEST_CROP` pixels a side do.

    Raises:
      SignBindError: nothing there, no known kind, a directory of pictures that are no crops.
    """
    if path.is_dir():
        size = _picture_size(path)
        if not crops and max(size) > LARGEST_CROP:
            raise SignBindError(
                f"{path}: found pictures of {size[0]}x{size[1]}, wanted mouth crops of at most "
                f"{LARGEST_CROP} pixels a side, or --crops for larger ones; frames of a whole "
                "recording need signbind extract --fps=N first"
            )
        return Kind.CROPS
    if path.suffix.lower() in VIDEOS:
        return Kind.CROPS if crops or max(_frame_size(path)) <= LARGEST_CROP else Kind.VIDEO
    if path.suffix in LANDMARKS:
        return Kind.LANDMARKS
    if is_token_file(path):
        return Kind.STREAMS
    raise SignBindError(f"{path}: found a {path.suffix!r} file, wanted {KNOWN}")


def _picture_size(directory: Path) -> tuple[int, int]:
    """Width and height of the first picture."""
    first = next(iter(in_order(directory)), None)
    if first is None:
        raise SignBindError(f"{directory}: found no picture, wanted mouth crops")
    try:
        with open_picture(first) as image:
            return image.size
    except Unreadable as reason:
        raise SignBindError(f"{first}: {reason}") from reason


def _frame_size(video: Path) -> tuple[int, int]:
    """Width and height of a video's frames as it declares them."""
    try:
        with from_extra("corpora", "videos"), open_video(video) as container:
            stream = container.streams.best("video")
            return stream.width, stream.height
    except Unreadable as reason:
        raise SignBindError(f"{video}: {reason}") from reason


def read_clip(
    paths: Mapping[Kind, Path], lip_size: int | None, clip_id: str, **labels: Any
) -> ReadResult:
    """The clip of one recording's files, and what was repaired in it.

    Mouth crops of their own go before those beside the landmarks. A directory of crops states no
    frame rate: it runs at the pose's, else at `DEFAULT_LIP_FPS`.

    Args:
      paths: file of landmarks, directory or video of mouth crops; either or both.
      lip_size: side of the mouth crops in pixels; None: crops are not read.
      labels: further fields of `Clip`.

    Raises:
      SignBindError: a file that cannot be read; pose, lips and streams of different durations.
    """
    modalities: dict[str, Frames] = {}
    repaired: dict[str, int] = {}
    landmarks, crops = paths.get(Kind.LANDMARKS), paths.get(Kind.CROPS)
    if landmarks is not None:
        beside = lip_size if crops is None else None
        modalities, repaired = extracted.read_extracted(landmarks, beside)
    if crops is not None and lip_size is not None:
        crops_fhw, fps = read_lip_crops(crops, lip_size)
        pose = modalities.get("pose")
        modalities["lips"] = lips.lip_frames(
            crops_fhw, fps or (pose.fps if pose else DEFAULT_LIP_FPS)
        )
    clip = Clip(id=clip_id, **{"text": "", **labels}, modalities=modalities)
    if crops is not None or clip.streams:
        check_durations(clip)
    return ReadResult(clip, repaired)


def check_durations(clip: Clip) -> None:
    """Whether what a clip holds lasts equally long.

    Raises:
      SignBindError: it does not.
    """
    lasting = {name: frames.seconds for name, frames in clip.modalities.items()}
    if clip.streams:
        lasting["streams"] = clip.seconds
    for (one, one_s), (other, other_s) in itertools.combinations(lasting.items(), 2):
        if abs(one_s - other_s) > LARGEST_DRIFT * max(one_s, other_s):
            raise SignBindError(
                f"{one} lasts {one_s:.2f} s and {other} {other_s:.2f} s, wanted at most "
                f"{LARGEST_DRIFT:.0%} apart"
            )


def read_clip_file(path: Path, kind: Kind, lip_size: int | None) -> ReadResult:
    """The clip, without labels, of one path, and what was repaired in it.

    Args:
      kind: as `kind_of` says; of a video the path of what was extracted from it, as landmarks.
      lip_size: as in `read_clip`.

    Raises:
      SignBindError: it cannot be read, or is no recording of a sentence.
    """
    read = read_clip({kind: path}, lip_size, path.stem)
    try:
        check_bounds(read.clip)
    except SignBindError as error:
        raise SignBindError(f"{path}: {error}") from error
    return read
