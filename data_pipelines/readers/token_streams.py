"""Token streams in files: what recognisers read in clips and when, as JSON lines.

Each line of a `.jsonl` or `.jsonl.gz` file is a clip; `token_streams.schema.json` beside this
module describes it, docs/use/corpora/token_streams.md explains it:

    {"id": "a", "text": "hello anna", "fps": 25, "n_frames": 50,
     "streams": {"gloss": [["HELLO", 2, 18], ["ANNA", 20, 44, 0.8]], "mouth": []}}

Tokens are `[token, start, end]` or `[token, start, end, confidence]`, in order of start, with
times in frames where the line says `fps` and `n_frames`, and in seconds where it says `seconds`,
the duration of the clip.
"""

import functools
import gzip
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files
from signbind_jax.data.clip import (
    FPS_RANGE,
    MOST_FRAMES,
    MOST_SECONDS,
    Clip,
    TimedToken,
    check_bounds,
    check_timed_tokens,
    exact,
)
from signbind_jax.data_pipelines.corpus import UniqueIds
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.overrides import unknown_name
from signbind_jax.ranges import fits
from signbind_jax.streams import Name

SUFFIXES = (".jsonl", ".jsonl.gz")
FILE_BYTES = 2**30  # unpacked; a thousand clips take about two million
LABELS = ("text", "text_language", "signed_language", "signer")
TOKENS = ("gloss", "spelled", "phonemes", "fusion_targets")
FIELDS = ("id", "split", *LABELS, *TOKENS, "fps", "n_frames", "seconds", "streams")


class StreamLine(NamedTuple):
    """A line of such a file, its tokens not looked at yet.

    Attributes:
      place: file and line, for errors.
      id, split: of the clip; a split may be empty.
      text: the line.
    """

    place: str
    id: str
    split: str
    text: str


def is_token_file(path: Path) -> bool:
    """Whether a file is one of token streams, by its name."""
    return path.name.endswith(SUFFIXES)


def check_name(path: Path) -> None:
    """Whether a file to be written has an ending by which it is read.

    Raises:
      SignBindError: it has another.
    """
    if not is_token_file(path):
        raise SignBindError(f"{path}: found that ending, wanted {' or '.join(SUFFIXES)}")


