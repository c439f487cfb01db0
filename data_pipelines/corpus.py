"""Corpus: what a pipeline knows of its corpus before a clip is read, and how to read one."""

import argparse
import inspect
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from signbind_jax.data.clip import Clip, check_bounds, check_id
from signbind_jax.data.dataset_description import check_split_name
from signbind_jax.data_pipelines.writing.build_report import BuildReport
from signbind_jax.errors import MissingPackage, SignBindError


class Row(Protocol):
    """One clip to be read: its id and whatever its reader needs, small and picklable."""

    @property
    def id(self) -> str:
        """Unique within the corpus; the id of the clip that is read."""
        ...


class ReadResult(NamedTuple):
    """A clip, and what was repaired in it: what -> how many times."""

    clip: Clip
    repaired: Mapping[str, int] = {}


class Recording(NamedTuple):
    """What landmarks and mouth crops of a clip are extracted from.

    Attributes:
      path: a video, or a directory of frames in the order of their names.
      start_s, end_s: the part of it that is the clip; without an end, to its end.
      fps: frames a second of a directory of frames; 0 for a video, which says it itself.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    fps: float = 0.0


@dataclass(frozen=True)
class Corpus:
    """A corpus opened for reading.

    Rows are listed once, in an order that the corpus alone decides. From then on every clip is
    a function of its row, so that shards are read by any number of processes, in any order, and
    again after a kill, with the same bytes as result.

    Attributes:
      splits: split name -> its rows.
      read: the clip of a row; picklable, since other processes call it. Raises SignBindError with
        the reason where there is no clip: the clip is left out of the dataset and counted.
      source: JSON-ready record of where the clips come from: `corpus`, `synthetic`, `licence` and
        `citation` where it has one, and every option that changes a clip.
      left_out: reason -> ids of the clips that have no row, known when the corpus is listed.
      published: split name -> clips that the corpus was published with, for the audit.
      recording: the video of a row, for `signbind extract`; None where it is not there.
      truth: a row's clip with the labels and times that its dataset withholds, for a file beside
        that; None where there is nothing to say.
    """

    splits: Mapping[str, Sequence[Row]]
    read: Callable[[Row], ReadResult]
    source: dict
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    recording: Callable[[Row], Recording | None] = lambda row: None
    truth: Callable[[Row], Clip] | None = None

    @property
    def place(self) -> str:
        """What errors call the corpus: its directory where it has one, else its name."""
        return self.source.get("directory") or self.source.get("corpus", "corpus")


def forwarded(open_corpus: Callable[..., Corpus]) -> Callable[[argparse.Namespace], Corpus]:
    """A module's `from_arguments` where its options are named as what its `open_corpus` takes."""
    names = inspect.signature(open_corpus).parameters
    return lambda arguments: open_corpus(**{name: getattr(arguments, name) for name in names})


class UniqueIds:
    """The ids met so far: each a file's name that no other has, on any file system."""

    def __init__(self):
        self._seen: dict[str, tuple[str, str]] = {}

    def add(self, clip_id: str, place: str) -> None:
        """Notes an id.

        Args:
          place: where it stands, for errors: "on line 3", "in split train".

        Raises:
          SignBindError: no file's name; met before, perhaps in other letters' case or in another
            Unicode form.
        """
        check_id(clip_id)
        new = clip_id, place
        known, where = found = self._seen.setdefault(_folded(clip_id), new)
        if found is not new:
            if known == clip_id:
                raise SignBindError(
                    f"id: {clip_id!r} stands {where} too, wanted an id that occurs once"
                )
            raise SignBindError(
                f"id: {clip_id!a} is {known!a} {where} but for case or Unicode "
                "form, wanted ids that no file system takes for one"
            )


def _folded(clip_id: str) -> str:
    """Equal for ids that some file system takes for one name (Unicode's caseless match)."""
    if clip_id.isascii():
        return clip_id.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", clip_id).casefold())


def check_rows(corpus: Corpus) -> None:
    """Whether splits and ids are names that a dataset, and files, can have.

    Raises:
      SignBindError: a split or an id that cannot be; one that occurs twice.
    """
    ids = UniqueIds()
    splits: dict[str, str] = {}
    try:
        for split, rows in corpus.splits.items():
            check_split_name(split)
            if (other := splits.setdefault(split.lower(), split)) != split:
                raise SignBindError(
                    f"found {other!r} and {split!r}, wanted names that differ by more than case"
                )
            place = f"in split {other}"
            for row in rows:
                ids.add(row.id, place)
    except SignBindError as error:
        raise SignBindError(f"{corpus.place}: split {split[:60]}: {error}") from error


class ClipRow(NamedTuple):
    """A row that is the clip itself."""

    clip: Clip

    @property
    def id(self) -> str:
        """The clip's id."""
        return self.clip.id


def corpus_of_clips(splits: Mapping[str, Iterable[Clip]], source: dict) -> Corpus:
    """A corpus of clips that are in memory already."""
    return Corpus(
        {split: [ClipRow(clip) for clip in clips] for split, clips in splits.items()},
        _the_clip,
        source,
    )


def _the_clip(row: ClipRow) -> ReadResult:
    return ReadResult(row.clip)


def read_clips(
    rows: Iterable[Row],
    read: Callable[[Row], ReadResult],
    report: BuildReport,
    strict: bool = False,
) -> Iterator[Clip]:
    """The clips of rows; what was repaired and left out goes into `report`.

    Raises:
      SignBindError: where `strict`, the first clip that would be left out.
      MissingPackage: what reads these clips is not installed.
    """
    for row in rows:
        try:
            clip, repaired = read(row)
            check_bounds(clip)
        except MissingPackage:
            raise
        except Exception as error:  # whatever a broken file does to its reader
            if strict:
                raise SignBindError(f"clip {row.id}: {_reason(error)}") from error
            report.leave_out(row.id, _reason(error))
        else:
            report.repaired.update(repaired)
            yield clip


def _reason(error: Exception) -> str:
    if isinstance(error, SignBindError):
        return str(error)
    line = " ".join(str(error).split())[:200]
    return f"cannot be read ({type(error).__name__}: {line})"
