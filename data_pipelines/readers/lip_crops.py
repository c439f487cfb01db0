"""Reading mouth crops: a directory of images or a video, as grey squares."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from data_pipelines.extraction.worker.pictures import in_order
from signbind_jax.errors import SignBindError

LARGEST = 256  # pixels; a picture larger than this both ways is a whole frame, not a mouth


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
      SignBindError: where there is no image, one cannot be read, or the pictures are whole
        frames and not mouth crops.
    """
    path = Path(path)
    images, fps = _images(path) if path.is_dir() else _video(path), 0.0
    squares = []
    for image, rate in images:
        if min(image.size) > LARGEST:
            raise SignBindError(f"{path}: lips: found pictures of {image.width}x{image.height}, "
                                f"wanted mouth crops of at most {LARGEST} pixels: crop the mouth "
                                "first (signbind extract)")  # fmt: skip
        fps = rate
        squares.append(_square(image, size))
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


def _images(directory: Path) -> Iterator[tuple[Image.Image, float]]:
    for path in in_order(directory):
        try:
            with Image.open(path) as image:
                image.load()
                yield image, 0.0
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError,
                Image.DecompressionBombError) as error:  # fmt: skip
            raise SignBindError(f"{path}: lips: cannot be read as an image "
                                f"({type(error).__name__})") from error  # fmt: skip


def _video(path: Path) -> Iterator[tuple[Image.Image, float]]:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise SignBindError(f"{path}: lips: found no video stream, wanted one")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 0)
            if fps <= 0:
                raise SignBindError(f"{path}: lips: found no frame rate: encode the video again")
            for frame in container.decode(stream):
                yield frame.to_image(), fps
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SignBindError(f"{path}: lips: cannot be read as a video "
                            f"({type(error).__name__})") from error  # fmt: skip
