"""Writes a corpus as a TFDS dataset of ArrayRecord shards, complete or not at all.

A shard is a fixed run of a split's rows, so that any number of processes writes the same bytes.
Shards lie in a hidden directory beside the dataset until all are there: a build that was killed
goes on with those it finds.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from signbind_jax import files, keypoints
from signbind_jax.data.dataset import (
    DATASET_FILE,
    FORMAT_VERSION,
    digest_of_json,
    file_digest,
    index_file,
)
from signbind_jax.data.record import LENGTHS, STREAMS, features, streams_of
from signbind_jax.data_pipelines.corpus import Corpus, check_rows
from signbind_jax.data_pipelines.writing.build_report import BuildReport
from signbind_jax.data_pipelines.writing.shard import Shard, Summary, read_summary
from signbind_jax.data_pipelines.writing.shard_pool import write_shards
from signbind_jax.errors import SignBindError

TFDS_NAME = "signbind"
CLIPS_PER_SHARD = 1000
_LOCK = ".writer"
_PLAN = "plan.sha256"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"


def write_dataset(
    out: Path,
    corpus: Corpus,
    *,
    overwrite: bool = False,
    strict: bool = False,
    clips_per_shard: int = CLIPS_PER_SHARD,
    workers: int = 1,
    progress: bool = True,
    run: Callable[[list[Shard]], None] | None = None,
) -> BuildReport:
    """Writes the corpus under `out`, which comes into being complete or not at all.

    A split without clips is left out. What an earlier, killed call for the same rows finished
    is not done again.

    Args:
      out: the dataset's directory; must not exist, be empty, or hold a dataset to overwrite.
      strict: a clip that cannot be read ends the build instead of being left out.
      clips_per_shard: rows a shard.
      workers: processes that read clips; the dataset does not depend on it.
      run: writes the shards in another way, such as on a Beam runner.

    Returns:
      What was written, repaired and left out; stored with the dataset, too.

    Raises:
      SignBindError: `out` is taken; two rows share an id; a clip breaks its own contract;
        nothing to write; another build is under way; the disk is full.
    """
    out = Path(out).absolute()
    _refuse_taken(out, overwrite)
    check_rows(corpus)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _building(out, corpus, clips_per_shard) as building:
            shards = _shards(building, corpus, clips_per_shard, strict)
            if run is None:
                write_shards(shards, workers, progress)
            else:
                run(shards)
            report = _finish(building, shards, corpus)
            _take_the_name(building, out)
    except OSError as error:
        raise SignBindError(f"{out}: cannot be written: {error.strerror or error}") from error
    return report


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise SignBindError(f"{out}: found a file, wanted a new directory: choose another --out")
    if not any(out.iterdir()):
        return
    if not (out / DATASET_FILE).is_file():
        raise SignBindError(
            f"{out}: is not empty and holds no {DATASET_FILE}, so it is no dataset "
            "and stays untouched: choose another --out"
        )
    if not overwrite:
        raise SignBindError(f"{out}: already holds a dataset: choose another --out or --overwrite")


@contextlib.contextmanager
def _building(out: Path, corpus: Corpus, clips_per_shard: int) -> Iterator[Path]:
    """The locked directory beside `out` in which the dataset grows.

    Shards of the same plan that lie in it are kept, those of another are removed. On an error it
    is removed where nothing in it is finished.
    """
    directory = out.with_name(f".{out.name}.building")
    directory.mkdir(exist_ok=True)
    with open(directory / _LOCK, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SignBindError(
                f"{out}: another build of it is under way: wait for it, or choose another --out"
            ) from error
        plan = _plan_digest(corpus, clips_per_shard)
        if not (directory / _PLAN).is_file() or (directory / _PLAN).read_bytes() != plan.encode():
            for left in directory.iterdir():
                if left.name != _LOCK:
                    left.unlink()
            (directory / _PLAN).write_text(plan)
        for left in directory.glob("*.partial-*"):
            left.unlink()
        try:
            yield directory
        except BaseException:
            if directory.exists() and not any(directory.glob("*.npz")):
                shutil.rmtree(directory, ignore_errors=True)
            raise


def _plan_digest(corpus: Corpus, clips_per_shard: int) -> str:
    """Which clip goes where: a build that differs in it starts anew."""
    return digest_of_json(
        {
            "format": FORMAT_VERSION,
            "keypoint_layout": keypoints.LAYOUT_VERSION,
            "source": corpus.source,
            "clips_per_shard": clips_per_shard,
            "rows": {split: [row.id for row in rows] for split, rows in corpus.splits.items()},
        }
    )


def _shards(building: Path, corpus: Corpus, clips_per_shard: int, strict: bool) -> list[Shard]:
    return [
        Shard(
            building / f"{split}-{start // clips_per_shard:05d}.shard",
            split,
            rows[start : start + clips_per_shard],
            corpus.read,
            strict,
        )
        for split, rows in corpus.splits.items()
        for start in range(0, len(rows), clips_per_shard)
    ]


def _finish(building: Path, shards: list[Shard], corpus: Corpus) -> BuildReport:
    """Names the shards, writes indices and descriptions."""
    report = BuildReport(left_out={r: list(ids) for r, ids in corpus.left_out.items()})
    for split in corpus.splits:
        report.written[split] = 0
    infos, names, streams = [], {}, set()
    for split in corpus.splits:
        done = [(shard, read_summary(shard)) for shard in shards if shard.split == split]
        for _, summary in done:
            report.add(summary.report)
        done = [(shard, summary) for shard, summary in done if len(summary)]
        if not done:
            continue
        lengths = [len(summary) for _, summary in done]
        report.written[split] = sum(lengths)
        shard_files = _file_names(split, building, len(done))
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths,
                num_bytes=sum(s.n_bytes for _, s in done),
                filename_template=_template(split, building),
            )
        )
        names[split] = dict(zip(shard_files, lengths, strict=True))
        _write_index(building, split, [summary for _, summary in done])
        streams.update(*(streams_of(summary.labels) for _, summary in done))
        for (shard, _), name in zip(done, shard_files, strict=True):
            shard.path.rename(building / name)
    if not names:
        shutil.rmtree(building)
        raise SignBindError(
            f"{corpus.place}: no clip to write: {'; '.join(report.lines()) or 'no splits'}"
        )
    for shard in shards:
        shard.path.unlink(missing_ok=True)  # of no clips
        shard.summary_path.unlink()
    (building / _PLAN).unlink()
    _write_tfds_info(building, infos)
    _describe(building, names, report, corpus, sorted(streams))
    return report


def _template(split: str, directory: Path) -> tfds.core.ShardedFileTemplate:
    return tfds.core.ShardedFileTemplate(
        dataset_name=TFDS_NAME,
        data_dir=directory,
        split=split,
        filetype_suffix="array_record",
        template=_TEMPLATE,
    )


def _file_names(split: str, directory: Path, n: int) -> list[str]:
    template = _template(split, directory)
    return [template.sharded_filepath(shard_index=i, num_shards=n).name for i in range(n)]


def _write_index(building: Path, split: str, summaries: list[Summary]) -> None:
    """Lengths and labels by clip, so that planning and targets need no pass over the data."""
    lines = "\n".join("\n".join(summary.labels) for summary in summaries).encode()
    np.savez_compressed(
        building / index_file(split),
        labels=np.frombuffer(lines, np.uint8),
        **{
            name: np.concatenate([summary.lengths[modality] for summary in summaries])
            for modality, name in LENGTHS.items()
        },
    )


def _write_tfds_info(building: Path, splits: list) -> None:
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=TFDS_NAME,
        version="1.0.0",
        data_dir=str(building),
        module_name="signbind_jax.data_pipelines.writing.writer",
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=features(),
        description="Signed sentences: poses, mouth crops, labels and text.",
    )
    info.set_file_format("array_record")
    info.set_splits(tfds.core.splits.SplitDict(splits))
    info.write_to_directory(str(building))


def _describe(
    building: Path,
    shards: dict[str, dict[str, int]],
    report: BuildReport,
    corpus: Corpus,
    streams: list[str],
) -> None:
    """Writes `dataset.json`: contents, origin and digests of the whole dataset."""
    description = {
        "format": FORMAT_VERSION,
        "keypoint_layout": keypoints.LAYOUT_VERSION,
        "features": sorted(features()),
        "source": corpus.source,
        "published": dict(corpus.published),
        "report": report.to_json(),
        "splits": {
            split: {"clips": sum(shards[split].values()), "shards": shards[split]}
            for split in shards
        },
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(building.iterdir())
            if path.name != _LOCK
        },
    }
    if streams:  # came later: what has none is described as before
        description[STREAMS] = streams
    description["digest"] = digest_of_json(description)
    text = json.dumps(description, indent=1, ensure_ascii=False)
    files.write(building / DATASET_FILE, text + "\n")


def _take_the_name(building: Path, out: Path) -> None:
    (building / _LOCK).unlink()
    old = None
    if out.is_dir() and any(out.iterdir()):
        old = out.with_name(f".{out.name}.old-{os.getpid()}")
        out.rename(old)
    try:
        building.rename(out)
    except OSError:
        if old is not None:
            old.rename(out)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
