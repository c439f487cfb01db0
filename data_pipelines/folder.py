"""The folder corpus: bring your own data as a directory with a `manifest.tsv`.

The manifest is UTF-8, tab-separated without quoting, with a header row. Required columns are
`id`, `split`, `text` and one of `pose`, `lips`, `video`, `streams`; `text_language`,
`signed_language`, `signer`, `recording`, `gloss`, `spelled`, `phonemes` and `fusion_targets` may
follow in any order, the last four with spaces between their tokens. Clips of one recording stand in
the order in which they were signed. Paths are relative to the manifest and may not leave its
directory.

- `pose`: a `.pose` or `.npz` file (`data_pipelines.readers.poses`). Mouth crops in it, as
  `signbind extract` writes them, are read where the row names no others.
- `lips`: a directory of mouth crops or a video of them (`data_pipelines.readers.lip_crops`). A
  directory states no frame rate: it runs at the pose's, else at 25 frames a second.
- `video`: the recording itself; landmarks and crops have to be extracted from it first.
- `streams`: a `.jsonl` or `.jsonl.gz` file (`data_pipelines.readers.token_streams`) with a line of
  the row's id, of which tokens and times count; labels are the manifest's.

What fusion reads where a row gives no `fusion_targets` are the lemmas of the text's content words,
as they are signed. Of speech read from lips it is every word: `--every_word`.
"""

import difflib
import io
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from signbind_jax import files
from signbind_jax.data.clip import check_id
from signbind_jax.data.dataset_description import check_split_name
from signbind_jax.data.labels import words_of
from signbind_jax.data_pipelines.corpus import (
    Corpus,
    ReadResult,
    Recording,
    UniqueIds,
    forwarded,
)
from signbind_jax.data_pipelines.readers.clip_file import Kind, read_clip
from signbind_jax.data_pipelines.readers.extracted import find
from signbind_jax.data_pipelines.readers.options import LIP_SIZE, add_directory, add_lip_size
from signbind_jax.data_pipelines.readers.token_streams import clip_of, line_of
from signbind_jax.errors import SignBindError

MANIFEST = "manifest.tsv"
REQUIRED = ("id", "split", "text")
MODALITIES = ("pose", "lips", "video", "streams")
ORIGIN = ("text_language", "signed_language", "signer", "recording")
TOKENS = ("gloss", "spelled", "phonemes", "fusion_targets")
MANIFEST_BYTES = 2**28  # a million rows of 250
RENAMED = {"senses": "fusion_targets"}  # columns of manifests that exist
COLUMNS = (*REQUIRED, *ORIGIN, *MODALITIES, *TOKENS)


@dataclass(frozen=True)
class ManifestRow:
    """A line of the manifest: its cells by column, and the files they name."""

    line: int
    cells: dict[str, str]
    paths: dict[str, Path]

    @property
    def id(self) -> str:
        """The clip's id."""
        return self.cells["id"]


def open_corpus(
    source: Path, lip_size: int = LIP_SIZE, poses: Path | None = None, every_word: bool = False
) -> Corpus:
    """A folder corpus, its rows in the manifest's order.

    The whole manifest is checked before anything is read.

    Args:
      source: the directory that holds `manifest.tsv`.
      lip_size: side of the grey mouth crops in pixels.
      poses: where `signbind extract` put what belongs to rows with a video alone.
      every_word: fusion reads all words of a text, in lower case, where a row does not say.

    Raises:
      SignBindError: on a missing or unknown column, a duplicate id, a missing file, a path
        that leaves the directory.
    """
    source = Path(source)
    by_split: dict[str, list[ManifestRow]] = {}
    for row in _rows(source):
        by_split.setdefault(row.cells["split"], []).append(row)
    record = {
        "corpus": "folder",
        "synthetic": False,
        "directory": str(source.absolute()),
        "lip_size": lip_size,
        "poses": str(poses.absolute()) if poses else "",
    }
    if every_word:  # came later: datasets without it are as they were
        record["every_word"] = True
    read = partial(read_row, lip_size=lip_size, poses=poses, every_word=every_word)
    return Corpus(by_split, read, record, recording=_recording)


def _recording(row: ManifestRow) -> Recording | None:
    return Recording(row.paths["video"]) if "video" in row.paths else None


def add_arguments(parser) -> None:
    """Options of `signbind data build folder`."""
    add_directory(parser, "source", "the directory that holds manifest.tsv", required=True)
    add_lip_size(parser)
    text = "what signbind extract wrote, for rows with a video alone"
    add_directory(parser, "poses", text)
    parser.add_argument(
        "--every_word",
        action="store_true",
        help="fusion reads all words of a text where a row gives no fusion_targets, and not the "
        "lemmas of its content words: for speech read from lips",
    )


from_arguments = forwarded(open_corpus)


