"""Which clips the arguments of a command name: files, directories of them, and patterns."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from signbind_jax.data_pipelines.extraction.worker import pictures
from signbind_jax.data_pipelines.readers.clip_file import KNOWN, LANDMARKS, VIDEOS
from signbind_jax.data_pipelines.readers.token_streams import is_token_file
from signbind_jax.errors import SignBindError


@dataclass
class ClipPaths:
    """The clips that arguments name.

    Attributes:
      paths: in the order given; those of a directory or pattern in the natural order of their
        names (clip2 before clip10).
      twice: files that were named again.
      skipped: files of no known kind in a directory, or that match a pattern.
      faults: why an argument names no clip, one line each.
    """

    paths: list[Path] = field(default_factory=list)
    twice: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """What each clip is called: its file's name, or its path where others share that name."""
        own = [
            path.name if path.name not in ("", "..") else path.resolve().name for path in self.paths
        ]
        n_of = Counter(own)
        return [
            name if n_of[name] == 1 else str(path)
            for name, path in zip(own, self.paths, strict=True)
        ]


def list_clips(arguments: Sequence[str]) -> ClipPaths:
    """The clips that files, directories and patterns such as `day1/*.mp4` name.

    A directory of pictures is a clip; any other stands for the clips in it and below it.
    """
    found = ClipPaths()
    seen: set[Path] = set()
    for argument in arguments:
        try:
            for path in _expanded(argument, found.skipped):
                place = place_of(path)
                (found.twice if place in seen else found.paths).append(path)
                seen.add(place)
        except SignBindError as error:
            found.faults.append(str(error))
        except OSError as error:  # such as a directory that may not be looked into
            found.faults.append(f"{argument}: cannot be read: {error.strerror or error}")
    return found


def place_of(path: Path) -> Path:
    """Where a file lies; links to directories are followed, a link to a file stays one."""
    return Path(os.path.realpath(path.parent), path.name)


def _expanded(argument: str, skipped: list[Path]) -> list[Path]:
    path = Path(argument)
    if os.path.lexists(path):
        if not path.is_dir():
            return [path]
        clips = list(_clips_in([path], skipped))
        wanted = "in it"
    elif glob.has_magic(argument):
        matches = [Path(match) for match in glob.glob(argument, recursive=True)]
        if not matches:
            raise SignBindError(f"{argument}: found nothing that matches, wanted {KNOWN}")
        matches.sort(key=lambda match: [pictures.natural_key(part) for part in match.parts])
        clips = list(_clips_in(matches, skipped))
        wanted = "that matches"
    else:
        raise SignBindError(f"{argument}: no such file or directory")
    if not clips:
        raise SignBindError(f"{argument}: found no clip {wanted}, wanted {KNOWN}")
    return clips


def _clips_in(
    paths: Iterable[Path], skipped: list[Path], above: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """The clips among paths and below them; `above` keeps links from going round in circles."""
    for path in paths:
        if not path.is_dir():
            known = path.suffix in LANDMARKS or path.suffix.lower() in VIDEOS
            if known or is_token_file(path):
                yield path
            else:
                skipped.append(path)
            continue
        place = os.path.realpath(path)
        if place in above:
            continue
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        entries.sort(key=lambda entry: pictures.natural_key(entry.name))
        if _holds_pictures_alone(entries):
            yield path
        else:
            yield from _clips_in(entries, skipped, above | {place})


def _holds_pictures_alone(entries: Sequence[Path]) -> bool:
    suffixes = {entry.suffix.lower() for entry in entries if not entry.is_dir()}
    return bool(suffixes & {*pictures.SUFFIXES}) and not suffixes & {*LANDMARKS, *VIDEOS}
