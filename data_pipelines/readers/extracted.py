"""Landmarks and mouth crops of a clip, one file each, as `signbind extract` writes them.

`DIRECTORY/<clip id>.npz` holds `keypoints` (t, n, 2), `scores` (t, n), `fps`, `width` and
`height` (`readers.poses`), and may hold `lips`, uint8 (f, h, w) grey mouth crops, with
`lip_fps` where it is not that of the pose and `lip_state` (f,), 0 for a crop without a face
(`data_pipelines.extraction.worker.mouth`). A `.pose` file of that name is a pose without crops.
An id with slashes lies in subdirectories.
"""

from pathlib import Path

import numpy as np

from data_pipelines.readers.poses import Pose, read_pose_file
from signbind_jax import keypoints
from signbind_jax.data import lips
from signbind_jax.errors import SignBindError

SUFFIXES = (".npz", ".pose")


def file_of(directory: Path, clip_id: str, suffix: str = SUFFIXES[0]) -> Path:
    """Where the file of a clip lies, or will.

    Raises:
      SignBindError: an id that no file can have or that leaves the directory.
    """
    parts = clip_id.split("/")
    if ".." in parts or parts[0] == "":
        raise SignBindError(f"id: {clip_id!r} leaves the directory of poses" if clip_id else
                            "id: found nothing, wanted a name")  # fmt: skip
    # What a file system takes, the suffixes of partial files left for us.
    if parts[-1] == "" or not clip_id.isprintable() or max(len(p.encode()) for p in parts) > 200:
        raise SignBindError(f"id: {clip_id[:100]!r} cannot be a file's name: wanted printable "
                            "characters, at most 200 bytes")  # fmt: skip
    return directory / f"{clip_id}{suffix}"


def find(directory: Path, clip_id: str) -> Path:
    """The file of a clip.

    Raises:
      SignBindError: as `file_of`; no such file.
    """
    for suffix in SUFFIXES:
        path = file_of(directory, clip_id, suffix)
        if path.is_file():
            return path
    raise SignBindError("no pose file: extract it first (signbind extract)")


def read_extracted(path: Path, lip_size: int) -> tuple[dict, dict[str, int]]:
    """The fields of `Clip` that come of a file, and what was repaired.

    Args:
      path: as `find` gives it.
      lip_size: side of the mouth crops in pixels.

    Raises:
      SignBindError: see `read_pose_file`; crops that are no grey pictures.
    """
    pose = read_pose_file(path)
    fields = {"pose": pose.points, "pose_fps": pose.fps}
    repaired = notes_of(pose)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            crops_fhw = archive["lips"] if "lips" in archive.files else None
            fps = float(archive["lip_fps"]) if "lip_fps" in archive.files else pose.fps
            state_f = archive["lip_state"] if "lip_state" in archive.files else np.ones(1)
        if crops_fhw is not None and len(crops_fhw):
            if crops_fhw.ndim != 3 or crops_fhw.dtype != np.uint8:
                raise SignBindError(f"{path}: lips: found {crops_fhw.dtype} {crops_fhw.shape}, "
                                    "wanted uint8 (frames, height, width)")  # fmt: skip
            crops_fhw = lips.resize(crops_fhw, lip_size, lip_size)
            fields |= {"lips": lips.encode_mosaic(crops_fhw), "n_lip_frames": len(crops_fhw),
                       "lip_fps": fps}  # fmt: skip
        if crops_fhw is not None and (n_without := int((state_f == 0).sum())):
            repaired["mouth crops without a face, now the clip's mean" if len(crops_fhw) else
                     "frames without a face, so without mouth crops"] = n_without  # fmt: skip
    return fields, repaired


def notes_of(pose: Pose) -> dict[str, int]:
    """What was repaired in a pose or is missing from it, to be counted in the build's report."""
    repaired = {f"pose: {note}": 1 for note in pose.notes}
    if pose.n_repaired:
        repaired["keypoints not finite, now missing"] = pose.n_repaired
    hands = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
    if not any((pose.points[:, hand, 2] > 0).any() for hand in hands):
        repaired["pose: no hand in any frame"] = 1
    return repaired
