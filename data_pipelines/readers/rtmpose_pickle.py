"""Keypoints as Uni-Sign releases them: a pickle a clip, 133 RTMPose points a person.

`{"keypoints": [frames of (people, 133, 2)], "scores": [frames of (people, 133)]}` with x and y as
shares of the picture's width and height. `start` and `end`, where there, say which of the frames
belong to the clip.
"""

from pathlib import Path

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import MOST_FRAMES
from signbind_jax.data_pipelines.readers import restricted_pickle
from signbind_jax.data_pipelines.readers.signer_choice import People
from signbind_jax.errors import SignBindError

SCHEME = "coco_wholebody_133"
MOST_PEOPLE = 50


def read_rtmpose(path: Path, root: Path) -> People:
    """The frames of a clip.

    Args:
      path: of the pickle, compressed with gzip or not.
      root: what the path may not lead out of.

    Raises:
      SignBindError: see `restricted_pickle.load`; a file that leads out of `root`; other fields,
        other shapes, or frames and scores that do not go together.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise SignBindError(f"{path}: leads out of {root}: copy the file into it")
    fields = restricted_pickle.load(path)
    if not isinstance(fields, dict):
        raise SignBindError(
            f"{path}: found a {type(fields).__name__}, wanted a dict of keypoints and scores"
        )
    points, scores = (_frames(fields, name, path) for name in ("keypoints", "scores"))
    if len(points) != len(scores):
        raise SignBindError(
            f"{path}: found {len(points)} frames of keypoints and {len(scores)} of "
            "scores, wanted as many"
        )
    part = _part(fields, len(points), path)
    if not 0 < part.stop - part.start <= MOST_FRAMES:
        raise SignBindError(
            f"{path}: found {part.stop - part.start} frames, wanted 1 to {MOST_FRAMES}"
        )
    frames = [_people(points[t], scores[t], t, path) for t in range(part.start, part.stop)]
    n_empty = sum(not len(frame) for frame in frames)
    counted = {"frames: nobody found, keypoints missing": n_empty} if n_empty else {}
    return People(frames, SCHEME, counted)


def _frames(fields: dict, name: str, path: Path) -> list | tuple | np.ndarray:
    frames = fields.get(name)
    is_array = isinstance(frames, np.ndarray) and frames.ndim > 0
    if not is_array and not isinstance(frames, list | tuple):
        raise SignBindError(
            f"{path}: {name}: found {type(frames).__name__}, wanted a list of frames"
        )
    return frames


def _part(fields: dict, n_frames: int, path: Path) -> slice:
    start, end = fields.get("start", 0), fields.get("end", n_frames)
    if not all(isinstance(edge, int | np.integer) for edge in (start, end)):
        raise SignBindError(
            f"{path}: start and end: found {type(start).__name__} and "
            f"{type(end).__name__}, wanted frames"
        )
    if not 0 <= start <= end <= n_frames:
        raise SignBindError(
            f"{path}: start and end: found {start} to {end}, wanted part of {n_frames} frames"
        )
    return slice(int(start), int(end))


def _people(xy: object, score: object, t: int, path: Path) -> np.ndarray:
    """float32 (people, 133, 3) of a frame; a lone person may come without the first axis."""
    n_points = keypoints.SCHEMES[SCHEME].n_points
    for name, value in (("keypoints", xy), ("scores", score)):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise SignBindError(
                f"{path}: {name}: frame {t}: found {type(value).__name__}, wanted "
                "an array of numbers"
            )
    xy_pnc = xy if xy.ndim == 3 else xy[None]
    score_pn = score if score.ndim == 2 else score[None]
    n_people = len(xy_pnc)
    wanted = (n_people, n_points)
    if xy_pnc.shape != (*wanted, 2) or score_pn.shape != wanted or n_people > MOST_PEOPLE:
        raise SignBindError(
            f"{path}: frame {t}: found keypoints {xy.shape} and scores "
            f"{score.shape}, wanted (people, {n_points}, 2) and (people, "
            f"{n_points})"
        )
    with np.errstate(over="ignore"):
        return np.concatenate(
            [xy_pnc, score_pn[..., None]], -1, dtype=np.float32, casting="same_kind"
        )
