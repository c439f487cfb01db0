"""Writes clips as a TFDS dataset of ArrayRecord shards, complete or not at all."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader
from tqdm import tqdm

from data_pipelines.build_report import BuildReport
from signbind_jax import keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import (
    DATASET_FILE,
    FORMAT_VERSION,
    digest_of_json,
    file_digest,
    index_file,
    labels_to_json,
)
from signbind_jax.errors import SignBindError

TFDS_NAME = "signbind"
_CLIPS_PER_CALL = 64  # SequentialWriter rewrites its metadata at every call
_LOCK = ".writer"


def features() -> tfds.features.FeaturesDict:
    """The TFDS features of one clip; `Encoding.BYTES` keeps numbers exact and fast to read."""
    kinds = tfds.features
    raw = kinds.Encoding.BYTES
    texts = kinds.Sequence(kinds.Text())
    return kinds.FeaturesDict({
        "id": kinds.Text(),
        "text": kinds.Text(),
        "text_language": kinds.Text(),
        "signed_language": kinds.Text(),
        "signer": kinds.Text(),
        "pose": kinds.Tensor(shape=(None, keypoints.K, 3), dtype=np.float16, encoding=raw),
        "pose_fps": kinds.Tensor(shape=(), dtype=np.float64, encoding=raw),
        "lips": kinds.Text(),  # holds any bytes; an Image feature would need TensorFlow
        "n_lip_frames": kinds.Scalar(np.int32),
        "lip_fps": kinds.Tensor(shape=(), dtype=np.float64, encoding=raw),
        "gloss": texts, "spelled": texts, "phonemes": texts, "senses": texts,
        "contrasts": texts, "homonym_pairs": texts,
    })  # fmt: skip


def write_dataset(
    out: Path,
    splits: dict[str, Callable[[], Iterable[Clip]]],
    report: BuildReport,
    *,
    source: dict,
    overwrite: bool = False,
    clips_per_shard: int = 1000,
    expected: dict[str, int] | None = None,
    progress: bool = True,
) -> None:
    """Writes `splits` under `out`, which comes into being complete or not at all.

    Everything is written into a temporary directory beside `out`, which takes its name at the
    end. A split without clips is left out.

    Args:
      out: the dataset's directory; must not exist, be empty, or hold a dataset to overwrite.
      splits: split name -> a function that gives its clips.
      report: counts of the build, stored with the dataset; `written` is counted here.
      source: JSON-ready record of where the clips come from.
      expected: clips a split, where known, for the progress bar.

    Raises:
      SignBindError: `out` is taken; two clips share an id; a clip breaks its own contract;
        nothing to write; the disk is full.
    """
    out = Path(out).absolute()
    _refuse_taken(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _partial_directory(out) as partial:
            shards = _write_shards(partial, splits, report, clips_per_shard, expected, progress)
            _describe(partial, shards, report, source)
            _take_the_name(partial, out)
    except OSError as error:
        raise SignBindError(f"{out}: cannot be written: {error.strerror or error}") from error


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise SignBindError(f"{out}: found a file, wanted a new directory: choose another --out")
    if not any(out.iterdir()):
        return
    if not (out / DATASET_FILE).is_file():
        raise SignBindError(f"{out}: is not empty and holds no {DATASET_FILE}, so it is no dataset "
                            "and stays untouched: choose another --out")  # fmt: skip
    if not overwrite:
        raise SignBindError(f"{out}: already holds a dataset: choose another --out or --overwrite")


@contextlib.contextmanager
def _partial_directory(out: Path) -> Iterator[Path]:
    """A locked directory beside `out`, removed on failure; dead writers' ones are removed too."""
    prefix = f".{out.name}.partial-"
    for left in out.parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), open(left / _LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by its writer while it lives
            shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
    try:
        partial.chmod(0o755)
        with open(partial / _LOCK, "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield partial
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)


def _write_shards(
    partial: Path,
    splits: dict[str, Callable[[], Iterable[Clip]]],
    report: BuildReport,
    clips_per_shard: int,
    expected: dict[str, int] | None,
    progress: bool,
) -> dict[str, dict[str, int]]:
    """Writes records and indices; returns split -> shard file -> clips."""
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=TFDS_NAME, version="1.0.0", data_dir=str(partial), module_name="data_pipelines.writer"
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=features(),
        description="Signed sentences: poses, mouth crops, labels and text.",
    )
    writer = tfds.core.SequentialWriter(info, clips_per_shard, file_format="array_record")
    split_of_id: dict[str, str] = {}
    shards = {}
    for split, clips in splits.items():
        total = (expected or {}).get(split)
        quiet = None if progress else True  # None: shown on a terminal only
        with tqdm(clips(), desc=split, total=total, unit="clip", disable=quiet) as bar:
            index = _write_split(writer, split, bar, split_of_id)
        report.written[split] += len(index)
        if index:
            _write_index(partial, split, index)
            paths = sorted(partial.glob(f"{TFDS_NAME}-{split}.array_record-*"))
            lengths = info.splits[split].shard_lengths
            _check_complete(paths, lengths)
            shards[split] = {path.name: n for path, n in zip(paths, lengths, strict=True)}
    if not shards:
        reasons = "; ".join(report.lines()) or "no splits"
        raise SignBindError(f"no clip to write: {reasons}")
    return shards


