"""OpenASL: sentences of YouTube videos, by a table of their times.

--source is the directory with the table and, for extraction, clips or whole videos:

  openasl-v1.0.tsv   or data/openasl-v1.0.tsv: tab-separated, columns by name: vid, yid, start, end,
                     raw-text, split; others are ignored
  clips/VID.mp4      cut clips, VID being like yid-00:00:05.333-00:00:11.166; with ":" or with "-"
                     or "_" in its place
  raw-video/YID.mp4  or videos/YID.mp4: whole videos

The split `valid` becomes `validation`. A clip's id is its vid; poses are found by it, with ":" or
with "-" or "_" in its place.
"""

import collections
import csv
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from signbind_jax import files
from signbind_jax.data_pipelines.corpus import Corpus, Recording
from signbind_jax.data_pipelines.readers import layout, tables
from signbind_jax.data_pipelines.readers.directories import (
    check_directories,
    first_directory,
    not_the_corpus,
)
from signbind_jax.data_pipelines.readers.options import add_directory, add_number
from signbind_jax.data_pipelines.readers.timed_sentences import (
    NO_POSES,
    SPLITS,
    PoseSource,
    Sentence,
    add_pose_arguments,
    file_names,
    poses_from,
    recording_of,
    timed_corpus,
    video_of,
)

TABLES = ("openasl-v1.0.tsv", "data/openasl-v1.0.tsv")
COLUMNS = ("vid", "yid", "start", "end", "split")
TEXT = "raw-text"
LICENCE = "CC BY-NC-ND 4.0"
CITATION = (
    "Shi, Brentari, Shakhnarovich, Livescu: Open-Domain Sign Language Translation Learned from "
    "Online Video. EMNLP 2022"
)
_TIME = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,2}):)?(\d{1,5})(?:\.(\d{1,9}))?", re.ASCII)


def add_arguments(parser) -> None:
    """Options of `signbind data build openasl`."""
    add_directory(parser, "source", "the directory of the table", required=True)
    add_pose_arguments(parser)
    add_directory(parser, "clips", "cut clips, where not in clips/")
    add_directory(parser, "videos", "whole videos, where not in raw-video/")
    add_number(parser, "text_column", str, TEXT, "NAME", "the column of the sentences")


def from_arguments(arguments) -> Corpus:
    """The corpus that parsed arguments ask for."""
    return open_corpus(
        arguments.source,
        poses_from(arguments),
        text_column=arguments.text_column,
        clips=arguments.clips,
        videos=arguments.videos,
    )


def open_corpus(
    source: Path,
    poses: PoseSource = NO_POSES,
    *,
    text_column: str = TEXT,
    clips: Path | None = None,
    videos: Path | None = None,
) -> Corpus:
    """OpenASL, its rows by split in the table's order.

    Raises:
      SignBindError: no table; a column that is missing; not UTF-8.
    """
    check_directories(clips=clips, videos=videos)
    path = _table(source)
    if path is None:
        raise not_the_corpus(source, TABLES[0], lambda near: _table(near) is not None)
    clips = clips or first_directory(source, ("clips",))
    videos = videos or first_directory(source, ("raw-video", "videos"))
    left_out: dict[str, list[str]] = {}
    rows: dict[str, list[Sentence]] = {}
    for split, row in _rows(path, text_column, left_out):
        rows.setdefault(split, []).append(row)
    record = {
        "corpus": "openasl",
        "licence": LICENCE,
        "citation": CITATION,
        "text_column": text_column,
    }
    return timed_corpus(
        record,
        source,
        rows,
        left_out,
        poses,
        signed_language="ase",
        recording=partial(_recording, clips=clips, videos=videos, padding_s=poses.padding_s),
        videos=bool(clips or videos),
    )


def _table(source: Path) -> Path | None:
    return next((source / name for name in TABLES if (source / name).is_file()), None)


def _recording(
    row: Sentence, clips: Path | None, videos: Path | None, padding_s: float
) -> Recording | None:
    if clips is not None:
        found = filter(None, (video_of(clips, name) for name in file_names(row.id)))
        if (path := next(found, None)) is not None:
            return Recording(path)
    return recording_of(row, videos, padding_s)


def _rows(
    path: Path, text_column: str, left_out: dict[str, list[str]]
) -> Iterator[tuple[str, Sentence]]:
    """Split and sentence of every row that is one, ids unique."""
    table = list(_cells(path, text_column, left_out))
    rows_of: dict[str, set[tuple[str, ...]]] = collections.defaultdict(set)
    for cells in table:
        rows_of[cells["vid"]].add(tuple(cells.values()))
    seen: set[str] = set()
    for cells in table:
        clip_id = cells["vid"]
        reason = _fault(cells, text_column)
        if not reason and len(rows_of[clip_id]) > 1:
            reason = "several rows of that vid, which differ"
        elif not reason and clip_id in seen:
            reason = "row given twice"
        if reason:
            left_out.setdefault(reason, []).append(layout.sayable(clip_id))
            continue
        seen.add(clip_id)
        split, text = cells["split"], " ".join(cells[text_column].split())
        row = Sentence(clip_id, cells["yid"], _ms(cells["start"]), _ms(cells["end"]), text)
        yield SPLITS.get(split, split), row


def _fault(cells: dict[str, str], text_column: str) -> str:
    """Why a row is no sentence; empty where it is one."""
    for column in ("vid", "yid"):
        value = cells[column]
        if "/" in value or value == "." or layout.fault_of_id(value):
            return f"{column} that is no name"
    if not re.fullmatch(r"[A-Za-z]\w*", cells["split"], re.ASCII):
        return "split that is no name"
    start_ms, end_ms = _ms(cells["start"]), _ms(cells["end"])
    if start_ms is None or end_ms is None:
        return "times that cannot be read"
    if end_ms <= start_ms:
        return "sentence that does not end after it starts"
    if not re.search(r"\w", cells[text_column]):
        return "sentence without a word"
    return ""


def _cells(
    path: Path, text_column: str, left_out: dict[str, list[str]]
) -> Iterator[dict[str, str]]:
    """The cells of every row by column.

    A line is a row. It is read with quoting, as the release's own tools do, and as it stands
    where that does not give the columns of the header: an open quote never swallows the rows
    below it.
    """
    text = files.read_text(path)
    tables.check_rows(text.count("\n"), path)
    # Not splitlines: it also breaks at characters that may stand inside a sentence.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    header = tables.check_header(lines[0].split("\t"), (*COLUMNS, text_column), path)
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        values = _values(line, len(header)) if len(line) <= tables.LONGEST_LINE else None
        if values is None:
            reason = "line with another number of fields than the header"
            left_out.setdefault(reason, []).append(f"line {number}")
            continue
        cells = dict(zip(header, values))
        yield {c: cells[c].strip() for c in (*COLUMNS, text_column)}


def _values(line: str, n: int) -> list[str] | None:
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        try:
            values = next(csv.reader([line], delimiter="\t", quoting=quoting, strict=True))
        except csv.Error:
            continue
        if len(values) == n:
            return values
    return None


def _ms(text: str) -> int | None:
    """Milliseconds of hh:mm:ss.fff, mm:ss.fff or seconds; None where it is none of them."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds, fraction = match.groups(default="0")
    if (match[1] and int(minutes) > 59) or (match[2] and int(seconds) > 59):
        return None
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(f"{seconds}.{fraction}") * 1000)
