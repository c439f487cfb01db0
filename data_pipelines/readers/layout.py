"""Where a corpus of frame directories lies on disk: its tables, its frames, its poses."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from signbind_jax.data.clip import Clip, Frames
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, Recording, Row
from signbind_jax.data_pipelines.extraction.worker.pictures import SUFFIXES
from signbind_jax.data_pipelines.readers.directories import not_the_corpus
from signbind_jax.data_pipelines.readers.extracted import find, read_extracted
from signbind_jax.data_pipelines.readers.options import (
    add_directory,
    add_lip_size,
    add_number,
    frames_a_second,
)
from signbind_jax.data_pipelines.readers.tables import TableRow
from signbind_jax.errors import SignBindError

_LONGEST_ID = 1000


def add_arguments(parser, corpus: str, fps: float) -> None:
    """The options that corpora of frame directories share."""
    add_directory(parser, "source", f"the directory of {corpus}", required=True)
    add_directory(
        parser,
        "poses",
        "what signbind extract wrote: CLIP_ID.npz or CLIP_ID.pose; without it no clip has a pose "
        "and all are left out",
    )
    add_directory(parser, "frames", "the frames, where they lie elsewhere")
    text = "frames a second of the frame directories, for extraction"
    add_number(parser, "fps", frames_a_second, fps, "RATE", text)
    add_lip_size(parser)


def images_of(row: Row, frames: Path | None) -> Path | None:
    """Where the images of a clip lie: in the directory of its id."""
    return frame_directory(frames, row.id) if frames else None


def frame_corpus(
    record: Mapping,
    splits: Mapping[str, Sequence[Row]],
    left_out: Mapping[str, Sequence[str]],
    read: Callable[..., ReadResult],
    published: Mapping[str, int],
    *,
    fps: float,
    lip_size: int,
    directory: Path,
    images: Callable[[Row, Path | None], Path | None] = images_of,
    **directories: Path | None,
) -> Corpus:
    """A corpus whose recordings are directories of frames.

    Args:
      record: of its source: `corpus`, `citation`.
      read: of a row, `lip_size` and `directories`, which are `poses`, `frames` and others.
      directory: of the corpus.
      images: the directory of a row's images.
    """
    source = {"synthetic": False, "lip_size": lip_size, **record}
    for name, path in {"directory": directory, **directories}.items():
        source[name] = str(path.absolute()) if path else ""
    frames = directories["frames"]
    return Corpus(
        splits,
        partial(read, lip_size=lip_size, **directories),
        source,
        left_out,
        published,
        partial(_recording, images=images, frames=frames, fps=fps),
    )


def _recording(row: Row, images: Callable, frames: Path | None, fps: float) -> Recording | None:
    directory = images(row, frames)
    return Recording(directory, fps=fps) if directory else None


def read_sentence(
    row: Row,
    poses: Path | None,
    lip_size: int,
    images: Path | None,
    stated: int | None,
    *,
    columns: tuple[str, str],
    languages: tuple[str, str],
) -> ReadResult:
    """The clip of a row with `text`, `gloss` and `signer`, and what was repaired or does not fit.

    Args:
      images: the directory of its images.
      stated: frames by annotation; None where it says nothing.
      columns: what the corpus calls text and gloss.
      languages: of text and signing, see `Clip`.

    Raises:
      SignBindError: with the reason why there is no clip.
    """
    if not row.text:
        raise SignBindError(f"empty {columns[0]}")
    modalities, notes = read_pose(poses, row.id, lip_size)
    notes |= frame_notes(images, stated, modalities["pose"].n)
    if not row.gloss:
        notes[f"{columns[1]}: no gloss"] = 1
    clip = Clip(
        row.id, row.text, *languages, signer=row.signer, gloss=row.gloss, modalities=modalities
    )
    return ReadResult(clip, notes)


def locate(source: Path, name: str, *others: str) -> list[Path]:
    """Files of a corpus directory: the one that tells it, and others that have to be with it.

    Raises:
      SignBindError: one is not there; says where the corpus seems to be.
    """
    if not (source / name).is_file():
        raise not_the_corpus(source, name, lambda place: (place / name).is_file())
    for other in others:
        if not (source / other).is_file():
            raise SignBindError(
                f"{source / other}: no such file, wanted it with {name}: copy the corpus again"
            )
    return [source / path for path in (name, *others)]


def fault_of_id(clip_id: str) -> str:
    """Why a clip's id cannot name its files; empty where it can."""
    if not clip_id:
        return "found no name"
    if not _is_sayable(clip_id):
        return "name with unprintable characters, or too long"
    if clip_id.startswith("/") or {"..", ""} & set(clip_id.split("/")):
        return "name that leaves the corpus directory"
    return ""