def _write_split(writer, split: str, clips: Iterable[Clip], split_of_id: dict[str, str]) -> list:
    """Writes the records of one split; returns the clips without their arrays."""
    index, waiting = [], []
    for clip in clips:
        _check_clip(clip, split, split_of_id)
        split_of_id[clip.id] = split
        if not index:
            writer.initialize_splits([split])
        index.append((labels_to_json(clip), clip.n_pose_frames, clip.n_lip_frames))
        waiting.append(_record(clip))
        if len(waiting) == _CLIPS_PER_CALL:
            with _errors_in_one_line(split):
                writer.add_examples({split: waiting})
            waiting = []
    if index:
        with _errors_in_one_line(split):
            writer.add_examples({split: waiting})
            writer.close_splits([split])
    return index


@contextlib.contextmanager
def _errors_in_one_line(split: str) -> Iterator[None]:
    """array_record reports a full disk as a RuntimeError of several lines."""
    try:
        yield
    except RuntimeError as error:
        raise SignBindError(f"split {split}: cannot be written: {_one_line(error)}") from error


def _check_clip(clip: Clip, split: str, split_of_id: dict[str, str]) -> None:
    def fail(field: str, found, wanted: str):
        raise SignBindError(f"clip {clip.id!r} of split {split}: {field}: found {found}, "
                            f"wanted {wanted}")  # fmt: skip

    if not clip.id:
        fail("id", repr(clip.id), "a name")
    if clip.id in split_of_id:
        fail("id", f"it in split {split_of_id[clip.id]} already", "an id that occurs once")
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
        if not 0 < clip.pose_fps < np.inf:
            fail("pose_fps", clip.pose_fps, "frames a second above 0")
    if bool(clip.lips) != (clip.n_lip_frames > 0) or bool(clip.lips) != (0 < clip.lip_fps < np.inf):
        fail("lips", f"{len(clip.lips)} bytes, {clip.n_lip_frames} frames, {clip.lip_fps} a second",
             "all three above 0, or all 0")  # fmt: skip


def _record(clip: Clip) -> dict:
    record = {name: getattr(clip, name) for name in clip.__dataclass_fields__}
    if clip.pose is None:
        record["pose"] = np.zeros((0, keypoints.K, 3), np.float16)
    record["pose_fps"], record["lip_fps"] = np.float64(clip.pose_fps), np.float64(clip.lip_fps)
    return {name: list(x) if isinstance(x, tuple) else x for name, x in record.items()}


def _write_index(partial: Path, split: str, index: list) -> None:
    """Lengths and labels by clip, so that planning and targets need no pass over the data."""
    lines = "\n".join(labels for labels, _, _ in index).encode()
    np.savez_compressed(
        partial / index_file(split),
        labels=np.frombuffer(lines, np.uint8),
        pose_lengths=np.asarray([n for _, n, _ in index], np.int32),
        lip_lengths=np.asarray([n for _, _, n in index], np.int32),
    )


def _check_complete(shards: list[Path], n_clips: list[int]) -> None:
    """A full disk may show only when a shard is read again."""
    for path, wanted in zip(shards, n_clips, strict=True):
        try:
            reader = ArrayRecordReader(str(path))
            found = reader.num_records()
            reader.close()
        except RuntimeError as error:
            raise SignBindError(f"{path.name}: was not written completely (disk full?): "
                                f"{_one_line(error)}") from error  # fmt: skip
        if found != wanted:
            raise SignBindError(f"{path.name}: found {found} records after writing, wanted "
                                f"{wanted}: is the disk full?")  # fmt: skip


def _describe(partial: Path, shards: dict[str, dict[str, int]], report: BuildReport, source: dict):
    """Writes `dataset.json`: contents, origin and digests of the whole dataset."""
    description = {
        "format": FORMAT_VERSION,
        "keypoint_layout": keypoints.LAYOUT_VERSION,
        "features": sorted(features()),
        "source": source,
        "report": report.to_json(),
        "splits": {
            split: {"clips": sum(shards[split].values()), "shards": shards[split]}
            for split in shards
        },
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(partial.iterdir())
            if path.name != _LOCK
        },
    }
    description["digest"] = digest_of_json(description)
    text = json.dumps(description, indent=1, ensure_ascii=False)
    (partial / DATASET_FILE).write_text(text + "\n", encoding="utf-8")


def _take_the_name(partial: Path, out: Path) -> None:
    (partial / _LOCK).unlink()
    old = None
    if out.is_dir() and any(out.iterdir()):
        old = out.with_name(f".{out.name}.old-{os.getpid()}")
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old is not None:
            old.rename(out)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
