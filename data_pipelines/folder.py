"""The folder corpus: bring your own data as a directory with a `manifest.tsv`.

The manifest is UTF-8, tab-separated without quoting, with a header row. Required columns are
`id`, `split`, `text` and one of `pose`, `lips`, `video`; `text_language`, `signed_language`,
`signer`, `gloss`, `spelled`, `phonemes` and `senses` may follow in any order. Tokens of
`gloss`, `spelled`, `phonemes` and `senses` are separated by spaces. Paths are relative to the
manifest and may not leave its directory.

- `pose`: a `.pose` or `.npz` file (`data_pipelines.readers.poses`).
- `lips`: a directory of mouth crops or a video of them (`data_pipelines.readers.lip_crops`). A
  directory states no frame rate: it runs at the pose's, else at 25 frames a second.
- `video`: the recording itself; landmarks and crops have to be extracted from it first.
"""

import difflib
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_pipelines.corpus import Corpus, Reading, Recording
from data_pipelines.readers.extracted import find, notes_of, read_extracted
from data_pipelines.readers.lip_crops import read_lip_crops
from data_pipelines.readers.poses import read_pose_file
from signbind_jax.data import lips
from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError

MANIFEST = "manifest.tsv"
REQUIRED = ("id", "split", "text")
MODALITIES = ("pose", "lips", "video")
LANGUAGES = ("text_language", "signed_language", "signer")
TOKENS = ("gloss", "spelled", "phonemes", "senses")
COLUMNS = (*REQUIRED, *LANGUAGES, *MODALITIES, *TOKENS)
DEFAULT_LIP_FPS = 25.0
LARGEST_DRIFT = 0.05  # share by which the durations of pose and lips may differ


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


def open_corpus(source: Path, lip_size: int = 32, poses: Path | None = None) -> Corpus:
    """A folder corpus, its rows in the manifest's order.

    The whole manifest is checked before anything is read.

    Args:
      source: the directory that holds `manifest.tsv`.
      lip_size: side of the grey mouth crops in pixels.
      poses: where `signbind extract` put what belongs to rows with a video alone.

    Raises:
      SignBindError: on a missing or unknown column, a duplicate id, a missing file, a path
        that leaves the directory.
    """
    source = Path(source)
    by_split: dict[str, list[ManifestRow]] = {}
    for row in _rows(source):
        by_split.setdefault(row.cells["split"], []).append(row)
    record = {"corpus": "folder", "synthetic": False, "directory": str(source.absolute()),
              "lip_size": lip_size, "poses": str(poses.absolute()) if poses else ""}  # fmt: skip
    return Corpus(by_split, partial(read_row, lip_size=lip_size, poses=poses), record,
                  recording=_recording)  # fmt: skip


def _recording(row: ManifestRow) -> Recording | None:
    return Recording(row.paths["video"]) if "video" in row.paths else None


def add_arguments(parser) -> None:
    """Options of `signbind data build folder`."""
    parser.add_argument("--source", type=Path, metavar="DIR", required=True,
                        help="the directory that holds manifest.tsv")  # fmt: skip
    parser.add_argument("--lip_size", type=int, default=32, metavar="PIXELS",
                        help="side of the mouth crops (default: 32)")  # fmt: skip
    parser.add_argument(
        "--poses",
        type=Path,
        metavar="DIR",
        help="what signbind extract wrote, for rows with a video alone",
    )


def from_arguments(arguments) -> Corpus:
    """The corpus that parsed arguments ask for."""
    return open_corpus(arguments.source, arguments.lip_size, arguments.poses)


def read_row(row: ManifestRow, lip_size: int, poses: Path | None = None) -> Reading:
    """The clip of a row, and what was repaired in it.

    Raises:
      SignBindError: with the reason why there is no clip.
    """
    cells = row.cells
    if not cells["text"]:
        raise SignBindError("empty text")
    if not cells["pose"] and not cells["lips"] and poses is None:
        raise SignBindError("only a video: extract pose and mouth crops first (signbind extract)")
    fields: dict = {}
    repaired: dict[str, int] = {}
    if not cells["pose"] and not cells["lips"]:
        fields, repaired = read_extracted(find(poses, row.id), lip_size)
    if cells["pose"]:
        pose = read_pose_file(row.paths["pose"])
        fields |= {"pose": pose.points, "pose_fps": pose.fps}
        repaired |= notes_of(pose)
    if cells["lips"]:
        frames_fhw, fps = read_lip_crops(row.paths["lips"], lip_size)
        fps = fps or fields.get("pose_fps") or DEFAULT_LIP_FPS
        fields |= {"lips": lips.encode_mosaic(frames_fhw), "n_lip_frames": len(frames_fhw),
                   "lip_fps": fps}  # fmt: skip
    if cells["pose"] and cells["lips"]:
        _check_durations(fields)
    tokens = {name: tuple(cells[name].split()) for name in TOKENS}
    tokens["spelled"] = tuple(word.lower() for word in tokens["spelled"])
    languages = {name: cells[name] for name in LANGUAGES}
    clip = Clip(id=row.id, text=cells["text"], **languages, **tokens, **fields)
    return Reading(clip, repaired)


