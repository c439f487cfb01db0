"""Reading mouth crops: a directory of images or a video, as grey squares."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from signbind_jax.data import lips
from signbind_jax.data.clip import FPS_RANGE
from signbind_jax.data_pipelines.extraction.worker.opening import (
    Unreadable,
    open_picture,
    open_video,
)
from signbind_jax.data_pipelines.extraction.worker.pictures import in_order
from signbind_jax.errors import SignBindError, from_extra

# Pixels of a crop's shorter and longer side: what is larger is a whole frame, not a mouth, or
# becomes one when it is extended to a square.
LARGEST, LONGEST = 256, 512


def read_lip_crops(path: Path, size: int) -> tuple[np.ndarray, float]:
    """Mouth crops of a clip as grey squares, and their frame rate.

    A directory is read in the natural order of its image names (2 before 10). A crop that is
    not square is extended to a square by its edge pixels, not stretched, then resized.

    Args:
      path: a directory of images, or a video of mouth crops.
      size: side of the squares in pixels, such as 32 or 96.

    Returns:
      uint8 (f, size, size), and frames a second: 0 for a directory, which does not say.

    Raises:
      SignBindError: where there is no image, one cannot be read or leads out of the directory, the
        pictures are whole frames and not mouth crops, or there are too many.
    """
    path, fps = Path(path), 0.0
    most = max(1, lips.MOST_PIXELS // size**2)
    squares: list[np.ndarray] = []
    try:
        for image, rate in _images(path) if path.is_dir() else _video(path):
            if len(squares) == most:
                raise Unreadable(f"found more than {most} frames, wanted a sentence")
            fps = rate
            squares.append(_square(image, size))
    except Unreadable as reason:
        raise SignBindError(f"{path}: lips: {reason}") from reason
    except OSError as error:
        raise SignBindError(f"{path}: lips: cannot be read: {error.strerror or error}") from error
    if not squares:
        raise SignBindError(f"{path}: lips: found 0 frames, wanted at least 1")
    return np.stack(squares), fps


def _square(image: Image.Image, size: int) -> np.ndarray:
    crop_hw = np.asarray(image.convert("L"))
    height, width = crop_hw.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    margins = ((top, side - height - top), (left, side - width - left))
    square = Image.fromarray(np.pad(crop_hw, margins, mode="edge"))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def _check_crop(width: int, height: int) -> None:
    if min(width, height) > LARGEST or max(width, height) > LONGEST:
        raise Unreadable(
            f"found pictures of {width}x{height}, wanted mouth crops of at most {LARGEST} pixels "
            f"one way and {LONGEST} the other: crop the mouth first (signbind extract)"
        )


def _images(directory: Path) -> Iterator[tuple[Image.Image, float]]:
    home = os.path.realpath(directory)
    for path in in_order(directory):
        try:
            if not Path(os.path.realpath(path)).is_relative_to(home):
                raise Unreadable("leads out of the directory: copy the file into it")
            with open_picture(path) as image:
                _check_crop(*image.size)
                image.load()
                yield image, 0.0
        except Unreadable as reason:
            raise Unreadable(f"{path.name}: {reason}") from reason


def _video(path: Path) -> Iterator[tuple[Image.Image, float]]:
    with from_extra("corpora", "videos"):
        import av
    with open_video(path) as container:
        stream = container.streams.best("video")
        _check_crop(stream.width, stream.height)
        fps = float(stream.average_rate or 0)
        if not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
            raise Unreadable(
                f"found {fps:g} frames a second, wanted {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g}: "
                "encode the video again"
            )
        try:
            for frame in container.decode(stream):
                _check_crop(frame.width, frame.height)  # it may change on the way
                yield frame.to_image(), fps
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise Unreadable(f"cannot be read as a video ({type(error).__name__})") from error
