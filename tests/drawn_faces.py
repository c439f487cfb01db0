"""Drawn faces whose landmarks are dots of colour, videos of them, and the list of clips."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RIGHT_EYE, LEFT_EYE = (230, 20, 20), (20, 230, 20)
RIGHT_CORNER, LEFT_CORNER = (20, 20, 230), (230, 230, 20)
CRASH, HANG = (255, 0, 255), (0, 255, 255)  # a frame all of this does that to the worker
# Places in units of the distance between the eyes, from their middle; y grows downwards.
DOTS = {
    RIGHT_EYE: (-0.5, 0.0),
    LEFT_EYE: (0.5, 0.0),
    RIGHT_CORNER: (-0.25, 0.8),
    LEFT_CORNER: (0.25, 0.8),
}


def face(
    eyes_apart: float = 40,
    centre: Sequence[float] = (80, 45),
    angle: float = 0,
    size: Sequence[int] = (160, 120),
    dots: Iterable = DOTS,
) -> np.ndarray:
    """A picture, uint8 (h, w, 3), of a face with a striped mouth.

    Args:
      eyes_apart: pixels.
      centre: x, y in pixels of the middle of the eyes.
      angle: radians by which the head is turned, clockwise as seen.
      size: width and height in pixels.
      dots: those to be drawn.
    """
    x, y = np.meshgrid(np.arange(size[0]) - centre[0], np.arange(size[1]) - centre[1])
    cos, sin = np.cos(angle) / eyes_apart, np.sin(angle) / eyes_apart
    u, v = cos * x + sin * y, cos * y - sin * x  # the face's own coordinates
    grey = 120 + 60 * np.sin(9 * u) * np.cos(7 * v)
    picture = np.repeat(grey[..., None], 3, -1)
    for colour in dots:
        at = DOTS[colour]
        picture[np.hypot(u - at[0], v - at[1]) < 0.08] = colour
    return picture.astype(np.uint8)


def plain(colour: Sequence[int], size: Sequence[int] = (160, 120)) -> np.ndarray:
    """A picture of one colour."""
    return np.full((size[1], size[0], 3), colour, np.uint8)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: int = 25,
    codec: str = "libx264",
    times_ms: Sequence[int] | None = None,
    ratio: Fraction | None = None,
):
    """Encodes pictures as a video; its path.

    Args:
      times_ms: when each frame is shown, instead of `fps`.
      ratio: width of a pixel by its height.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.codec_context.time_base = Fraction(1, fps if times_ms is None else 1000)
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        stream.codec_context.thread_count = 1
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "veryfast"}
        for i, picture in enumerate(frames):
            if i == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = i if times_ms is None else times_ms[i]
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
