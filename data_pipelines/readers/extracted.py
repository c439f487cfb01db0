"""Landmarks and mouth crops of a clip, one file each, as `signbind extract` writes them.

`DIRECTORY/<clip id>.npz` holds `keypoints` (t, n, 2), `scores` (t, n), `fps`, `width` and
`height` (`readers.poses`), and may hold `lips`, uint8 (f, h, w) grey mouth crops, with
`lip_fps` where it is not that of the pose and `lip_state` (f,), 0 for a crop without a face
(`data_pipelines.extraction.worker.mouth`). A `.pose` file of that name is a pose without crops.
An id with slashes lies in subdirectories.
"""

import bisect
import difflib
import functools
import os
from pathlib import Path

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data import lips
from signbind_jax.data.clip import Frames, check_id, pose_frames
from signbind_jax.data_pipelines.extraction.result import read_result
from signbind_jax.data_pipelines.readers.poses import Pose, read_pose_file
from signbind_jax.errors import SignBindError

SUFFIXES = (".npz", ".pose")


def file_of(directory: Path, clip_id: str, suffix: str = SUFFIXES[0]) -> Path:
    """Where the file of a clip lies, or will.

    Raises:
      SignBindError: an id that no file can have or that leaves the directory.
    """
    check_id(clip_id)
    return directory / f"{clip_id}{suffix}"


def find(directory: Path, clip_id: str, video: Path | None = None) -> Path:
    """The file of a clip: that of its id, else the one that `signbind extract` named by its video.

    Args:
      video: its recording, all of which is the clip. A file of that name counts where it says that
        it was extracted from a whole video of this name and size, as `signbind extract` asks too.

    Raises:
      SignBindError: as `file_of`; no such file, and which are there. In front of the first colon
        stands what is this clip's own, so that a build counts the rest as one reason.
    """
    for suffix in SUFFIXES:
        path = file_of(directory, clip_id, suffix)
        if path.is_file():
            return path
    wanted = file_of(directory, clip_id)
    reason = "no pose file: extract it first (signbind extract)"
    near = _nearest(wanted)
    for path in (directory / f"{video.stem}{end}" for end in SUFFIXES) if video else ():
        if path.is_file() and _is_of(path, video):
            return path
        if path.is_file():
            near = [video.stem]
            reason = (
                "no pose file of this id, and the one named by the video is not known to be of it: "
                "extract with --list, which gives clips their ids (signbind data clips)"
            )
    there = f"nearest are {', '.join(near)}" if near else "there is none"
    raise SignBindError(f"{wanted} or .pose ({there}): {reason}")


def _is_of(path: Path, video: Path) -> bool:
    """Whether `signbind extract` made a file of all of this video."""
    if path.suffix != ".npz":
        return False
    try:
        made = read_result(path)
    except SignBindError:  # somebody else's file
        return False
    wanted = (video.name, video.stat().st_size, 0.0, None)
    return made is not None and wanted == (made.video, made.video_bytes, made.start_s, made.end_s)


def _nearest(wanted: Path) -> list[str]:
    """The two names beside a file that look most like its own; they lie near it in order."""
    names = _names_in(wanted.parent)
    place = bisect.bisect(names, wanted.stem)
    around = names[max(0, place - 10) : place + 10]
    return difflib.get_close_matches(wanted.stem, around, 2, 0)


@functools.lru_cache(maxsize=16)
def _names_in(directory: Path) -> tuple[str, ...]:
    try:
        names = os.listdir(directory)
    except OSError:
        return ()
    return tuple(sorted({Path(name).stem for name in names if name.endswith(SUFFIXES)}))


def read_extracted(path: Path, lip_size: int | None) -> tuple[dict[str, Frames], dict[str, int]]:
    """The modalities of a clip's file, and what was repaired.

    Args:
      path: as `find` gives it.
      lip_size: side of the mouth crops in pixels; None: crops are not read.

    Raises:
      SignBindError: see `read_pose_file`; crops that are no grey pictures.
    """
    pose = read_pose_file(path)
    modalities = {"pose": pose_frames(pose.points, pose.fps)}
    repaired = notes_of(pose)
    if path.suffix == ".npz" and lip_size is not None:
        crops_fhw, fps, state_f = _read_crops(path)
        if crops_fhw is None:
            return modalities, repaired
        if len(crops_fhw):
            crops_fhw = lips.resize(crops_fhw, lip_size, lip_size)
            modalities["lips"] = lips.lip_frames(crops_fhw, fps or pose.fps)
        if n_without := int((state_f == 0).sum()):
            repaired[
                "mouth crops without a face, now the clip's mean"
                if len(crops_fhw)
                else "frames without a face, so without mouth crops"
            ] = n_without
    return modalities, repaired


def _read_crops(path: Path) -> tuple[np.ndarray | None, float, np.ndarray]:
    """Mouth crops (f, h, w), None where there is no such field; their frame rate, 0 where it is
    the pose's; and their states (f,)."""
    arrays = files.read_arrays(path, ("lips", "lip_fps", "lip_state"))
    wanted = {
        "lips": (
            "uint8 (frames, height, width)",
            lambda x: x.ndim == 3 and x.dtype == np.uint8 and 0 not in x.shape[1:],
        ),
        "lip_fps": ("a number", lambda x: x.size == 1 and x.dtype.kind in "fiu"),
        "lip_state": ("a number a frame", lambda x: x.ndim == 1 and x.dtype.kind in "fbiu"),
    }
    for name, array in arrays.items():
        what, fits = wanted[name]
        if not fits(array):
            raise SignBindError(f"{path}: {name}: found {array.dtype} {array.shape}, wanted {what}")
    fps = float(arrays["lip_fps"].item()) if "lip_fps" in arrays else 0.0
    return arrays.get("lips"), fps, arrays.get("lip_state", np.ones(1))


def notes_of(pose: Pose) -> dict[str, int]:
    """What was repaired in a pose or is missing from it, to be counted in the build's report."""
    repaired = {f"pose: {note}": 1 for note in pose.notes}
    if pose.n_repaired:
        repaired["keypoints not finite, now missing"] = pose.n_repaired
    hands = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
    if not any((pose.points[:, hand, 2] > 0).any() for hand in hands):
        repaired["pose: no hand in any frame"] = 1
    return repaired
