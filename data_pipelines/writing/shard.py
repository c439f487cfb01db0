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
from signbind_jax.data.clip import MODALITIES, Clip
from signbind_jax.data.record import LENGTHS, features, fields_of, labels_to_json
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
      lengths: modality -> int32 frames by clip.
      n_bytes: size of its records.
      report: what was repaired and left out in it.
    """

    labels: list[str]
    lengths: dict[str, np.ndarray]
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
    labels, lengths = [], {modality: [] for modality in LENGTHS}
    partial = shard.path.with_suffix(f".partial-{os.getpid()}")
    with _errors_in_one_line(shard):
        writer = ArrayRecordWriter(str(partial), "group_size:1")
        try:
            for clip in _clips(shard, report, tick):
                writer.write(_serialised(clip))
                labels.append(labels_to_json(clip))
                for modality, by_clip in lengths.items():
                    by_clip.append(clip.n_frames(modality))
        finally:
            with contextlib.suppress(RuntimeError):  # of a full disk; the check below tells
                writer.close()
        _check_complete(partial, len(labels))
        partial.rename(shard.path)
        _write_summary(shard, labels, lengths, report)


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
        {modality: arrays[name] for modality, name in LENGTHS.items()},
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

    if not clip.modalities and not clip.streams:
        fail(" and ".join(MODALITIES), "neither, and no streams", "at least one")
    for name, frames in clip.modalities.items():
        if not frames.n or not len(frames.data):
            fail(name, "no frames", "frames, or no such modality")
        if not frames.fps:
            fail(MODALITIES[name], frames.fps, "frames a second above 0")
    if pose := clip.modalities.get("pose"):
        shape, kind = pose.data.shape, pose.data.dtype
        if kind != np.float16 or len(shape) != 3 or shape != (pose.n, keypoints.K, 3):
            fail("pose", f"{kind} {shape}", f"float16 ({pose.n}, {keypoints.K}, 3)")
        if not np.isfinite(pose.data).all():
            fail("pose", "values that are not finite", "(0, 0, 0) for a missing keypoint")


@functools.cache
def _encoder():
    features_ = features()
    serializer = tfds.core.example_serializer.ExampleSerializer(features_.get_serialized_info())
    return features_.encode_example, serializer.get_tf_example


def _serialised(clip: Clip) -> bytes:
    encode, make_message = _encoder()
    message = make_message(encode(fields_of(clip)))
    # Otherwise the order of its fields follows from the process that wrote it.
    return message.SerializeToString(deterministic=True)


def _write_summary(
    shard: Shard, labels: list[str], lengths: dict[str, list[int]], report: BuildReport
) -> None:
    def as_bytes(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8)

    partial = shard.summary_path.with_suffix(f".partial-{os.getpid()}.npz")
    np.savez(
        partial,
        labels=as_bytes("\n".join(labels)),
        **{LENGTHS[modality]: np.asarray(n, np.int32) for modality, n in lengths.items()},
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
