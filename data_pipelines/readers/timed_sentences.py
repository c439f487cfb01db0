"""Sentences that are spans of long recordings: their rows, their clips, the videos they lie in."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from signbind_jax.data.clip import Clip
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, Recording
from signbind_jax.data_pipelines.readers.directories import check_directories, inside
from signbind_jax.data_pipelines.readers.extracted import find, read_extracted
from signbind_jax.data_pipelines.readers.options import (
    LIP_SIZE,
    add_directory,
    add_lip_size,
    add_number,
    duration,
)
from signbind_jax.errors import SignBindError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm")
SPLITS = {"val": "validation", "valid": "validation", "dev": "validation", "public_test": "test"}
_SLACK_S = 0.2  # a frame on either side, and what a container's clock is off
_SLACK = 0.05  # share of the sentence, besides


def common_names(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Splits under the names in common use here, each as it is where two would share one."""
    names = [SPLITS.get(split, split) for split in splits]
    return {
        name if names.count(name) == 1 else split: rows
        for name, (split, rows) in zip(names, splits.items())
    }


class Sentence(NamedTuple):
    """A span of a recording with its text. Of a corpus of millions, all are in memory at once.

    Attributes:
      id: of the clip.
      video: the recording's file name without suffix.
      start_ms, end_ms: in the recording, without padding; both 0 where times are not known.
      text: the sentence.
      gloss: see `Clip`.
      notes: what the listing decided about it, to be counted in the build's report.
    """

    id: str
    video: str
    start_ms: int
    end_ms: int
    text: str
    gloss: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PoseSource(NamedTuple):
    """Where the poses of sentences come from.

    Attributes:
      directory: what extraction wrote; None where nothing was extracted.
      lip_size: side of the mouth crops in pixels.
      padding_s: seconds of recording that the poses hold on either side of a sentence.
    """

    directory: Path | None = None
    lip_size: int = LIP_SIZE
    padding_s: float = 0.0

    def record(self) -> dict:
        """What of `Corpus.source` it decides."""
        poses = str(self.directory.absolute()) if self.directory else ""
        return {"poses": poses, "lip_size": self.lip_size, "padding_s": self.padding_s}


NO_POSES = PoseSource()


def read_sentence(
    row: Sentence,
    poses: PoseSource,
    signed_language: str,
    recording: Callable[[Sentence], Recording | None] | None = None,
) -> ReadResult:
    """The clip of an English sentence, its pose found by the clip's id.

    Args:
      recording: as in `Corpus`, where videos are at hand: tells a video that is gone from one
        that was not extracted.

    Raises:
      SignBindError: there is no pose, it cannot be read, or it is not the sentence's.
    """
    if poses.directory is None:
        raise SignBindError("no pose: run signbind extract and give what it wrote as --poses=DIR")
    try:
        path = find_any(poses.directory, row.id)
    except SignBindError as error:
        if recording is None or recording(row) is not None:
            raise
        raise SignBindError(
            "no pose file and no video: the video is gone or was not fetched"
        ) from error
    modalities, repaired = read_extracted(path, poses.lip_size)
    if row.end_ms:
        repaired |= _duration_notes(modalities["pose"].seconds, row, poses.padding_s)
    clip = Clip(
        id=row.id,
        text=row.text,
        text_language="en",
        signed_language=signed_language,
        gloss=row.gloss,
        modalities=modalities,
        recording=row.video,
        start_s=row.start_ms / 1000 if row.end_ms else None,
    )
    return ReadResult(clip, repaired | dict.fromkeys(row.notes, 1))


def file_names(clip_id: str) -> list[str]:
    """What a clip's files may be called: tools that avoid ":" put "-" or "_" in its place."""
    return list(dict.fromkeys(clip_id.replace(":", mark) for mark in ":-_"))


def find_any(poses: Path, clip_id: str) -> Path:
    """The pose file of a clip under any of its names.

    Raises:
      SignBindError: see `data_pipelines.readers.extracted.find`.
    """
    names = file_names(clip_id)
    for name in names[:-1]:
        with contextlib.suppress(SignBindError):
            return find(poses, name)
    return find(poses, names[-1])


def _duration_notes(pose_s: float, row: Sentence, padding_s: float) -> dict[str, int]:
    """Poses and times drift apart when options change between extraction and build."""
    sentence_s = (row.end_ms - row.start_ms) / 1000
    wanted_s = sentence_s + padding_s + min(padding_s, row.start_ms / 1000)
    slack_s = _SLACK_S + _SLACK * wanted_s
    if pose_s > wanted_s + slack_s:
        raise SignBindError(
            "pose: lasts longer than the sentence and its padding: extract and build with the "
            "same options"
        )
    if pose_s < wanted_s / 2 - slack_s:
        raise SignBindError(
            "pose: lasts less than half of the sentence and its padding: the video ends before, "
            "or other options were given to extract"
        )
    if pose_s < wanted_s - slack_s:
        return {"pose: shorter than the sentence, whose end lies past the video's": 1}
    return {}


def recording_of(row: Sentence, videos: Path | None, padding_s: float = 0.0) -> Recording | None:
    """The part of a video that a sentence is; None where the video is not there."""
    if videos is None:
        return None
    path = video_of(videos, row.video)
    if path is None or not row.end_ms:
        return None
    start_s = max(row.start_ms / 1000 - padding_s, 0.0)
    return Recording(path, start_s, row.end_ms / 1000 + padding_s)


def video_of(videos: Path, name: str) -> Path | None:
    """A video by its name without suffix; None where it is not there."""
    paths = (inside(videos, name + suffix) for suffix in VIDEO_SUFFIXES)
    return next(filter(None, paths), None)


def add_pose_arguments(parser) -> None:
    """The options of `PoseSource`."""
    add_directory(parser, "poses", "what signbind extract wrote: CLIP_ID.npz or CLIP_ID.pose")
    add_lip_size(parser)
    padding = "recording kept on either side of a sentence; the same for extract and build"
    add_number(parser, "padding", duration, 0.0, "SECONDS", padding)


def poses_from(arguments) -> PoseSource:
    """The poses that parsed arguments ask for.

    Raises:
      SignBindError: no such directory.
    """
    check_directories(poses=arguments.poses)
    return PoseSource(arguments.poses, arguments.lip_size, arguments.padding)


def timed_corpus(
    record: Mapping,
    source: Path,
    rows: Mapping[str, Sequence[Sentence]],
    left_out: Mapping[str, Sequence[str]],
    poses: PoseSource,
    *,
    signed_language: str,
    recording: Callable[[Sentence], Recording | None],
    videos: bool,
    published: Mapping[str, int] | None = None,
) -> Corpus:
    """A corpus of English sentences that are spans of recordings.

    Args:
      record: of its source: `corpus`, `citation` and the options that change a clip.
      source: its directory.
      videos: whether recordings are at hand.
    """
    read = partial(
        read_sentence,
        poses=poses,
        signed_language=signed_language,
        recording=recording if videos else None,
    )
    place = {"synthetic": False, "directory": str(source.absolute())}
    return Corpus(
        rows, read, {**place, **record, **poses.record()}, left_out, published or {}, recording
    )
