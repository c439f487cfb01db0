"""Where a corpus seems to be, when the directory that was given is not it."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from signbind_jax.errors import SignBindError

_LEVELS_UP, _LEVELS_DOWN = 3, 4
_MOST_LOOKED_AT = 300  # directories: a corpus may hold hundreds of thousands


def not_the_corpus(source: Path, wanted: str, is_corpus: Callable[[Path], bool]) -> SignBindError:
    """The error for a directory that is not the corpus's.

    Args:
      source: what was given.
      wanted: what was looked for in it.
      is_corpus: whether a directory is the one wanted.
    """
    if not source.is_dir():
        return SignBindError(f"{source}: found no such directory, wanted the one with {wanted}")
    seen = next((near for near in _nearby(source) if is_corpus(near)), None)
    hint = f"the corpus seems to be in {seen}" if seen else "give the corpus directory as --source"
    return SignBindError(f"{source}: found no {wanted} in it: {hint}")


def check_directories(**options: Path | None) -> None:
    """Raises SignBindError where an option names a directory that is not there."""
    for option, directory in options.items():
        if directory is not None and not directory.is_dir():
            raise SignBindError(f"--{option}: {directory}: found no such directory")


def first_directory(source: Path, names: Iterable[str]) -> Path | None:
    """The first of some subdirectories that is there."""
    return next((source / name for name in names if (source / name).is_dir()), None)


def inside(root: Path, name: str) -> Path | None:
    """The file `name` of a directory; None where there is none or where it leads out of `root`."""
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, a link loop
        return None


def _nearby(source: Path) -> Iterator[Path]:
    source = source.resolve()
    yield from source.parents[:_LEVELS_UP]
    queue = collections.deque([(source, 0)])
    for _ in range(_MOST_LOOKED_AT):
        if not queue:
            return
        directory, depth = queue.popleft()
        yield directory
        if depth < _LEVELS_DOWN:
            try:
                with os.scandir(directory) as entries:
                    below = [e.path for e in entries if e.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            queue += [(Path(path), depth + 1) for path in sorted(below)[:_MOST_LOOKED_AT]]
