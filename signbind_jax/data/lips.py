"""Mouth crops of a clip as one grey JPEG mosaic: small on disk, one decode a clip."""

import math
import struct

import numpy as np
import simplejpeg
from PIL import Image

from signbind_jax.data.clip import Frames
from signbind_jax.errors import SignBindError

QUALITY = 95
MAX_SIDE = 65_500  # libjpeg's own limit, a little under the format's 65,535
MOST_PIXELS = 2**27  # of a mosaic: 9 minutes of 96x96 crops at 25 a second
BLOCK = 8  # cells of whole JPEG blocks keep one crop's edges out of its neighbour
_HEADER = struct.Struct("<4sHHI")  # mark, crop height, crop width, crops
_MARK = b"LIP1"


def _cell(height: int, width: int) -> tuple[int, int]:
    return -(-height // BLOCK) * BLOCK, -(-width // BLOCK) * BLOCK


def _grid(n_frames: int, cell_height: int, cell_width: int) -> tuple[int, int]:
    """Rows and columns of the mosaic, about as high as it is wide."""
    columns = math.ceil(math.sqrt(n_frames * cell_height / cell_width))
    columns = max(1, min(columns, n_frames, MAX_SIDE // cell_width))
    return -(-n_frames // columns), columns


def lip_frames(crops_fhw: np.ndarray, fps: float) -> Frames:
    """Mouth crops uint8 (f, h, w) as frames of a clip; see `encode_mosaic`."""
    return Frames(encode_mosaic(crops_fhw), fps, len(crops_fhw))


def encode_mosaic(frames_fhw: np.ndarray) -> bytes:
    """All crops of a clip as one grey JPEG behind a small header.

    Args:
      frames_fhw: uint8 (f, h, w) grey crops, f >= 1.

    Raises:
      SignBindError: where the array is no such stack, or the mosaic outgrows JPEG or
        `MOST_PIXELS`.
    """
    frames_fhw = np.asarray(frames_fhw)
    if frames_fhw.ndim != 3 or frames_fhw.dtype != np.uint8 or 0 in frames_fhw.shape:
        raise SignBindError(
            f"lip crops: found {frames_fhw.dtype} {frames_fhw.shape}, wanted "
            "uint8 (frames, height, width) with no side of 0"
        )
    n_frames, height, width = frames_fhw.shape
    cell_height, cell_width = _cell(height, width)
    if max(cell_height, cell_width) > MAX_SIDE:
        raise SignBindError(
            f"lip crops: found {height}x{width} pixels, wanted sides of at most "
            f"{MAX_SIDE}: make the crops smaller"
        )
    rows, columns = _grid(n_frames, cell_height, cell_width)
    if rows * cell_height > MAX_SIDE:
        raise SignBindError(
            f"lip crops: {n_frames} crops of {height}x{width} do not fit one JPEG "
            f"of {MAX_SIDE} pixels a side: split the clip or make the crops "
            "smaller"
        )
    if rows * cell_height * columns * cell_width > MOST_PIXELS:
        raise SignBindError(
            f"lip crops: found {n_frames} of {height}x{width}, wanted at most "
            f"{MOST_PIXELS:,} pixels: split the clip or make the crops "
            "smaller"
        )
    padding = ((0, 0), (0, cell_height - height), (0, cell_width - width))
    cells_fhw = np.pad(frames_fhw, padding, mode="edge")
    empty = np.zeros((rows * columns - n_frames, cell_height, cell_width), np.uint8)
    grid = np.concatenate([cells_fhw, empty]).reshape(rows, columns, cell_height, cell_width)
    mosaic_hw1 = np.ascontiguousarray(grid.swapaxes(1, 2)).reshape(
        rows * cell_height, columns * cell_width, 1
    )
    jpeg = simplejpeg.encode_jpeg(
        mosaic_hw1, quality=QUALITY, colorspace="GRAY", colorsubsampling="Gray"
    )
    return _HEADER.pack(_MARK, height, width, n_frames) + jpeg


def decode_mosaic(data: bytes, n_frames: int) -> np.ndarray:
    """The uint8 (f, h, w) grey crops that `encode_mosaic` packed.

    Args:
      data: the bytes of the mosaic.
      n_frames: how many crops the clip says it has.

    Raises:
      SignBindError: where the bytes are no mosaic, are cut short, claim more than
        `MOST_PIXELS`, or hold another number of crops.
    """
    if len(data) < _HEADER.size or data[:4] != _MARK:
        raise SignBindError(
            f"lips: found {len(data)} bytes that begin {bytes(data[:4])!r}, wanted "
            "a mosaic of mouth crops: build the dataset again"
        )
    _, height, width, found = _HEADER.unpack_from(data)
    if found != n_frames:
        raise SignBindError(
            f"lips: the mosaic holds {found} crops, the clip says {n_frames}: "
            "build the dataset again"
        )
    if not height or not width or not found:
        raise SignBindError(
            f"lips: the mosaic's header says {found} crops of {height}x{width}: "
            "build the dataset again"
        )
    cell_height, cell_width = _cell(height, width)
    if cell_width > MAX_SIDE or found * cell_height * cell_width > MOST_PIXELS:
        raise SignBindError(
            f"lips: the mosaic's header says {found} crops of {height}x{width}, "
            f"wanted at most {MOST_PIXELS:,} pixels: build the dataset "
            "again"
        )
    rows, columns = _grid(found, cell_height, cell_width)
    shape = (rows * cell_height, columns * cell_width)
    jpeg = data[_HEADER.size :]
    try:
        # The header is read first so that broken bytes cannot ask for gigabytes.
        if simplejpeg.decode_jpeg_header(jpeg)[:2] != shape:
            raise ValueError("another size than its header says")
        mosaic_hw1 = simplejpeg.decode_jpeg(jpeg, colorspace="GRAY", strict=True)
    except ValueError as error:
        raise SignBindError(
            f"lips: the JPEG of {len(jpeg)} bytes cannot be read ({error}): build the dataset again"
        ) from error
    grid = mosaic_hw1.reshape(rows, cell_height, columns, cell_width).swapaxes(1, 2)
    return grid.reshape(-1, cell_height, cell_width)[:found, :height, :width]


def resize(frames_fhw: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (f, h, w) crops at another size in pixels (bilinear, antialiased)."""
    if frames_fhw.shape[1:] == (height, width):
        return frames_fhw
    return np.stack(
        [
            np.asarray(Image.fromarray(frame_hw).resize((width, height), Image.Resampling.BILINEAR))
            for frame_hw in frames_fhw
        ]
    )
