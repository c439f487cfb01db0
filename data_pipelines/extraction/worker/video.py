"""The frames of a clip, cut from a video or a directory of pictures, at a steady rate.

A pose file has one frame rate. A recording may not: phones and browsers write a frame when they
have one. So frames are put by their timestamps on a grid of the rate that the file states (mostly
its mean), which begins at the clip's first frame; each place gets the frame nearest in time. In a
recording of constant rate every frame fills one place. Elsewhere frames are repeated or left out,
and counted.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import ImageOps

from .opening import Unreadable, check_size, open_picture, open_video
from .pictures import in_order

MOST_FRAMES = 50_000  # half an hour; a sentence has hundreds
LONGEST_STILL_S = 10.0  # seconds without a frame, after which timestamps are not believed
ROUNDING_S = 1e-3  # containers and lists of clips round times to milliseconds
LEAD_S = 2.0  # decoded in front of a clip: frames right behind a seek may lack a reference
RATES = (1.0, 250.0)  # frames a second that are believed; slow motion is 240, or a little more
PROBED = 250  # packets that tell the rate where the container does not

Timed = Iterator[tuple[float, Callable[[], np.ndarray]]]  # seconds, a call that gives the picture


class Span(NamedTuple):
    """What of a recording is the clip.

    Attributes:
      path: a video or a directory of pictures.
      start_s, end_s: seconds from the recording's start; a frame belongs to the clip if its time
        is at least `start_s` and below `end_s`. No `end_s`: to the end.
      fps: frames a second of a directory of pictures; 0 for a video.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    fps: float = 0.0

    def is_before(self, time_s: float) -> bool:
        """Whether a frame of this time comes before the clip."""
        return time_s < self.start_s - ROUNDING_S

    def is_behind(self, time_s: float) -> bool:
        """Whether the clip ends before this time."""
        return self.end_s is not None and time_s >= self.end_s - ROUNDING_S


class Frame(NamedTuple):
    """A picture, uint8 (h, w, 3) or grey (h, w), and how many places of the grid it fills."""

    picture: np.ndarray
    places: int


