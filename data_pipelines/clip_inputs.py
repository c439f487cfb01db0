"""Recordings named on a command line, read as clips; videos are extracted on the way."""

import argparse
import contextlib
import functools
import hashlib
import os
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from signbind_jax import progress
from signbind_jax.data.clip import Clip, check_id
from signbind_jax.data_pipelines.corpus import ReadResult, Recording
from signbind_jax.data_pipelines.extraction.extract import (
    Workers,
    add_worker_arguments,
    extract_clips,
)
from signbind_jax.data_pipelines.extraction.report import failures_name, lines_of
from signbind_jax.data_pipelines.readers.clip_file import (
    KNOWN,
    LARGEST_CROP,
    Kind,
    check_durations,
    kind_of,
    read_clip_file,
)
from signbind_jax.data_pipelines.readers.clip_paths import list_clips, place_of
from signbind_jax.data_pipelines.readers.extracted import file_of
from signbind_jax.data_pipelines.readers.token_streams import clip_of, read_lines
from signbind_jax.data_pipelines.writing.build_report import some_of
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError


@dataclass(frozen=True)
class ClipInputs:
    """The clips that could be read, in the order in which they were named.

    Attributes:
      paths: file or directory of each, as it was named.
      names: what each is called, unlike the others.
      clips: without labels, but for those of files of token streams.
      notes: what a user should know of them, one line each.
      faults: why others could not be read, one line each.
    """

    paths: list[Path]
    names: list[str]
    clips: list[Clip]
    notes: list[str]
    faults: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that reads recordings."""
    parser.add_argument(
        "clips",
        nargs="+",
        metavar="CLIP",
        help=f"{KNOWN}; a directory of such, or a quoted pattern such as 'day1/*.mp4'",
    )
    parser.add_argument(
        "--crops",
        action="store_true",
        help="videos and directories of pictures show mouths alone, whatever their size (default: "
        f"those of at most {LARGEST_CROP} pixels a side; other videos are extracted)",
    )
    videos = parser.add_argument_group("videos, from which landmarks and mouth crops are extracted")
    videos.add_argument(
        "--extracted",
        type=Path,
        metavar="DIR",
        help="keeps what is extracted, as signbind extract --out=DIR; what is there already is not "
        "extracted again",
    )
    add_worker_arguments(videos)


def read_inputs(arguments: argparse.Namespace, lip_size: int | None) -> ClipInputs:
    """Reads the clips of `add_arguments`; see `read_paths`."""
    return read_paths(
        arguments.clips,
        lip_size,
        crops=arguments.crops,
        extracted=arguments.extracted,
        workers=Workers.of(arguments),
    )


def read_paths(
    named: Sequence[str],
    lip_size: int | None,
    *,
    crops: bool = False,
    extracted: Path | None = None,
    workers: Workers | None = None,
) -> ClipInputs:
    """Reads the clips that files, directories and patterns name; every process has to call it.

    Args:
      lip_size: side of the mouth crops in pixels; None: crops are not read.
      crops: see `kind_of`.
      extracted: where what is extracted from videos is kept; None: nowhere.
      workers: what extracts; None: a process a core.

    Raises:
      SignBindError: nothing can be extracted at all; videos on several processes.
      Interrupted: a signal ended the extraction.
    """
    listed = hosts.broadcast("listing clips", lambda: _listed(named, crops))
    names = {Path(path): name for path, name in listed["names"].items()}
    kinds = {Path(path): Kind(kind) for path, kind in listed["kinds"].items()}
    notes, faults = listed["notes"], listed["faults"]
    videos = [path for path, kind in kinds.items() if kind == Kind.VIDEO]
    with contextlib.ExitStack() as stack:
        files: dict[Path, Path] = {}
        if videos:
            if jax.process_count() > 1:
                raise SignBindError(
                    f"{videos[0]}: found a video on {jax.process_count()} processes, wanted its "
                    "landmarks: run signbind extract first"
                )
            out = extracted or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="signbind"))
            )
            files = _extract(videos, out, workers or Workers(), notes, faults)
        sources = {
            path: (Kind.LANDMARKS, files[path]) if path in files else (kind, path)
            for path, kind in kinds.items()
            if kind != Kind.VIDEO or path in files
        }
        read, unread, repaired = _read(sources, lip_size)
    for what, of in repaired.items():
        notes.append(f"{what}: {len(of)} clips ({some_of([names[path] for path in of])})")
    faults += unread
    read = _joined(read, kinds, faults)
    paths, clips = [path for path, _ in read], [clip for _, clip in read]
    return ClipInputs(paths, _names(read, names, kinds), clips, notes, faults)


def _listed(named: Sequence[str], crops: bool) -> dict:
    """The clips with their names and kinds, JSON-ready."""
    found = list_clips(named)
    notes, faults, kinds = [], list(found.faults), {}
    for what, paths in (
        ("named twice, read once", found.twice),
        ("skipped, of no known kind", found.skipped),
    ):
        if paths:
            notes.append(f"{what}: {len(paths)} files ({some_of([str(path) for path in paths])})")
    for path in found.paths:
        try:
            kinds[str(path)] = kind_of(path, crops)
        except SignBindError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror or error}")
    names = dict(zip(map(str, found.paths), found.names(), strict=True))
    return {"names": names, "kinds": kinds, "notes": notes, "faults": faults}


def _extract(
    videos: Sequence[Path], out: Path, workers: Workers, notes: list[str], faults: list[str]
) -> dict[Path, Path]:
    """Video -> what was extracted from it, as `signbind extract` does it."""
    video_of = clip_ids(videos, faults)
    recordings = {clip_id: Recording(video.absolute()) for clip_id, video in video_of.items()}
    if not recordings:
        return {}
    failures_file = out / failures_name(0, 1)
    tell = functools.partial(print, file=sys.stderr)
    done = extract_clips(recordings, out, workers, failures_file=failures_file, tell=tell)
    if done.interrupted:
        raise done.interrupted
    notes.extend(lines_of(done.results, {}))
    faults.extend(f"{video_of[i]}: {failure.reason}" for i, failure in done.failures.items())
    return {video_of[clip_id]: file_of(out, clip_id) for clip_id in done.results}


def clip_ids(videos: Sequence[Path], faults: list[str]) -> dict[str, Path]:
    """The id that each video is extracted under -> the video.

    Videos of one name get ids of their own, which depend on where they lie.

    Args:
      faults: gets why a video's name can be no id.
    """
    n_of = Counter(map(_folded, videos))
    video_of: dict[str, Path] = {}
    for video in videos:
        clip_id = video.stem
        if n_of[_folded(video)] > 1:
            place = os.fsencode(place_of(video))
            clip_id += "-" + hashlib.sha256(place).hexdigest()[:8]
        try:
            check_id(clip_id)
        except SignBindError as error:
            faults.append(f"{video}: {error}: rename the file")
            continue
        video_of[clip_id] = video
    return video_of


def _folded(video: Path) -> str:
    return unicodedata.normalize("NFC", video.stem).casefold()


def _read(
    sources: Mapping[Path, tuple[Kind, Path]], lip_size: int | None
) -> tuple[list[tuple[Path, Clip]], list[str], dict[str, list[Path]]]:
    """The clips that every process can read with the paths they were named by, why others cannot
    be read, and what was repaired in which files."""
    clips: dict[str, tuple[Path, ReadResult]] = {}
    faults: dict[str, str] = {}
    shown = progress.shown(sources.items(), "reading clips", len(sources), "clip")
    for i, (path, (kind, file)) in enumerate(shown):
        for key, read in _readers(str(i), file, kind, lip_size):
            try:
                clips[key] = path, read()
            except SignBindError as error:
                faults[key] = str(error).replace(str(file), str(path), 1)  # not what was extracted
    everywhere: dict[str, str] = {}
    for found in hosts.all_gather("reading clips", faults):
        everywhere = found | everywhere
    kept, repaired = [], {}
    for key, (path, result) in clips.items():
        if key not in everywhere and key.partition(".")[0] not in everywhere:
            kept.append((path, result.clip))
            for what in result.repaired:
                repaired.setdefault(what, []).append(path)
    return kept, [everywhere[key] for key in sorted(everywhere, key=_place)], repaired


def _readers(
    key: str, file: Path, kind: Kind, lip_size: int | None
) -> Iterator[tuple[str, Callable[[], ReadResult]]]:
    """What reads the clips of a file, each under a key of its own."""
    if kind != Kind.STREAMS:
        yield key, functools.partial(read_clip_file, file, kind, lip_size)
        return
    try:
        lines = read_lines(file)
    except SignBindError as error:
        yield key, functools.partial(_raise, error)
        return
    for i, line in enumerate(lines):
        yield f"{key}.{i}", lambda line=line: ReadResult(clip_of(line))


def _place(key: str) -> list[int]:
    return list(map(int, key.split(".")))


def _raise(error: SignBindError):
    raise error


def _joined(
    clips: Sequence[tuple[Path, Clip]], kinds: Mapping[Path, Kind], faults: list[str]
) -> list[tuple[Path, Clip]]:
    """The clips, tokens of a recording's id put beside that recording."""
    recordings: dict[str, list[int]] = {}
    for i, (path, clip) in enumerate(clips):
        if kinds[path] != Kind.STREAMS:
            recordings.setdefault(clip.id, []).append(i)
    joined = dict(enumerate(clips))
    for i, (path, tokens) in enumerate(clips):
        if kinds[path] != Kind.STREAMS or tokens.id not in recordings:
            continue
        first, *others = recordings[tokens.id]
        place, clip = joined[first]
        del joined[i]
        if others or clip.streams:
            found = "several recordings" if others else "tokens in several files"
            faults.append(f"{path}: clip {tokens.id!r}: found {found} of that id, wanted one")
            continue
        clip = replace(clip, streams=tokens.streams, seconds=tokens.seconds)
        try:
            check_durations(clip)
        except SignBindError as error:
            faults.append(f"{path}: clip {tokens.id!r}: {error}")
            continue
        joined[first] = place, clip
    return list(joined.values())


def _names(
    clips: Sequence[tuple[Path, Clip]], names: Mapping[Path, str], kinds: Mapping[Path, Kind]
) -> list[str]:
    """What each clip is called: as its file, or by its id in a file of several."""
    own = [clip.id if kinds[path] == Kind.STREAMS else names[path] for path, clip in clips]
    n_of = Counter(own)
    return [
        f"{path}:{name}" if n_of[name] > 1 and kinds[path] == Kind.STREAMS else name
        for name, (path, _) in zip(own, clips, strict=True)
    ]
