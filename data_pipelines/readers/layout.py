"""Where a corpus of frame directories lies on disk: its tables, its frames, its poses."""

import argparse
import collections
import os
from collections.abc import Sequence
from pathlib import Path

from signbind_jax.data.clip import Frames
from signbind_jax.data_pipelines.extraction.worker.pictures import SUFFIXES
from signbind_jax.data_pipelines.readers.directories import not_the_corpus
from signbind_jax.data_pipelines.readers.extracted import find, read_extracted
from signbind_jax.errors import SignBindError

_LONGEST_ID = 1000
_MOST_FPS = 1000.0


def add_arguments(parser, corpus: str, fps: float) -> None:
    """The options that corpora of frame directories share."""
    parser.add_argument(
        "--source", type=Path, metavar="DIR", required=True, help=f"the directory of {corpus}"
    )
    parser.add_argument(
        "--poses",
        type=Path,
        metavar="DIR",
        help="what signbind extract wrote: CLIP_ID.npz or CLIP_ID.pose; without "
        "it no clip has a pose and all are left out",
    )
    parser.add_argument(
        "--frames", type=Path, metavar="DIR", help="the frames, where they lie elsewhere"
    )
    parser.add_argument(
        "--fps",
        type=frames_a_second,
        default=fps,
        metavar="RATE",
        help="frames a second of the frame directories, for extraction (default: %(default)s)",
    )
    parser.add_argument(
        "--lip_size",
        type=pixels,
        default=32,
        metavar="PIXELS",
        help="side of the mouth crops (default: %(default)s)",
    )


def frames_a_second(text: str) -> float:
    """A frame rate on the command line."""
    rate = float(text)
    if not 0 < rate <= _MOST_FPS:
        raise argparse.ArgumentTypeError(
            f"found {text[:40]}, wanted a number above 0, at most {_MOST_FPS:g}"
        )
    return rate


def pixels(text: str) -> int:
    """The side of a mouth crop in pixels on the command line."""
    return whole_number(text, 1, 1024)


def whole_number(text: str, least: int, most: int) -> int:
    """A whole number on the command line, within limits."""
    value = int(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(
            f"found {text[:40]}, wanted a whole number, {least} to {most}"
        )
    return value


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


def paths_of_record(**directories: Path | None) -> dict[str, str]:
    """Directories as a dataset's record of its source has them; empty where there is none."""
    return {name: str(path.absolute()) if path else "" for name, path in directories.items()}


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
