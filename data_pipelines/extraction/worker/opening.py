"""Opening videos and pictures that may come from anybody.

FFmpeg also opens playlists, scripts and patterns of names, which read other files and hosts, and
Pillow knows formats that call programs. Here only the formats that recordings come in are tried,
of regular files, and a size in pixels is checked as the file declares it, before it takes memory.
"""

import contextlib
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import av

CONTAINERS = ("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "ogg", "flv", "asf")
PICTURES = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 40_000_000  # a frame of 8k video has 33 million


class Unreadable(Exception):
    """There is no clip; the message says why in one line."""


@contextlib.contextmanager
def open_video(path: Path) -> Iterator["av.container.InputContainer"]:
    """A video with a stream that can be decoded, closed at the end.

    Its decoder refuses frames of more than `MOST_PIXELS`, wherever in the video they come.

    Raises:
      Unreadable: no such file, or none of the containers in `CONTAINERS`; no video stream; frames
        that are too large.
    """
    _check_file(path, "video")
    import av  # not at the top: pictures and names need no FFmpeg

    most_pixels = {"max_pixels": str(MOST_PIXELS)}
    try:
        container = av.open(
            f"file:{path}",  # so that no name is taken for an address
            options=most_pixels,
            container_options={
                "format_whitelist": ",".join(CONTAINERS),
                "protocol_whitelist": "file",
            },
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(f"cannot be read as a video ({type(error).__name__})") from error
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise Unreadable("found no video stream, wanted one")
        if stream.codec_context is None:
            raise Unreadable("found a video stream of no known codec: encode the video again")
        check_size(stream.width or 1, stream.height or 1)  # 0: only its frames will tell
        stream.codec_context.options = most_pixels
        yield container


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """A picture of which only the header has been read, closed at the end.

    Raises:
      Unreadable: no such file, none of the formats in `PICTURES`, too many pixels; what is read of
        it inside the context cannot be read.
    """
    _check_file(path, "picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=PICTURES)
        with image:
            check_size(*image.size)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"found more than {MOST_PIXELS // 1_000_000} million pixels") from error
    except (OSError, SyntaxError, ValueError, OverflowError, EOFError, MemoryError) as error:
        raise Unreadable(f"cannot be read as a picture ({type(error).__name__})") from error


def check_size(width: int, height: int) -> None:
    """Raises `Unreadable` for frames of no pixel or of more than `MOST_PIXELS`."""
    if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
        raise Unreadable(
            f"found frames of {width}x{height}, wanted at least 1x1 and at most "
            f"{MOST_PIXELS // 1_000_000} million pixels"
        )


def _check_file(path: Path, what: str) -> None:
    """Raises `Unreadable` for what is no regular file: reading it might wait for ever."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise Unreadable(f"no such {what}") from error
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(f"no regular file, wanted a {what}")
    if not status.st_size:
        raise Unreadable(f"the {what} is empty (0 bytes)")