def stem_of(path: Path) -> str:
    """The name of such a file without its ending."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def read_lines(path: Path) -> list[StreamLine]:
    """The lines of a file, empty ones left out.

    Raises:
      SignBindError: it cannot be read or holds none; a line that is no object with an id of its
        own, with how many more there are.
    """
    data = files.read_unpacked(path, FILE_BYTES)
    lines, faults, ids = [], [], UniqueIds()
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            lines.append(_line(line, f"{path}:{number}"))
            _add(ids, lines[-1], number)
        except SignBindError as fault:
            faults.append(str(fault))
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if faults[1:] else ""
        raise SignBindError(faults[0] + more)
    if not lines:
        raise SignBindError(f"{path}: found no line, wanted at least one clip")
    return lines


def _line(line: bytes, place: str) -> StreamLine:
    record = files.parse_json(line, place)
    clip_id = files.field(record, "id", str, place)
    split = files.field(record, "split", str, place) if "split" in record else ""
    return StreamLine(place, clip_id, split, line.decode("utf-8-sig"))


def _add(ids: UniqueIds, line: StreamLine, number: int) -> None:
    try:
        ids.add(line.id, f"on line {number}")
    except SignBindError as error:
        raise SignBindError(f"{line.place}: {error}") from error


def line_of(path: Path, clip_id: str) -> StreamLine:
    """The line of a clip; the file is read once.

    Raises:
      SignBindError: as `read_lines`; it has no such clip.
    """
    status = os.stat(path)
    lines = _by_id(path, status.st_mtime_ns, status.st_size)
    if clip_id not in lines:
        raise SignBindError(
            f"{path}: found no clip {clip_id!r} among its {len(lines)}, wanted a line with that id"
        )
    return lines[clip_id]


@functools.lru_cache(maxsize=8)
def _by_id(path: Path, *changed: int) -> Mapping[str, StreamLine]:
    """`changed`: what differs once the file was written anew."""
    del changed
    return {line.id: line for line in read_lines(path)}


def clip_of(line: StreamLine, **defaults: str) -> Clip:
    """The clip of a line, without modalities.

    Args:
      defaults: fields of `Clip` where the line has none, such as `text_language`.

    Raises:
      SignBindError: file, line, clip and stream of what cannot be, one line.
    """
    where = f"{line.place}: clip {line.id!r}"
    record = files.parse_json(line.text, line.place)
    for name in record:
        if name not in FIELDS:
            raise SignBindError(unknown_name(where, name, FIELDS))
    labels = {name: files.field(record, name, str, where) for name in LABELS if name in record}
    for name in TOKENS:
        if name in record:
            tokens = files.field(record, name, list, where)
            if not all(isinstance(token, str) and token.strip() for token in tokens):
                raise SignBindError(f"{where}: {name}: found {shorten(tokens)}, wanted tokens")
            labels[name] = tuple(tokens)
    labels["spelled"] = tuple(word.lower() for word in labels.get("spelled", ()))
    last, fps = _clock(record, where)
    streams = {}
    for name, rows in files.field(record, "streams", dict, where).items():
        streams[name] = _stream(rows, last, fps, f"{where}: stream {shorten(name)}", name)
    if not streams:
        raise SignBindError(f"{where}: streams: found none, wanted at least one by name")
    given = {"text": "", **defaults, **labels}
    clip = Clip(id=line.id, **given, streams=streams, seconds=exact(last / fps))
    try:
        check_bounds(clip)
    except SignBindError as error:
        raise SignBindError(f"{where}: {error}") from error
    return clip


def line_from(clip: Clip, split: str = "") -> str:
    """The line that `clip_of` reads the same clip from, without its modalities."""
    fields = {name: getattr(clip, name) for name in (*LABELS, *TOKENS)}
    record = {"id": clip.id, "split": split} | fields | {"seconds": clip.seconds}
    record["streams"] = {name: [t.row for t in row] for name, row in clip.streams.items()}
    return json.dumps({k: v for k, v in record.items() if v not in ("", ())}, ensure_ascii=False)


def write_clips(path: Path, clips: Iterable[Clip], split: str = "") -> None:
    """Writes clips as such a file, packed where its name ends in `.gz`.

    Raises:
      SignBindError: it cannot be written.
    """
    data = "".join(f"{line_from(clip, split)}\n" for clip in clips).encode()
    files.write(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _clock(record: dict, where: str) -> tuple[float, float]:
    """When the clip ends, and how many of that unit are a second."""
    if "seconds" in record and not record.keys() & {"fps", "n_frames"}:
        return _number(record, "seconds", 0, MOST_SECONDS, where), 1.0
    if "seconds" in record or "fps" not in record:
        found = [name for name in ("fps", "n_frames", "seconds") if name in record]
        raise SignBindError(
            f"{where}: found {' and '.join(found) or 'no duration'}, wanted fps and n_frames "
            "(then times are frames) or seconds alone"
        )
    fps = _number(record, "fps", *FPS_RANGE, where)
    files.field(record, "n_frames", int, where)
    return _number(record, "n_frames", 0, MOST_FRAMES, where), fps


def _number(record: dict, name: str, least: float, most: float, where: str) -> float:
    value = files.field(record, name, float, where)
    if not least <= value <= most or not value:
        above = f"{least:g} to" if least else "above 0, at most"
        raise SignBindError(f"{where}: {name}: found {value:g}, wanted {above} {most:,.0f}")
    return value


def _stream(rows, last: float, fps: float, where: str, name: str) -> tuple[TimedToken, ...]:
    """The tokens of a stream in seconds."""
    if not fits(name, Name):
        raise SignBindError(
            f"{where}: wanted a name of lower-case letters, digits and _ that no stage has"
        )
    try:
        check_timed_tokens(rows, last)
    except SignBindError as error:
        raise SignBindError(f"{where}: {error}") from error
    return tuple(
        TimedToken(token, exact(start / fps), exact(end / fps), *map(exact, confidence))
        for token, start, end, *confidence in rows
    )