def read_row(
    row: ManifestRow, lip_size: int, poses: Path | None = None, every_word: bool = False
) -> ReadResult:
    """The clip of a row, and what was repaired in it.

    Raises:
      SignBindError: with the reason why there is no clip.
    """
    cells = row.cells
    if not cells["text"]:
        raise SignBindError("empty text")
    to_extract = cells["video"] and not cells["pose"] and not cells["lips"]
    if to_extract and not cells["streams"] and poses is None:
        raise SignBindError("only a video: extract pose and mouth crops first (signbind extract)")
    paths = {Kind.LANDMARKS: row.paths.get("pose"), Kind.CROPS: row.paths.get("lips")}
    if to_extract and poses is not None:
        paths[Kind.LANDMARKS] = find(poses, row.id, row.paths["video"])
    tokens = {name: tuple(cells[name].split()) for name in TOKENS}
    tokens["spelled"] = tuple(word.lower() for word in tokens["spelled"])
    if every_word and not tokens["fusion_targets"]:
        tokens["fusion_targets"] = tuple(words_of(cells["text"].lower()))
    origin = {name: cells[name] for name in ORIGIN}
    given = {kind: path for kind, path in paths.items() if path is not None}
    labels = {"text": cells["text"], **origin, **tokens}
    if cells["streams"]:
        read = clip_of(line_of(row.paths["streams"], row.id))
        labels |= {"streams": read.streams, "seconds": read.seconds}
    return read_clip(given, lip_size, row.id, **labels)


def _rows(source: Path) -> list[ManifestRow]:
    """The manifest's rows, with every structural fault found before the first error is raised."""
    manifest = source / MANIFEST
    if not manifest.exists():
        raise SignBindError(f"{source}: found no {MANIFEST}, wanted a folder corpus with one")
    text = files.read_text(manifest, MANIFEST_BYTES)
    if not text.strip():
        raise SignBindError(f"{manifest}: empty, wanted a header row: {' '.join(COLUMNS)}")
    # Not splitlines: it also breaks at characters that may stand inside a sentence.
    table = io.StringIO(text, newline="\n")
    names = [name.strip() for name in next(table).split("\t", 2 * len(COLUMNS))]
    header = [RENAMED.get(name, name) for name in names]
    _check_header(header, manifest)
    rows, first_fault, n_faults = [], "", 0
    ids = UniqueIds()
    for line, values in enumerate(table, start=2):
        if not values.strip():
            continue
        try:
            row = _row(line, header, values.removesuffix("\n").removesuffix("\r"), source)
            ids.add(row.id, f"on line {line}")
            rows.append(row)
        except SignBindError as fault:
            first_fault = first_fault or f"{manifest}:{line}: {fault}"
            n_faults += 1
    if n_faults:
        more = f" (and {n_faults - 1} more faults)" if n_faults > 1 else ""
        raise SignBindError(first_fault + more)
    if not rows:
        raise SignBindError(f"{manifest}: found no rows below the header, wanted at least one clip")
    return rows


def _check_header(header: list[str], manifest: Path) -> None:
    for name in header:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name[:60].lower(), COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {' '.join(COLUMNS)}"
            raise SignBindError(f"{manifest}: column {name[:60]!r} is unknown: {hint}")
        if header.count(name) > 1:
            raise SignBindError(f"{manifest}: column {name!r} stands there twice")
    for name in REQUIRED:
        if name not in header:
            raise SignBindError(f"{manifest}: column {name!r} is missing; found {' '.join(header)}")
    if not set(MODALITIES) & set(header):
        raise SignBindError(
            f"{manifest}: found none of the columns {', '.join(MODALITIES)}, wanted at least one"
        )


def _row(line: int, header: list[str], text: str, source: Path) -> ManifestRow:
    if (n := text.count("\t") + 1) > len(header):
        raise SignBindError(
            f"found {n} fields, wanted {len(header)} as in the header: a tab inside a field?"
        )
    # Editors strip the tabs of empty last columns: what is not there is empty.
    cells = dict.fromkeys(COLUMNS, "")
    cells |= {name: value.strip() for name, value in zip(header, text.split("\t"), strict=False)}
    check_id(cells["id"])
    check_split_name(cells["split"])
    given = [name for name in MODALITIES if cells[name]]
    if not given:
        raise SignBindError(f"found none of {', '.join(MODALITIES)}, wanted at least one")
    return ManifestRow(line, cells, {name: _inside(source, name, cells[name]) for name in given})


def _inside(source: Path, column: str, value: str) -> Path:
    """The file a cell names, symbolic links followed, once it is sure to lie in the corpus."""
    root, short = source.resolve(), repr(value[:100])
    try:
        path = (source / value).resolve()
        is_directory = column == "lips" and path.is_dir()
        exists = is_directory or path.is_file()  # no pipe, which would wait for ever
        reached = [path]
        if is_directory and path.is_relative_to(root):
            reached += [Path(entry).resolve() for entry in os.scandir(path) if entry.is_symlink()]
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a link loop
        why = getattr(error, "strerror", None) or error
        raise SignBindError(f"{column}: {short} is no usable path ({why})") from error
    if not all(file.is_relative_to(root) for file in reached):
        raise SignBindError(
            f"{column}: {short} leaves the corpus directory: copy the files into it"
        )
    if not exists:
        raise SignBindError(f"{column}: found no file {short} in {source}")
    return path
