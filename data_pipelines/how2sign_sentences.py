"""The sentences of How2Sign: the re-aligned lists, or the labels that Uni-Sign releases."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from os import walk
from pathlib import Path

from signbind_jax.data_pipelines.readers import restricted_pickle, tables
from signbind_jax.errors import SignBindError

SPLITS = {"train": "train", "validation": "val", "test": "test"}  # ours -> the release's
COLUMNS = (
    "VIDEO_ID",
    "VIDEO_NAME",
    "SENTENCE_ID",
    "SENTENCE_NAME",
    "START_REALIGNED",
    "END_REALIGNED",
    "SENTENCE",
)
LABELS = {
    "train": ("labels.train",),
    "validation": ("labels.dev", "labels.val"),
    "test": ("labels.test",),
}
TREE = "sentence_level"  # what the release's download script makes
_NAME = re.compile(r"[-\w.]{1,200}", re.ASCII)
_BREAK = re.compile(r"\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
_SIGNER = re.compile(r"-(\d+)-rgb")
_MOST_DIRECTORIES = 2000  # looked through for a corpus that is not where it was said to be


@dataclass(frozen=True)
class Sentence:
    """A row of the list: what its clip says, and where in which video it is.

    Attributes:
      id: SENTENCE_NAME.
      text: the English sentence, on one line.
      split: one of `SPLITS`.
      video: VIDEO_NAME, whose file the times are of; empty where the list does not say.
      start_s, end_s: START_REALIGNED and END_REALIGNED; NaN where the list does not say.
      gloss: where the list has them.
      mended: what was done to the row, to be counted.
    """

    id: str
    text: str
    split: str
    video: str = ""
    start_s: float = math.nan
    end_s: float = math.nan
    gloss: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def signer(self) -> str:
        """The number before "-rgb"; empty where there is none."""
        found = _SIGNER.search(self.id)
        return found[1] if found else ""

    @property
    def seconds(self) -> float:
        """From start to end; NaN where the list does not say, 0 or less where it is wrong."""
        return self.end_s - self.start_s


@dataclass
class Sentences:
    """All sentences that have a usable row.

    Attributes:
      splits: split -> sentences, in the order of the list.
      left_out: reason -> ids or lines without a sentence.
      kind: "realigned" or "labels".
    """

    splits: dict[str, list[Sentence]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    kind: str = "realigned"


def read_sentences(source: Path) -> Sentences:
    """The sentences under a directory.

    The re-aligned lists lie in it, or where the download script puts them; Uni-Sign's labels are
    read where there are none of these.

    Raises:
      SignBindError: no lists (it says where some seem to be); a list with other columns, not
        UTF-8, or with quotes that do not close.
    """
    source = Path(source)
    if not source.is_dir():
        raise SignBindError(f"{source}: found no such directory, wanted that of How2Sign")
    files = {split: file for split in SPLITS if (file := _realigned(source, split))}
    sentences = Sentences()
    if not files:
        files = {
            split: source / name
            for split, names in LABELS.items()
            for name in names[::-1]
            if (source / name).is_file()
        }
        sentences.kind = "labels"
    if not files:
        raise SignBindError(
            f"{source}: found no how2sign_realigned_train.csv, _val.csv or "
            f"_test.csv, wanted at least one{_elsewhere(source)}"
        )
    split_of_id: dict[str, str] = {}
    for split in SPLITS:
        sentences.splits[split] = []
        if split not in files:
            sentences.left_out[f"split {split}: its list of sentences is not there"] = []
            continue
        rows = _labels if sentences.kind == "labels" else _rows
        for name, found in rows(files[split], split):
            if not isinstance(found, str) and found.id in split_of_id:
                found = f"SENTENCE_NAME stands in split {split_of_id[found.id]} already"
            if isinstance(found, str):
                sentences.left_out.setdefault(f"{found} ({files[split].name})", []).append(name)
            else:
                split_of_id[found.id] = split
                sentences.splits[split].append(found)
    return sentences


def _realigned(source: Path, split: str) -> Path | None:
    released = SPLITS[split]
    name = f"how2sign_realigned_{released}.csv"
    tree = source / TREE / released / "text" / "en" / "raw_text" / "re_aligned"
    return next((place / name for place in (source, tree) if (place / name).is_file()), None)


def _elsewhere(source: Path) -> str:
    """Where lists seem to be instead, as the end of a sentence."""
    if (source / "how2sign_train.csv").is_file() or (source / "how2sign_test.csv").is_file():
        return ": the lists in it are not re-aligned, fetch those that are"
    source = source.resolve()
    places = [*source.parents[:6]]
    for directory, _, names in islice(walk(source), _MOST_DIRECTORIES):
        if any(name.startswith("how2sign_realigned_") for name in names):
            places += [Path(directory), *Path(directory).parents[:6]]
            break
    found = [place for place in places if any(_realigned(place, split) for split in SPLITS)]
    return f": the corpus seems to lie in {found[-1]}" if found else ""


def _rows(file: Path, split: str) -> Iterator[tuple[str, Sentence | str]]:
    """Name and sentence of each row, or the reason why there is none."""
    table = tables.read_rows(file, delimiter="\t")
    _check_header(next(table, (0, []))[1], file)
    for line, row in table:
        if row:
            named = len(row) > 3 and _is_name(row[3])
            yield row[3] if named else f"line {line}", _sentence(row, split)


def _check_header(header: list[str], file: Path) -> None:
    if tuple(header) == COLUMNS:
        return
    if len(header) == 1 and "," in header[0]:
        raise SignBindError(f"{file}: header: found commas, wanted tabs between the columns")
    for place, (found, wanted) in enumerate(zip(header, COLUMNS, strict=False), start=1):
        if found != wanted:
            raise SignBindError(
                f"{file}: column {place}: found {found[:40]!r}, wanted {wanted}: "
                "fetch the re-aligned list as it was released"
            )
    odd = COLUMNS[len(header) :] or header[len(COLUMNS) :]
    what = "is missing" if len(header) < len(COLUMNS) else "is unknown"
    raise SignBindError(f"{file}: column {odd[0][:40]!r} {what}, wanted {' '.join(COLUMNS)}")


def _sentence(row: list[str], split: str) -> Sentence | str:
    """The sentence of a row, or the reason why there is none."""
    if len(row) != len(COLUMNS):
        return f"a row of {len(row)} fields, wanted {len(COLUMNS)}"
    _, video, _, name, start, end, text = row
    for column, value in (("SENTENCE_NAME", name), ("VIDEO_NAME", video)):
        if not _is_name(value):
            return f"{column} is no name of letters, digits, - and _"
    try:
        times = float(start), float(end)
    except ValueError:
        return "START_REALIGNED or END_REALIGNED is no number"
    if not all(0 <= time < math.inf for time in times):
        return "START_REALIGNED or END_REALIGNED is no time in the video"
    text, mended = _on_one_line(text)
    return Sentence(name, text, split, video, *times, (), mended) if text else "empty SENTENCE"


def _is_name(value: str) -> bool:
    """Whether it may be part of a path: ids begin with "-", none with "."."""
    return bool(_NAME.fullmatch(value)) and not value.startswith(".")


def _on_one_line(text: str) -> tuple[str, tuple[str, ...]]:
    line, n_breaks = _BREAK.subn(" ", text.strip())
    return line, ("text: line breaks or tabs, now spaces",) if n_breaks else ()


def _labels(file: Path, split: str) -> Iterator[tuple[str, Sentence | str]]:
    """Name and sentence of each entry of Uni-Sign's labels, or the reason why there is none."""
    labels = restricted_pickle.load(file)
    if not isinstance(labels, dict) or not all(isinstance(name, str) for name in labels):
        raise SignBindError(f"{file}: found {type(labels).__name__}, wanted a dict of names")
    for key, entry in labels.items():
        name = key.removesuffix(".mp4")
        yield name if _is_name(name) else ascii(key)[:60], _labelled(name, entry, split)


def _labelled(name: str, entry: object, split: str) -> Sentence | str:
    if not _is_name(name):
        return "its name is not of letters, digits, - and _"
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        return "an entry without text"
    gloss = entry.get("gloss", "")
    glosses = gloss.split() if isinstance(gloss, str) else gloss
    if not isinstance(glosses, list | tuple) or not all(isinstance(word, str) for word in glosses):
        return "glosses that are no words"
    text, mended = _on_one_line(entry["text"])
    if not text:
        return "empty text"
    return Sentence(name, text, split, gloss=tuple(glosses), mended=mended)
