"""`signbind data clips`: which part of which recording every row of a corpus is.

The list is tab-separated with CSV quoting and a header row: `id`, `video` (or a directory of
pictures), `start_s` and `end_s` in seconds, `fps`. Only `id` and `video` are required; an empty
`start_s` is the recording's start, an empty `end_s` its end, and `fps` is for directories alone.
"""

import argparse
import csv
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path

from signbind_jax import files
from signbind_jax.data_pipelines import build
from signbind_jax.data_pipelines.corpus import Recording, UniqueIds, check_rows
from signbind_jax.data_pipelines.writing.build_report import some_of
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import unknown_name

COLUMNS = ("id", "video", "start_s", "end_s", "fps")
REQUIRED = ("id", "video")
parse = build.parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What all corpora share; `parse` adds those of the corpus."""
    build.add_corpus_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        required=True,
        help="the list to write, such as clips.tsv",
    )


def run(arguments: argparse.Namespace) -> int:
    """Lists the recordings of a corpus for `signbind extract --list`.

    Rows whose recording is not there are counted. The corpus takes the options that it takes in
    `signbind data build`.
    """
    corpus = build.open_corpus(arguments)
    check_rows(corpus)
    recordings: dict[str, Recording] = {}
    without: list[str] = []
    for row in (row for rows in corpus.splits.values() for row in rows):
        recording = corpus.recording(row)
        if recording is None:
            without.append(row.id)
        else:
            recordings[row.id] = recording
    if not recordings:
        raise SignBindError(
            f"{arguments.corpus}: found no recording of any of {len(without)} "
            "rows, wanted videos where `signbind data clips "
            f"{arguments.corpus} --help` says"
        )
    write_clip_list(arguments.out, recordings)
    if without:
        print(f"no recording: {len(without)} ({some_of(without)})")
    print(f"{len(recordings)} clips listed in {arguments.out}")
    return 0


def write_clip_list(path: Path, recordings: dict[str, Recording]) -> None:
    """Writes clip id -> recording as a list, whole or not at all.

    Raises:
      SignBindError: the file cannot be written.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table, "excel-tab", lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip_id, (video, start_s, end_s, fps) in recordings.items():
        end = "" if end_s is None else repr(float(end_s))
        writer.writerow(
            [
                clip_id,
                os.path.abspath(video),
                repr(float(start_s)),
                end,
                repr(float(fps)) if fps else "",
            ]
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SignBindError(f"{path}: cannot be written: {error.strerror or error}") from error
    files.write(path, table.getvalue())


def read_clip_list(path: Path) -> dict[str, Recording]:
    """Clip id -> recording of a list; relative videos lie beside it.

    Raises:
      SignBindError: no such file; a wrong header, id or number, by its line.
    """
    table = io.StringIO(files.read_text(path), newline="")
    try:
        return _recordings(path, csv.DictReader(table, dialect="excel-tab", strict=True))
    except csv.Error as error:
        raise SignBindError(
            f"{path}: is no tab-separated list with CSV quoting ({error}): write "
            "it with signbind data clips"
        ) from error


def _recordings(path: Path, table: csv.DictReader) -> dict[str, Recording]:
    header = table.fieldnames or []
    for name in header:
        if name not in COLUMNS:
            raise SignBindError(f"{path}: {unknown_name('column', name, COLUMNS)}")
    for name in REQUIRED:
        if name not in header:
            raise SignBindError(
                f"{path}: column {name!r} is missing; found {' '.join(header) or 'an empty file'}"
            )
    recordings: dict[str, Recording] = {}
    ids = UniqueIds()
    for cells in table:
        where = f"{path}:{table.line_num}"
        if None in cells:
            raise SignBindError(
                f"{where}: found {len(header) + len(cells[None])} fields, wanted "
                f"{len(header)} as in the header"
            )
        clip_id, video = cells["id"] or "", cells["video"] or ""
        if not video:
            raise SignBindError(f"{where}: video: found nothing, wanted a file")
        try:
            ids.add(clip_id, f"on line {table.line_num}")
            start_s, end_s, fps = (_seconds(cells, name) for name in COLUMNS[2:])
            recording = Recording(path.parent / video, start_s or 0.0, end_s, fps or 0.0)
            if end_s is not None and end_s <= recording.start_s:
                raise SignBindError(
                    f"end_s: found {end_s:g}, wanted more than start_s, {recording.start_s:g}"
                )
        except SignBindError as error:
            raise SignBindError(f"{where}: {error}") from error
        recordings[clip_id] = recording
    if not recordings:
        raise SignBindError(f"{path}: found no clip below the header, wanted at least one")
    return recordings


def _seconds(cells: dict, column: str) -> float | None:
    """A number of at least 0; None where the cell is empty."""
    text = (cells.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise SignBindError(f"{column}: found {text!r}, wanted a number of at least 0")
    return value


def clip_list_of(videos: Iterable[Path], fps: float) -> dict[str, Recording]:
    """Clip id -> recording of videos and directories of pictures, named by their files.

    Args:
      fps: frames a second of directories.

    Raises:
      SignBindError: two of one name; a directory without `fps`.
    """
    recordings: dict[str, Recording] = {}
    ids = UniqueIds()
    for video in videos:
        path = Path(os.path.abspath(video))
        is_directory = path.is_dir()
        clip_id = path.name if is_directory else path.stem
        if is_directory and not fps:
            raise SignBindError(
                f"{video}: a directory of pictures states no frame rate: give --fps"
            )
        try:
            ids.add(clip_id, f"for {path}")
        except SignBindError as error:
            raise SignBindError(f"{video}: {error}: give ids with --list") from error
        recordings[clip_id] = Recording(path, fps=fps if is_directory else 0.0)
    return recordings