def _check_durations(fields: dict) -> None:
    pose_s = len(fields["pose"]) / fields["pose_fps"]
    lips_s = fields["n_lip_frames"] / fields["lip_fps"]
    if abs(pose_s - lips_s) > LARGEST_DRIFT * max(pose_s, lips_s):
        raise SignBindError(f"pose lasts {pose_s:.2f} s and lips {lips_s:.2f} s, wanted at most "
                            f"{LARGEST_DRIFT:.0%} apart")  # fmt: skip


def _rows(source: Path) -> list[ManifestRow]:
    """The manifest's rows, with every structural fault found before the first error is raised."""
    manifest = source / MANIFEST
    if not manifest.is_file():
        raise SignBindError(f"{source}: found no {MANIFEST}, wanted a folder corpus with one")
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SignBindError(f"{manifest}: byte {error.start} is not UTF-8: save it as "
                            "UTF-8") from error  # fmt: skip
    # Not splitlines: it also breaks at characters that may stand inside a sentence.
    table = [line.removesuffix("\r").split("\t") for line in text.split("\n")]
    if not text.strip():
        raise SignBindError(f"{manifest}: empty, wanted a header row: {' '.join(COLUMNS)}")
    header = [name.strip() for name in table[0]]
    _check_header(header, manifest)
    rows, faults = [], []
    seen: dict[str, int] = {}
    for line, values in enumerate(table[1:], start=2):
        if not any(value.strip() for value in values):
            continue
        try:
            row = _row(line, header, values, source)
            clip_id = row.cells["id"]
            if clip_id in seen:
                raise SignBindError(f"id: {clip_id!r} stands on line {seen[clip_id]} too: ids are "
                                    "unique")  # fmt: skip
            seen[clip_id] = line
            rows.append(row)
        except SignBindError as fault:
            faults.append(f"{manifest}:{line}: {fault}")
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise SignBindError(faults[0] + more)
    if not rows:
        raise SignBindError(f"{manifest}: found no rows below the header, wanted at least one clip")
    return rows


def _check_header(header: list[str], manifest: Path) -> None:
    for name in header:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name.lower(), COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {' '.join(COLUMNS)}"
            raise SignBindError(f"{manifest}: column {name!r} is unknown: {hint}")
        if header.count(name) > 1:
            raise SignBindError(f"{manifest}: column {name!r} stands there twice")
    for name in REQUIRED:
        if name not in header:
            raise SignBindError(f"{manifest}: column {name!r} is missing; found {' '.join(header)}")
    if not set(MODALITIES) & set(header):
        raise SignBindError(f"{manifest}: found none of the columns {', '.join(MODALITIES)}, "
                            "wanted at least one")  # fmt: skip


def _row(line: int, header: list[str], values: list[str], source: Path) -> ManifestRow:
    if len(values) > len(header):
        raise SignBindError(f"found {len(values)} fields, wanted {len(header)} as in the header: "
                            "a tab inside a field?")  # fmt: skip
    # Editors strip the tabs of empty last columns: what is not there is empty.
    cells = dict.fromkeys(COLUMNS, "")
    cells |= {name: value.strip() for name, value in zip(header, values, strict=False)}
    if not cells["id"]:
        raise SignBindError("id: found nothing, wanted a name that no other row has")
    if not re.fullmatch(r"[A-Za-z]\w*", cells["split"], re.ASCII):
        raise SignBindError(f"split: found {cells['split']!r}, wanted a name such as 'train' "
                            "(letters, digits, _)")  # fmt: skip
    given = [name for name in MODALITIES if cells[name]]
    if not given:
        raise SignBindError(f"found none of {', '.join(MODALITIES)}, wanted at least one")
    return ManifestRow(line, cells, {name: _inside(source, name, cells[name]) for name in given})


def _inside(source: Path, column: str, value: str) -> Path:
    """The file a cell names, symbolic links followed, once it is sure to lie in the corpus."""
    root = source.resolve()
    try:
        path = (source / value).resolve()
        is_directory = column == "lips" and path.is_dir()
        exists = is_directory or path.is_file()
        reached = [path]
        if is_directory and path.is_relative_to(root):
            reached += [Path(entry).resolve() for entry in os.scandir(path) if entry.is_symlink()]
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a link loop
        raise SignBindError(f"{column}: {value!r} is no usable path ({error})") from error
    if not all(file.is_relative_to(root) for file in reached):
        raise SignBindError(f"{column}: {value!r} leaves the corpus directory: copy the files "
                            "into it")  # fmt: skip
    if not exists:
        raise SignBindError(f"{column}: found no file {value!r} in {source}")
    return path
