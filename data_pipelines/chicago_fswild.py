"""ChicagoFSWild and ChicagoFSWildPlus: American fingerspelling in the wild.

The corpus directory holds `ChicagoFSWild.csv` (or `ChicagoFSWildPlus.csv`) and the frames of
every clip in a directory of its own, as the archives unpack:

    ChicagoFSWild/                          ChicagoFSWildPlus/
      ChicagoFSWild.csv                       ChicagoFSWildPlus.csv
      ChicagoFSWild-Frames/                   ChicagoFSWildPlus/
        aslized/ben_jarashow_1745/0001.jpg      Batch6/AFA_Rally_2011_6_0_0/0001.jpg
      BBox/
        aslized/ben_jarashow_1745/0001.txt

The CSV is read by the names of its columns `filename`, `number_of_frames`, `label_proc`,
`partition` and `signer`; nothing in it is taken for a missing value. `partition` train, dev and
test become train, validation and test. Landmarks have to be extracted first: `--poses` holds
`<filename>.npz`. Each corpus has a test set of its own; see docs/use/corpora/chicago_fswild.md.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.labels import letters, unknown_letters
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, forwarded
from signbind_jax.data_pipelines.readers import layout
from signbind_jax.data_pipelines.readers.directories import check_directories
from signbind_jax.data_pipelines.readers.options import LIP_SIZE, add_directory
from signbind_jax.data_pipelines.readers.tables import TableRow, read_table
from signbind_jax.errors import SignBindError

RELEASES = {"chicago_fswild": "ChicagoFSWild", "chicago_fswild_plus": "ChicagoFSWildPlus"}
COLUMNS = ("filename", "number_of_frames", "label_proc", "partition", "signer")
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
PUBLISHED = {"chicago_fswild": {"test": 868}, "chicago_fswild_plus": {"test": 1715}}
# The frames are those of the source videos, whose rate the CSV does not hold. The authors'
# detection code (chevalierNoir/FS-Detection) brings the videos of Plus to this rate, NTSC's.
FPS = 29.97
_ROWS_TRIED = 1000  # some clips have no frames
SIGNING_HAND, OTHER_HAND = 1, 2  # flags of a box
_MOST_BOX_BYTES = 2**16  # a frame shows a few hands
CITATION = (
    "B. Shi, A. Martinez Del Rio, J. Keane, J. Michaux, D. Brentari, G. Shakhnarovich, "
    "K. Livescu: American Sign Language fingerspelling recognition in the wild. SLT 2018. "
    "B. Shi, A. Martinez Del Rio, J. Keane, D. Brentari, G. Shakhnarovich, K. Livescu: "
    "Fingerspelling recognition in the wild with iterative visual attention. ICCV 2019."
)


@dataclass(frozen=True)
class SpelledRow:
    """A clip of the CSV: `id` is its filename, `label` its label_proc as it stands."""

    id: str
    split: str
    label: str
    signer: str
    n_frames: int


def add_arguments(parser) -> None:
    """Options of `signbind data build chicago_fswild` and `chicago_fswild_plus`."""
    layout.add_arguments(parser, "the corpus, with its CSV", FPS)
    add_directory(
        parser,
        "boxes",
        "the hand boxes, such as SOURCE/BBox: counts the frames in which the signing hand is boxed "
        "and the pose has no hand",
    )


def open_corpus(
    source: Path,
    corpus: str = "chicago_fswild",
    *,
    poses: Path | None = None,
    frames: Path | None = None,
    boxes: Path | None = None,
    fps: float = FPS,
    lip_size: int = LIP_SIZE,
) -> Corpus:
    """One of the two corpora, its rows in the order of the CSV.

    Args:
      source: the directory that holds the CSV.
      corpus: a name in `RELEASES`.
      poses: landmarks by clip id, as `signbind extract` writes them.
      frames: the directory above the clips' directories, where it is not found in `source`.
      boxes: the directory `BBox`.
      fps: of the frames, for extraction.
      lip_size: side of the grey mouth crops in pixels.

    Raises:
      SignBindError: no such directory; no CSV in it; a CSV with another header, or broken.
    """
    table = _table(source, corpus)
    check_directories(poses=poses, frames=frames, boxes=boxes)
    left_out: dict[str, list[str]] = {}
    rows = layout.without_repeated(_rows(table, left_out), left_out)
    by_split = {split: [row for row in rows if row.split == split] for split in SPLITS.values()}
    frames = frames or _frames_root(source, RELEASES[corpus], rows)
    return layout.frame_corpus(
        {"corpus": corpus, "citation": CITATION},
        by_split,
        left_out,
        read_row,
        PUBLISHED[corpus],
        fps=fps,
        lip_size=lip_size,
        directory=source,
        poses=poses,
        frames=frames,
        boxes=boxes,
    )


from_arguments = forwarded(open_corpus)


def read_row(
    row: SpelledRow,
    *,
    poses: Path | None,
    frames: Path | None,
    boxes: Path | None = None,
    lip_size: int = LIP_SIZE,
) -> ReadResult:
    """The clip of a row, and what was repaired or does not fit.

    Raises:
      SignBindError: with the reason why there is no clip.
    """
    text, notes = _label(row.label)
    modalities, repaired = layout.read_pose(poses, row.id, lip_size)
    images = layout.images_of(row, frames)
    notes |= repaired | layout.frame_notes(images, row.n_frames, modalities["pose"].n)
    if boxed := layout.images_of(row, boxes):
        notes |= box_notes(boxed, modalities["pose"].data)
    # What is spelled says nothing of signs or of the mouth: these labels stay empty.
    clip = Clip(
        id=row.id,
        text=text,
        text_language="en",
        signed_language="ase",
        signer=row.signer,
        spelled=tuple(text.lower().split()),
        modalities=modalities,
    )
    return ReadResult(clip, notes)


def box_notes(directory: Path, pose_tkc: np.ndarray) -> dict[str, int]:
    """What the hand boxes of a clip say of its pose: counts for the build's report.

    Each file `0001.txt`, ... has the boxes of one frame: lines of x0, y0, x1, y1 and a flag, 1 for
    the signing hand. Where in the frame a hand is cannot be compared: a pose has no pixels.

    Args:
      directory: of the clip in `BBox`.
      pose_tkc: (t, 91, 3) the canonical pose.
    """
    hands = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
    hand_t = np.any([(pose_tkc[:, hand, 2] > 0).any(-1) for hand in hands], axis=0)
    n_boxed = n_without = n_broken = n_beyond = 0
    for name in sorted(os.listdir(directory)):
        stem, suffix = os.path.splitext(name)
        if suffix != ".txt" or not stem.isdecimal():
            continue
        flags, broken = _box_flags(directory / name)
        n_broken += broken
        if SIGNING_HAND not in flags:
            continue
        frame = int(stem) - 1
        if not 0 <= frame < len(hand_t):
            n_beyond += 1
            continue
        n_boxed += 1
        n_without += not hand_t[frame]
    notes = {
        "boxes: frames with the signing hand boxed": n_boxed,
        "boxes: signing hand boxed, no hand in the pose": n_without,
        "boxes: files with a line that is no box": n_broken,
        "boxes: frames that the pose does not have": n_beyond,
    }
    return {what: n for what, n in notes.items() if n}


def _box_flags(path: Path) -> tuple[set[int], bool]:
    """Flags of the boxes of a frame, and whether any line is none."""
    flags, broken = set(), False
    try:
        lines = files.read_text(path, _MOST_BOX_BYTES).split("\n")
    except SignBindError:
        return flags, True
    for line in filter(str.strip, lines):
        try:
            x0, y0, x1, y1, flag = (_whole_number(text) for text in line.split(","))
        except ValueError:
            broken = True
            continue
        if flag in (SIGNING_HAND, OTHER_HAND) and x0 < x1 and y0 < y1:
            flags.add(flag)
        else:
            broken = True
    return flags, broken


def _whole_number(text: str) -> int:
    """A number in ASCII digits; int() takes those of any script."""
    if not text.isascii():
        raise ValueError(text)
    return int(text)


def _table(source: Path, corpus: str) -> Path:
    """The CSV of a corpus; that the other corpus lies there is told."""
    name = f"{RELEASES[corpus]}.csv"
    if not (source / name).is_file():
        for other, release in RELEASES.items():
            if (source / f"{release}.csv").is_file():
                raise SignBindError(
                    f"{source}: found {release}.csv, wanted {name}: build the corpus {other}"
                )
    return layout.locate(source, name)[0]


def _rows(table: Path, left_out: dict[str, list[str]]) -> list[SpelledRow]:
    rows = []
    for cells in layout.sound_rows(read_table(table, COLUMNS), _fault, "filename", left_out):
        filename, number, label, partition, signer = (cells[name] for name in COLUMNS)
        split = SPLITS[partition.strip()]
        rows.append(SpelledRow(filename.strip(), split, label, signer.strip(), int(number)))
    return rows


def _fault(line: TableRow) -> str:
    cells = {column: line.cells[column].strip() for column in COLUMNS}
    fault = layout.fault_of_id(cells["filename"])
    if fault:
        return f"filename: {fault}"
    if cells["partition"] not in SPLITS:
        return f"partition: found {cells['partition'][:40]!r}, wanted one of {', '.join(SPLITS)}"
    number = cells["number_of_frames"]
    if not re.fullmatch("0*[1-9][0-9]{0,8}", number):
        return f"number_of_frames: found {number[:40]!r}, wanted a whole number above 0"
    return ""


def _label(label: str) -> tuple[str, dict[str, int]]:
    """A label as text, and what the alphabet of 31 symbols lacks in it."""
    text = " ".join(label.split())
    if not text:
        raise SignBindError("empty label_proc")
    if not any(symbol != " " for symbol in letters((text,))):
        raise SignBindError(f"label_proc: found {text!r}, wanted letters of the alphabet")
    notes: dict[str, int] = {}
    for symbol in unknown_letters((text,)):
        what = f"label: {symbol!r} is not in the alphabet, no letter"
        notes[what] = notes.get(what, 0) + 1
    if text != label:
        notes["label: spaces at its ends or in a row, taken out"] = 1
    return text, notes


def _frames_root(source: Path, release: str, rows: list[SpelledRow]) -> Path | None:
    """The directory above the clips' directories: the first place that has one of them."""
    places = (
        f"{release}-Frames",
        release,
        f"{release}/{release}",
        "frames",
        f"frames/{release}",
        f"{release}-Frames/{release}",
        ".",
    )
    for place in places:
        root = layout.frame_directory(source, place)
        if root and any(layout.frame_directory(root, row.id) for row in rows[:_ROWS_TRIED]):
            return root
    return None
