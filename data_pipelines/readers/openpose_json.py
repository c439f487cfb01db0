"""Keypoints as OpenPose writes them: a directory a clip, a JSON file a frame.

`<clip>/<clip>_000000000000_keypoints.json` and so on, numbered from 0. A frame holds a list of
people, each with 25 body, 70 face and 21 + 21 hand keypoints as x, y, confidence.
"""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data.clip import MOST_FRAMES
from signbind_jax.data_pipelines.readers.signer_choice import People
from signbind_jax.errors import SignBindError

SCHEME = "openpose_137"
VERSION = 1.3
PARTS = keypoints.SCHEMES[SCHEME].parts
FRAME_SUFFIX = "_keypoints.json"
MOST_BYTES = 2**20  # of a frame; a person takes about 4 KB
MOST_PEOPLE = 200_000  # of all frames: four in each of the most there may be

_NUMBER = re.compile(r"(.*)_(\d{12})_keypoints\.json", re.DOTALL)
_NOBODY = np.zeros((0, keypoints.SCHEMES[SCHEME].n_points, 3), np.float32)


def read_openpose(directory: Path, root: Path) -> People:
    """The frames of a clip by their numbers, from 0 on.

    A number without a file, or whose file is broken, is a frame without people, so that the
    others keep their time.

    Args:
      directory: of the clip, and of its name.
      root: what neither the directory nor its files may lead out of.

    Raises:
      SignBindError: no frames, or less than half of those up to the last; files that lead out of
        `root`; another version of OpenPose's JSON, or other keypoints than 25 + 70 + 21 + 21.
    """
    found = _files(directory, root)
    counted: Counter[str] = Counter()
    n_frames = max(found) + 1
    if n_frames > MOST_FRAMES or 2 * len(found) < n_frames:
        raise SignBindError(
            f"{directory}: found {len(found)} frames numbered up to {max(found)}, "
            f"wanted at least half of them and at most {MOST_FRAMES}"
        )
    frames, n_people = [_NOBODY] * n_frames, 0
    for number, file in found.items():
        frame = _json_of(file)
        if frame is None:
            counted["frames: broken JSON, keypoints now missing"] += 1
        else:
            frames[number] = _people(frame, file)
            n_people += len(frames[number])
            if n_people > MOST_PEOPLE:
                raise SignBindError(
                    f"{file}: people: found more than {MOST_PEOPLE} up to this frame, wanted a few "
                    "in each"
                )
            counted["frames: nobody found, keypoints missing"] += not len(frames[number])
    if n_frames > len(found):
        counted["frames: no file, keypoints now missing"] = n_frames - len(found)
    if not n_people:
        raise SignBindError(f"{directory}: people: found none in any frame")
    return People(frames, SCHEME, +counted)


def _files(directory: Path, root: Path) -> dict[int, str]:
    """Frame number -> file, in order."""
    home = root.resolve()
    if not directory.resolve().is_relative_to(home):
        raise SignBindError(f"{directory}: leads out of {root}: copy the files into it")
    found = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                match = _NUMBER.fullmatch(entry.name)
                if match is None or match[1] != directory.name:
                    continue  # other files, such as those that macOS leaves
                real = Path(os.path.realpath(entry.path)) if entry.is_symlink() else home
                if not real.is_relative_to(home):
                    raise SignBindError(f"{entry.path}: leads out of {root}: copy the file into it")
                found[int(match[2])] = entry.path
    except OSError as error:
        raise SignBindError(f"{directory}: cannot be read: {error.strerror or error}") from error
    if not found:
        raise SignBindError(
            f"{directory}: found no {directory.name}_000000000000{FRAME_SUFFIX}, "
            "wanted a file a frame"
        )
    return dict(sorted(found.items()))


def _json_of(file: str) -> dict | None:
    """A frame; None where it is no whole JSON object."""
    try:
        frame = files.read_json(file, MOST_BYTES)
    except SignBindError:  # cut off, no UTF-8, nested without end, no file
        return None
    return frame if isinstance(frame, dict) else None


def _people(frame: dict, file: str) -> np.ndarray:
    """float32 (people, 137, 3) of a frame."""
    if frame.get("version") != VERSION:
        raise SignBindError(
            f"{file}: version: found {repr(frame.get('version'))[:20]}, wanted {VERSION}"
        )
    people = frame.get("people")
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise SignBindError(f"{file}: people: found {repr(people)[:20]}, wanted a list of objects")
    if not people:
        return _NOBODY
    values = [value for person in people for value in _values(person, file)]
    try:
        if not all(type(value) in (int, float) for value in values):
            raise TypeError
        with np.errstate(over="ignore"):
            return np.array(values, np.float32).reshape(len(people), -1, 3)
    except (TypeError, OverflowError) as error:  # a whole number beyond all floats
        raise SignBindError(f"{file}: people: found keypoints that are no numbers") from error


def _values(person: dict, file: str) -> list:
    """x, y, confidence of a person's keypoints, one after another."""
    values: list = []
    for part, n_points in PARTS:
        part_values = person.get(part)
        if part_values == []:  # this part was not looked for
            part_values = [0] * (3 * n_points)
        if not isinstance(part_values, list) or len(part_values) != 3 * n_points:
            found = len(part_values) if isinstance(part_values, list) else repr(part_values)[:20]
            raise SignBindError(f"{file}: {part}: found {found}, wanted {3 * n_points} numbers")
        values += part_values
    return values