def sayable(clip_id: str, otherwise: str = "") -> str:
    """A clip's id as a report can show it, or what stands for it there: its beginning, escaped,
    where nothing else tells it."""
    return clip_id if _is_sayable(clip_id) else otherwise or ascii(clip_id[:60])


def _is_sayable(clip_id: str) -> bool:
    return 0 < len(clip_id) <= _LONGEST_ID and clip_id.isprintable()


def sound_rows(
    lines: Iterable[TableRow],
    fault_of: Callable[[TableRow], str],
    name: str,
    left_out: dict[str, list[str]],
    place: str = "",
) -> Iterator[dict[str, str]]:
    """The cells of the rows of a table in which there is no fault.

    Args:
      name: the column that names a clip.
      place: in front of the line that stands for a clip that cannot be named.
    """
    for line in lines:
        if fault := line.fault or fault_of(line):
            clip = sayable(line.cells.get(name, "").strip(), f"{place}line {line.line}")
            left_out.setdefault(fault, []).append(clip)
        else:
            yield line.cells


def without_repeated(rows: Sequence, left_out: dict[str, list[str]]) -> list:
    """The rows whose id no other row has; of the others it is not known which one is right."""
    n_of_id = collections.Counter(row.id for row in rows)
    repeated = [row.id for row in rows if n_of_id[row.id] > 1]
    if repeated:
        left_out.setdefault("several rows of that name", []).extend(repeated)
    return [row for row in rows if n_of_id[row.id] == 1]


def frame_directory(root: Path, relative: str) -> Path | None:
    """A directory of frames; None where there is none or where it lies outside `root`."""
    try:
        path = (root / relative).resolve()
        inside = path.is_relative_to(root.resolve())
        return path if inside and path.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, a link loop
        return None


def count_images(directory: Path) -> int:
    """How many images a directory holds; what else lies in it does not count."""
    with os.scandir(directory) as entries:
        return sum(
            1
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES)
            and not entry.name.startswith(".")
            and entry.is_file(follow_symlinks=False)
        )


def read_pose(
    poses: Path | None, clip_id: str, lip_size: int
) -> tuple[dict[str, Frames], dict[str, int]]:
    """The modalities that extraction gave, and what was repaired.

    Raises:
      SignBindError: there is no pose, or it cannot be read.
    """
    if poses is None:
        raise SignBindError("no pose: run signbind extract and give what it wrote as --poses=DIR")
    return read_extracted(find(poses, clip_id), lip_size)


def frame_notes(directory: Path | None, stated: int | None, n_pose_frames: int) -> dict[str, int]:
    """What does not fit between annotation, disk and pose, to be counted in the build's report.

    Args:
      directory: the clip's frames; None where they are not at hand.
      stated: frames by annotation; None where it says nothing.
      n_pose_frames: frames of the pose.
    """
    notes = {}
    on_disk = None if directory is None else count_images(directory)
    if on_disk is None:
        notes["frames: not in the corpus directory, not counted"] = 1
    elif stated is not None and on_disk != stated:
        notes["frames: another number on disk than annotated"] = 1
    wanted = stated if on_disk is None else on_disk
    if wanted is not None and n_pose_frames != wanted:
        notes["pose: another number of frames than the recording"] = 1
    return notes