class Frames:
    """The frames of a clip; can be gone through several times.

    Attributes:
      fps: frames a second.
      notes: what was not as it should be in the last pass -> how many times.
    """

    def __init__(self, span: Span, tick: Callable[[], None] = lambda: None):
        """Opens a recording.

        Args:
          tick: called for every frame that is decoded, in front of the clip too.

        Raises:
          Unreadable: no such recording, or none that can be read.
        """
        self.span, self._tick = span, tick
        self.notes: dict[str, int] = {}
        if span.path.is_dir():
            self.fps, self._timed = span.fps, self._timed_pictures
            if not RATES[0] <= span.fps <= RATES[1]:
                raise Unreadable(
                    f"fps: found {span.fps:g}, wanted the frames a second of a "
                    "directory of pictures"
                )
            return
        self._timed = self._timed_video
        with open_video(span.path) as container:
            self.fps = _rate(container)

    def frames(self, grey: bool = False) -> Iterator[Frame]:
        """The clip's frames, upright and with square pixels.

        Raises:
          Unreadable: no frame lies in the clip; it is too long or too large.
        """
        self.notes.clear()
        n_places, shape = 0, None
        for make_picture, places in self._on_grid(self._timed(grey)):
            n_places += max(places, 1)  # frames that are left out take time too
            if n_places > MOST_FRAMES:
                raise Unreadable(
                    f"found more than {MOST_FRAMES} frames, wanted a sentence: give "
                    "start_s and end_s (--list)"
                )
            if not places:
                self._note("frames left out (faster than the stated rate)")
                continue
            if places > 1:
                self._note("frames repeated (slower than the stated rate)", places - 1)
            picture = make_picture()
            shape = shape or picture.shape
            if picture.shape != shape:
                raise Unreadable(
                    f"found frames of {shape[1]}x{shape[0]} and {picture.shape[1]}x"
                    f"{picture.shape[0]}, wanted one size"
                )
            yield Frame(picture, places)

    def _on_grid(self, timed: Timed) -> Iterator[tuple[Callable[[], np.ndarray], int]]:
        """(a call that gives the picture, places it fills) of every frame in the clip."""
        first_s = last_s = held = None
        filled = 0

        def places(until_s: float) -> int:
            nonlocal filled
            # A millionth of a step is rounding; the first frame fills its own place at least.
            end = max(1, math.ceil((until_s - first_s) * self.fps - 1e-6))
            added, filled = max(0, end - filled), max(end, filled)
            return added

        behind_s = None
        for time_s, picture in self._in_span(timed):
            if self.span.is_behind(time_s):
                behind_s = time_s
                break
            if held is None:
                first_s = time_s
            else:
                yield held, places((last_s + time_s) / 2)
            last_s, held = time_s, picture
        if held is None:
            raise Unreadable("found 0 frames, wanted at least 1")
        if behind_s is None:  # nothing says how long the file's last frame was shown
            until_s = last_s + 0.5 / self.fps
            if self.span.end_s is not None and last_s + 1.5 / self.fps < self.span.end_s:
                self._note("clips that end behind the video's end")
        else:
            until_s = min((last_s + behind_s) / 2, self.span.end_s - ROUNDING_S)
        yield held, places(until_s)

    def _in_span(self, timed: Timed) -> Timed:
        """The frames of the clip in growing time, and the first one behind it.

        Where the recording shows one frame over the clip's start, it counts as at the start.
        """
        step = 1 / self.fps
        last_s = before = None
        for time_s, picture in timed:
            if last_s is not None and time_s <= last_s:
                self._note("frames whose time does not grow: one step taken")
                time_s = last_s + step
            if last_s is not None and time_s - last_s > LONGEST_STILL_S:
                raise Unreadable(
                    f"found no frame between {last_s:.2f} s and {time_s:.2f} s: "
                    "encode the video again"
                )
            last_s = time_s
            if self.span.is_before(time_s):
                before = picture
                continue
            if before is not None and time_s - self.span.start_s > 1.5 * step:
                yield self.span.start_s, before
            before = None
            yield time_s, picture
            if self.span.is_behind(time_s):
                return
        if before is not None:
            raise Unreadable(
                f"found no frame from {self.span.start_s:g} s on, the last one is at {last_s:.2f} s"
            )

    def _note(self, what: str, n: int = 1) -> None:
        self.notes[what] = self.notes.get(what, 0) + n

    def _timed_video(self, grey: bool) -> Timed:
        """Every decoded frame by its seconds from the recording's start."""
        start_s = self.span.start_s
        frames = first = None
        if start_s > LEAD_S:
            frames = self._decoded(start_s - LEAD_S, grey)
            first = next(frames, None)
        # Without an index a seek may land behind its aim: then from the beginning.
        if first is None or first[0] is None or first[0] > start_s:
            frames = self._decoded(None, grey)
            first = next(frames, None)
        if first is None:
            return
        time_s = first[0] or 0.0
        yield time_s, first[1]
        for found_s, picture in frames:
            time_s = time_s + 1 / self.fps if found_s is None else found_s
            yield time_s, picture

    def _decoded(self, seek_s: float | None, grey: bool) -> Iterator[tuple]:
        """(seconds from the start or None, a call that gives the picture) of what is decoded."""
        with open_video(self.span.path) as container:
            stream = container.streams.best("video")
            stream.codec_context.thread_count = 1  # there is a process for every core
            origin_s = (container.start_time or 0) / av.time_base
            ratio = stream.sample_aspect_ratio
            try:
                if seek_s is not None:
                    container.seek(int((origin_s + seek_s) * av.time_base))
                for packet in container.demux(stream):
                    for frame in self._decode(packet):
                        self._tick()
                        if frame.is_corrupt:
                            self._note("frames that are damaged")
                        time_s = None if frame.time is None else frame.time - origin_s
                        yield time_s, lambda frame=frame: _picture(frame, ratio, grey)
            except av.error.FFmpegError:  # the file breaks off
                self._note("packets that cannot be decoded")

    def _decode(self, packet) -> list:
        try:
            return packet.decode()
        except av.error.FFmpegError:
            self._note("packets that cannot be decoded")
            return []

    def _timed_pictures(self, grey: bool) -> Timed:
        for i, path in enumerate(in_order(self.span.path)):
            self._tick()
            yield i / self.fps, lambda path=path: _read_picture(path, grey)


def _rate(container) -> float:
    """Frames a second: the container's mean rate, or where it has none that of its packets."""
    stream = container.streams.best("video")
    rate = float(stream.average_rate or 0)
    if not RATES[0] <= rate <= RATES[1]:
        times = []
        for packet in container.demux(stream):
            if packet.pts is not None:
                times.append(float(packet.pts * packet.time_base))
            if len(times) == PROBED:
                break
        rate = (len(times) - 1) / max(np.ptp(times), 1e-9) if len(times) > 1 else 0.0
    if not RATES[0] <= rate <= RATES[1]:
        raise Unreadable(
            f"found {rate:g} frames a second, wanted {RATES[0]:g} to {RATES[1]:g}: "
            "encode the video again"
        )
    return rate


def _picture(frame, ratio, grey: bool) -> np.ndarray:
    """The frame as it is meant to be seen: square pixels, upright."""
    if ratio and ratio != 1 and 0.25 <= ratio <= 4:
        width = max(1, round(frame.width * ratio))
        check_size(width, frame.height)
        frame = frame.reformat(width=width)
    picture = frame.to_ndarray(format="gray" if grey else "rgb24")
    # Degrees against the clock, as phones that were held upright store them.
    turns = round((frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns))


def _read_picture(path: Path, grey: bool) -> np.ndarray:
    try:
        with open_picture(path) as image:
            upright = ImageOps.exif_transpose(image)
            return np.asarray(upright.convert("L" if grey else "RGB"))
    except Unreadable as reason:
        raise Unreadable(f"{path.name}: {reason}") from reason
