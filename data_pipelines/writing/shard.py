"""One shard of a dataset: reads its rows, writes their clips; complete or not there at all."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from signbind_jax import files, keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.record import features, labels_to_json
from signbind_jax.data_pipelines.corpus import ReadResult, Row, read_clips
from signbind_jax.data_pipelines.writing.build_report import BuildReport
from signbind_jax.errors import SignBindError


@dataclass(frozen=True)
class Shard:
    """What has to be read and where it goes.

    Attributes:
      path: of the records; the summary stands beside it.
      split: of all its clips.
      rows: one for each clip, in the order of the split.
      read: see `Corpus`.
      strict: makes a clip that would be left out an error.
    """

    path: Path
    split: str
    rows: Sequence[Row]
    read: Callable[[Row], ReadResult]
    strict: bool = False

    @property
    def summary_path(self) -> Path:
        """The file that says the shard is complete."""
        return self.path.with_suffix(".npz")


@dataclass(frozen=True)
class Summary:
    """What a written shard holds, without its arrays.

    Attributes:
      labels: one line of JSON a clip.
      pose_lengths, lip_lengths: int32 frames by clip.
      n_bytes: size of its records.
      report: what was repaired and left out in it.
    """

    labels: list[str]
    pose_lengths: np.ndarray
    lip_lengths: np.ndarray
    n_bytes: int
    report: BuildReport

    def __len__(self) -> int:
        return len(self.labels)


def write_shard(shard: Shard, tick: Callable[[], None] = lambda: None) -> None:
    """Reads the rows of a shard and writes the clips, unless that was done before.

    The records appear under their name when they are whole, and the summary after them: what
    a killed process leaves is written again by the next.

    Args:
      tick: called after every row, for a progress bar.

    Raises:
      SignBindError: a clip breaks its own contract or, where `strict`, would be left out; the
        disk is full.
    """
    if is_written(shard):
        for _ in shard.rows:
            tick()
        return
    report = BuildReport()
    labels, pose_lengths, lip_lengths = [], [], []
    partial = shard.path.with_suffix(f".partial-{os.getpid()}")
    with _errors_in_one_line(shard):
        writer = ArrayRecordWriter(str(partial), "group_size:1")
        try:
            for clip in _clips(shard, report, tick):
                writer.write(_serialised(clip))
                labels.append(labels_to_json(clip))
                pose_lengths.append(clip.n_pose_frames)
                lip_lengths.append(clip.n_lip_frames)
        finally:
            with contextlib.suppress(RuntimeError):  # of a full disk; the check below tells
                writer.close()
        _check_complete(partial, len(labels))
        partial.rename(shard.path)
        _write_summary(shard, labels, pose_lengths, lip_lengths, report)


def is_written(shard: Shard) -> bool:
    """Whether the shard is there, records and summary."""
    try:
        summary = read_summary(shard)
        return shard.path.stat().st_size == summary.n_bytes
    except (OSError, ValueError, KeyError, SignBindError):  # not there, or damaged
        return False


def read_summary(shard: Shard) -> Summary:
    """The summary of a written shard."""
    arrays = files.read_arrays(shard.summary_path)
    lines = arrays["labels"].tobytes().decode()
    report = BuildReport.from_json(json.loads(arrays["report"].tobytes()))
    return Summary(
        lines.split("\n") if lines else [],
        arrays["pose_lengths"],
        arrays["lip_lengths"],
        int(arrays["n_bytes"]),
        report,
    )


def _clips(shard: Shard, report: BuildReport, tick: Callable[[], None]) -> Iterator[Clip]:
    for clip in read_clips(_ticking(shard.rows, tick), shard.read, report, shard.strict):
        check_clip(clip, shard.split)
        yield clip


def _ticking(rows: Sequence[Row], tick: Callable[[], None]) -> Iterator[Row]:
    for row in rows:
        yield row
        tick()


def check_clip(clip: Clip, split: str) -> None:
    """Whether a clip keeps the contract of `Clip`.

    Raises:
      SignBindError: the field that does not, what was found and what was wanted.
    """

    def fail(field: str, found, wanted: str):
        raise SignBindError(
            f"clip {clip.id!r} of split {split}: {field}: found {found}, wanted {wanted}"
        )

    if clip.pose is None and not clip.lips:
        fail("pose and lips", "neither", "at least one")
    if clip.pose is None and clip.pose_fps != 0:
        fail("pose_fps", clip.pose_fps, "0 where there is no pose")
    if clip.pose is not None:
        shape, kind = clip.pose.shape, clip.pose.dtype
        if kind != np.float16 or len(shape) != 3 or shape[1:] != (keypoints.K, 3) or not shape[0]:
            fail("pose", f"{kind} {shape}", f"float16 (frames, {keypoints.K}, 3) with frames")
        if not np.isfinite(clip.pose).all():
            fail("pose", "values that are not finite", "(0, 0, 0) for a missing keypoint")
        if not clip.pose_fps:
            fail("pose_fps", clip.pose_fps, "frames a second above 0")
    if not bool(clip.lips) == bool(clip.n_lip_frames) == bool(clip.lip_fps):
        fail(
            "lips",
            f"{len(clip.lips)} bytes, {clip.n_lip_frames} frames, {clip.lip_fps} a second",
            "all three above 0, or all 0",
        )


@functools.cache
def _encoder():
    features_ = features()
    serializer = tfds.core.example_serializer.ExampleSerializer(features_.get_serialized_info())
    return features_.encode_example, serializer.get_tf_example


def _serialised(clip: Clip) -> bytes:
    encode, make_message = _encoder()
    record = {name: getattr(clip, name) for name in clip.__dataclass_fields__}
    if clip.pose is None:
        record["pose"] = np.zeros((0, keypoints.K, 3), np.float16)
    record["pose_fps"], record["lip_fps"] = np.float64(clip.pose_fps), np.float64(clip.lip_fps)
    message = make_message(
        encode({n: list(x) if isinstance(x, tuple) else x for n, x in record.items()})
    )
    # Otherwise the order of its fields follows from the process that wrote it.
    return message.SerializeToString(deterministic=True)


def _write_summary(shard: Shard, labels, pose_lengths, lip_lengths, report: BuildReport) -> None:
    def as_bytes(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8)

    partial = shard.summary_path.with_suffix(f".partial-{os.getpid()}.npz")
    np.savez(
        partial,
        labels=as_bytes("\n".join(labels)),
        pose_lengths=np.asarray(pose_lengths, np.int32),
        lip_lengths=np.asarray(lip_lengths, np.int32),
        n_bytes=shard.path.stat().st_size,
        report=as_bytes(json.dumps(report.to_json())),
    )
    partial.rename(shard.summary_path)


@contextlib.contextmanager
def _errors_in_one_line(shard: Shard) -> Iterator[None]:
    """array_record reports a full disk as a RuntimeError of several lines."""
    try:
        yield
    except RuntimeError as error:
        raise SignBindError(f"{shard.path.name}: cannot be written: {_one_line(error)}") from error
    except OSError as error:
        raise SignBindError(
            f"{error.filename or shard.path.name}: {error.strerror or error}"
        ) from error


def _check_complete(path: Path, wanted: int) -> None:
    """A full disk may show only when a shard is read again."""
    try:
        reader = ArrayRecordReader(str(path))
        found = reader.num_records()
        reader.close()
    except RuntimeError:  # less than a header was written
        found = 0
    if found != wanted:
        raise SignBindError(
            f"{path}: found {found} records after writing, wanted {wanted}: is the disk full?"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
