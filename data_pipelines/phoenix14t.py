"""RWTH-PHOENIX-Weather 2014 T: weather forecasts in German Sign Language, glosses and German text.

The corpus directory is `PHOENIX-2014-T` of the release:

    PHOENIX-2014-T/
      annotations/manual/PHOENIX-2014-T.{train,dev,test}.corpus.csv
      features/fullFrame-210x260px/{train,dev,test}/01April_2010_Thursday_heute-6694/images0001.png

The tables are separated by "|" without quoting and read by the names of their columns `name`,
`start`, `end`, `speaker`, `orth` (the glosses) and `translation`. `dev` becomes validation. Frames
may also lie one level deeper, in a directory `1`. Landmarks have to be extracted first: `--poses`
holds `<name>.npz` or `<name>.pose`, or a directory of them for each of train, dev and test.
"""

from dataclasses import dataclass
from pathlib import Path

from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, forwarded
from signbind_jax.data_pipelines.readers import layout
from signbind_jax.data_pipelines.readers.directories import check_directories
from signbind_jax.data_pipelines.readers.options import LIP_SIZE
from signbind_jax.data_pipelines.readers.tables import TableRow, read_table

COLUMNS = ("name", "start", "end", "speaker", "orth", "translation")
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
PUBLISHED = {"train": 7096, "validation": 519, "test": 642}
FRAMES = "features/fullFrame-210x260px"
FPS = 25.0
WHOLE = ("-1", "")  # start and end of a row that is all of its frames
CITATION = (
    "N. C. Camgoz, S. Hadfield, O. Koller, H. Ney, R. Bowden: Neural Sign Language Translation. "
    "CVPR 2018."
)


@dataclass(frozen=True)
class SentenceRow:
    """A clip: `id` is its name, `part` the corpus's name of its split."""

    id: str
    part: str
    signer: str
    gloss: tuple[str, ...]
    text: str


def add_arguments(parser) -> None:
    """Options of `signbind data build phoenix14t`."""
    layout.add_arguments(parser, "the corpus, with annotations/ in it", FPS)


def open_corpus(
    source: Path,
    *,
    poses: Path | None = None,
    frames: Path | None = None,
    fps: float = FPS,
    lip_size: int = LIP_SIZE,
) -> Corpus:
    """The corpus, its rows in the order of its tables.

    Args:
      source: the directory that holds `annotations`.
      poses: landmarks by clip id, as `signbind extract` writes them.
      frames: the directory that holds `train`, `dev` and `test`, where it is not in `source`.
      fps: of the frames, for extraction.
      lip_size: side of the grey mouth crops in pixels.

    Raises:
      SignBindError: no such directory; a table that is missing, broken or has another header.
    """
    names = [f"annotations/manual/PHOENIX-2014-T.{part}.corpus.csv" for part in SPLITS]
    tables = dict(zip(SPLITS, layout.locate(source, *names), strict=True))
    check_directories(poses=poses, frames=frames)
    left_out: dict[str, list[str]] = {}
    rows = [row for part, table in tables.items() for row in _rows(part, table, left_out)]
    rows = layout.without_repeated(rows, left_out)
    frames = frames or layout.frame_directory(source, FRAMES)
    by_split = {split: [row for row in rows if row.part == part] for part, split in SPLITS.items()}
    return layout.frame_corpus(
        {"corpus": "phoenix14t", "citation": CITATION},
        by_split,
        left_out,
        read_row,
        PUBLISHED,
        fps=fps,
        lip_size=lip_size,
        directory=source,
        images=_images,
        poses=poses,
        frames=frames,
    )


from_arguments = forwarded(open_corpus)


def read_row(
    row: SentenceRow, *, poses: Path | None, frames: Path | None, lip_size: int = LIP_SIZE
) -> ReadResult:
    """The clip of a row, and what was repaired or does not fit; see `layout.read_sentence`."""
    if poses is not None and (poses / row.part).is_dir():
        poses = poses / row.part
    images, names = _images(row, frames), ("translation", "orth")
    return layout.read_sentence(
        row, poses, lip_size, images, None, columns=names, languages=("de", "gsg")
    )


def _rows(part: str, table: Path, left_out: dict[str, list[str]]) -> list[SentenceRow]:
    lines = read_table(table, COLUMNS, delimiter="|", quoted=False)
    sound = layout.sound_rows(lines, _fault, "name", left_out, f"{table.name} ")
    stripped = ({name: value.strip() for name, value in cells.items()} for cells in sound)
    return [
        SentenceRow(
            cells["name"],
            part,
            cells["speaker"],
            tuple(cells["orth"].split()),
            cells["translation"],
        )
        for cells in stripped
    ]


def _fault(line: TableRow) -> str:
    fault = layout.fault_of_id(line.cells["name"].strip())
    if fault:
        return f"name: {fault}"
    span = (line.cells["start"].strip(), line.cells["end"].strip())
    if not set(span) <= set(WHOLE):
        found = " and ".join(repr(value[:40]) for value in span)
        return f"start and end: found {found}, wanted -1: all of its frames"
    return ""


def _images(row: SentenceRow, frames: Path | None) -> Path | None:
    """Where the images of a clip lie: in the directory of its name, or in `1` below it."""
    if frames is None:
        return None
    name = f"{row.part}/{row.id}"
    return layout.frame_directory(frames, f"{name}/1") or layout.frame_directory(frames, name)
