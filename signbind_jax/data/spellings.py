"""Spelled words that `signbind data spellings` found in a training split: a file that runs read
where a corpus does not say what is spelled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from signbind_jax import files, sealed
from signbind_jax.data.clip import MOST_SECONDS, TimedToken, check_timed_tokens
from signbind_jax.errors import SignBindError

# What is spelled in one go: at least so many letters, and another word begins where the time from
# letter to letter is so many times the usual one. Two letters that were missed leave 3.
LEAST_LETTERS, MOST_GAP = 3, 3.3


@dataclass(frozen=True)
class Spellings:
    """What was found in the clips of a split.

    Attributes:
      split: digest of the split.
      spelled: clip id -> its spelled words in order of time; without clips that have none.
      unclear: ids of the clips in which something is spelled of which nobody knows what.
      digest: SHA-256 of the file.
    """

    split: str
    spelled: Mapping[str, tuple[TimedToken, ...]]
    unclear: frozenset[str]
    digest: str = ""

    def words(self, clip_id: str) -> tuple[str, ...]:
        """The spelled words of a clip."""
        return tuple(word.token for word in self.spelled.get(clip_id, ()))


def write_spellings(path: Path, found: Spellings, **about) -> None:
    """Writes the file; `about`: JSON-ready, where it comes from.

    Raises:
      SignBindError: it cannot be written.
    """
    spelled = {clip: [word.row for word in words] for clip, words in found.spelled.items()}
    record = {"split": found.split, "spelled": spelled, "unclear": sorted(found.unclear)}
    write_found(path, record | about)


def write_found(path: Path, record: Mapping) -> None:
    """Writes what was found in a split, sealed.

    Raises:
      SignBindError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed.write(path, record)
    except OSError as error:
        raise SignBindError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_spellings(path: Path | str) -> Spellings:
    """What `write_spellings` wrote.

    Raises:
      SignBindError: a damaged file, or another one.
    """
    record, where = sealed.read(path), str(path)
    split = files.field(record, "split", str, where)
    unclear = files.field(record, "unclear", list, where)
    spelled = timed_tokens(record, "spelled", where)
    return Spellings(split, spelled, frozenset(map(str, unclear)), sealed.digest(record))


def timed_tokens(record: Mapping, name: str, where: str) -> dict[str, tuple[TimedToken, ...]]:
    """A field of a file that says of clips, by id, what is to be seen in them and when.

    Raises:
      SignBindError: it is not as it should be; begins with `where`.
    """
    found = files.field(record, name, dict, where)
    for clip, rows in found.items():
        try:
            check_timed_tokens(rows, MOST_SECONDS)
        except SignBindError as error:
            raise SignBindError(f"{where}: {name}: clip {clip!r}: {error}") from error
    return {clip: tuple(TimedToken(*row) for row in rows) for clip, rows in found.items()}
