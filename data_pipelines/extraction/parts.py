"""Videos of any length, extracted in consecutive parts: one file each holds minutes, not hours."""

from collections.abc import Iterator
from pathlib import Path

from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.extraction.worker.opening import Unreadable, open_video
from signbind_jax.errors import SignBindError, from_extra

# Seconds of a part. The last may have nearly twice as many: at 240 frames a second that is about as
# many frames as a clip may have.
PART_S = 100.0


def parts_of_video(clip_id: str, video: Path) -> dict[str, Recording]:
    """What to extract of a video, by clip id: all of it at once where it is short, else its parts
    as `clip_id/0000` and on.

    Raises:
      SignBindError: it cannot be read as a video.
    """
    n_parts = int(seconds_of(video) // PART_S)
    if n_parts < 2:
        return {clip_id: Recording(video.absolute())}
    spans = [(i * PART_S, (i + 1) * PART_S if i + 1 < n_parts else None) for i in range(n_parts)]
    return {
        f"{clip_id}/{i:04d}": Recording(video.absolute(), start_s, end_s)
        for i, (start_s, end_s) in enumerate(spans)
    }


def seconds_of(video: Path) -> float:
    """When the last frame of a video ends, from its packets: what a file states may be wrong.

    Raises:
      SignBindError: it cannot be read as a video.
    """
    try:
        with from_extra("corpora", "videos"), open_video(video) as container:
            return max(_packet_ends(container), default=0.0)
    except Unreadable as reason:
        raise SignBindError(f"{video}: {reason}") from reason


def _packet_ends(container) -> Iterator[float]:
    import av

    origin_s = (container.start_time or 0) / av.time_base
    try:
        for packet in container.demux(container.streams.best("video")):
            if packet.pts is not None:
                yield float((packet.pts + (packet.duration or 0)) * packet.time_base) - origin_s
    except av.error.FFmpegError:  # the file breaks off
        return
