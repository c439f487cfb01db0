"""CSL-Daily: everyday sentences in Chinese Sign Language, glosses and Chinese text.

The corpus directory holds the labels and the frames:

    CSL-Daily/
      sentence_label/csl2020ct_v2.pkl
      sentence_label/split_1.txt
      sentence/frames_512x512/S000000_P0000_T00/000000.jpg

`csl2020ct_v2.pkl` is read without running anything in it: `info` lists `name`, `length`,
`label_gloss`, `label_char`, `signer` of each clip. The text is `label_char`, joined. `split_1.txt`
has `name|split` lines, with or without a header; `dev` becomes validation. Landmarks have to be
extracted first: `--poses` holds `<name>.npz`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax import files
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, forwarded
from signbind_jax.data_pipelines.readers import layout, restricted_pickle
from signbind_jax.data_pipelines.readers.directories import check_directories
from signbind_jax.data_pipelines.readers.options import LIP_SIZE
from signbind_jax.errors import SignBindError

LABELS = "sentence_label/csl2020ct_v2.pkl"
SPLIT_FILE = "sentence_label/split_1.txt"
FRAMES = "sentence/frames_512x512"
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
PUBLISHED = {"train": 18401, "validation": 1077, "test": 1176}
FPS = 30.0
CITATION = (
    "H. Zhou, W. Zhou, W. Qi, J. Pu, H. Li: Improving Sign Language Translation with Monolingual "
    "Data by Sign Back-Translation. CVPR 2021."
)


@dataclass(frozen=True)
class SentenceRow:
    """A clip: `id` is its name; `n_frames` is None where its length is no number."""

    id: str
    signer: str
    gloss: tuple[str, ...]
    text: str
    n_frames: int | None


def add_arguments(parser) -> None:
    """Options of `signbind data build csl_daily`."""
    layout.add_arguments(parser, "the corpus, with sentence_label/ in it", FPS)


def open_corpus(
    source: Path,
    *,
    poses: Path | None = None,
    frames: Path | None = None,
    fps: float = FPS,
    lip_size: int = LIP_SIZE,
) -> Corpus:
    """The corpus, its rows in the order of `split_1.txt`.

    Args:
      source: the directory that holds `sentence_label`.
      poses: landmarks by clip id, as `signbind extract` writes them.
      frames: the directory above the clips' directories, where it is not in `source`.
      fps: of the frames, for extraction.
      lip_size: side of the grey mouth crops in pixels.

    Raises:
      SignBindError: no such directory; labels or splits that are missing or broken.
    """
    labels, split_file = layout.locate(source, LABELS, SPLIT_FILE)
    check_directories(poses=poses, frames=frames)
    left_out: dict[str, list[str]] = {}
    row_of = {row.id: row for row in _rows(labels, left_out)}
    labelled = {*row_of, *(name for names in left_out.values() for name in names)}
    split_of = _splits(split_file, left_out)
    by_split: dict[str, list[SentenceRow]] = {split: [] for split in SPLITS.values()}
    for name, split in split_of.items():
        if name in row_of:
            by_split[split].append(row_of[name])
        elif name not in labelled:
            left_out.setdefault(f"no label in {labels.name}", []).append(layout.sayable(name))
    listed = {*split_of, *(name for names in left_out.values() for name in names)}
    for name in row_of:
        if name not in listed:
            left_out.setdefault(f"no split in {split_file.name}", []).append(name)
    frames = frames or layout.frame_directory(source, FRAMES)
    return layout.frame_corpus(
        {"corpus": "csl_daily", "citation": CITATION},
        by_split,
        left_out,
        read_row,
        PUBLISHED,
        fps=fps,
        lip_size=lip_size,
        directory=source,
        poses=poses,
        frames=frames,
    )


from_arguments = forwarded(open_corpus)


def read_row(
    row: SentenceRow, *, poses: Path | None, frames: Path | None, lip_size: int = LIP_SIZE
) -> ReadResult:
    """The clip of a row, and what was repaired or does not fit; see `layout.read_sentence`."""
    images, names = layout.images_of(row, frames), ("label_char", "label_gloss")
    clip, notes = layout.read_sentence(
        row, poses, lip_size, images, row.n_frames, columns=names, languages=("zh", "csl")
    )
    if row.n_frames is None:
        notes["length: no number of frames"] = 1
    return ReadResult(clip, notes)


def _rows(labels: Path, left_out: dict[str, list[str]]) -> list[SentenceRow]:
    content = restricted_pickle.load(labels)
    if not isinstance(content, Mapping) or not isinstance(content.get("info"), list | tuple):
        raise SignBindError(
            f"{labels}: info: found {type(content).__name__} without such a list, "
            "wanted a dictionary with the clips under 'info'"
        )
    rows = []
    for index, entry in enumerate(content["info"]):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        name = name.strip() if isinstance(name, str) else ""
        try:
            rows.append(_row(name, entry))
        except SignBindError as fault:
            left_out.setdefault(str(fault), []).append(layout.sayable(name, f"info {index}"))
    if not rows:
        raise SignBindError(f"{labels}: info: found no clip that can be used, wanted at least one")
    return layout.without_repeated(rows, left_out)


def _row(name: str, entry) -> SentenceRow:
    fault = layout.fault_of_id(name)
    if fault:
        raise SignBindError(f"name: {fault}")
    length, signer = entry.get("length"), entry.get("signer")
    n_frames = int(length) if isinstance(length, int | np.integer) and length > 0 else None
    signer = str(signer) if isinstance(signer, int | np.integer) or _is_text(signer) else ""
    text = "".join(_tokens(entry, "label_char")).strip()
    return SentenceRow(name, signer, _tokens(entry, "label_gloss"), text, n_frames)


def _tokens(entry: Mapping, field: str) -> tuple[str, ...]:
    values = entry.get(field)
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list | tuple) or not all(map(_is_text, values)):
        raise SignBindError(f"{field}: found {type(values).__name__}, wanted a list of text")
    return tuple(str(value) for value in values)


def _is_text(value) -> bool:
    """Whether a value is text that can be written: a pickle may hold halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _splits(path: Path, left_out: dict[str, list[str]]) -> dict[str, str]:
    """Name -> split, in the order of the file."""
    parts_of: dict[str, set[str]] = {}
    for number, line in enumerate(files.read_text(path).split("\n"), start=1):
        name, _, part = (value.strip() for value in line.partition("|"))
        if not line.strip() or (name, part) == ("name", "split"):
            continue
        if part in SPLITS:
            parts_of.setdefault(name, set()).add(part)
        else:
            reason = f"{path.name}: found split {part[:60]!r}, wanted one of {', '.join(SPLITS)}"
            left_out.setdefault(reason, []).append(layout.sayable(name, f"line {number}"))
    in_two = [name for name, parts in parts_of.items() if len(parts) > 1]
    if in_two:
        left_out[f"in two splits of {path.name}"] = [layout.sayable(name) for name in in_two]
    split_of = {name: SPLITS[part] for name, (part, *more) in parts_of.items() if not more}
    if not split_of:
        raise SignBindError(f"{path}: found no line 'name|split', wanted one for each clip")
    return split_of
