"""A drawn signer who signs and rests: recordings whose sentences are known to the frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from signbind_jax import keypoints

_WHOLEBODY = keypoints.SCHEMES["coco_wholebody_133"]
_HANDS = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
_WRISTS = tuple(keypoints.NAMES.index(f"{side}_wrist") for side in ("left", "right"))
WIDTH, CENTRE = 160.0, (320.0, 180.0)  # pixels of the shoulders, and where their middle is
REST, RAISED = 1.45, 0.4  # shoulder widths below the shoulders


def pose(
    sentences: Sequence[tuple[float, float]], seconds: float, fps: float, *, lowered: bool = True
) -> np.ndarray:
    """A canonical pose (t, 91, 3) in shoulder widths.

    In a sentence the right hand circles once in 0.6 s while the left is held beside it, elsewhere
    both rest, with the small movements that trackers show.

    Args:
      sentences: start and end of each in seconds.
      lowered: they rest in the lap, not in front of the chest.
    """
    random = np.random.default_rng(0)
    time_t = np.arange(round(seconds * fps)) / fps
    points_tkc = np.zeros((len(time_t), keypoints.K, 3))
    points_tkc[:, [keypoints.LEFT_SHOULDER, keypoints.RIGHT_SHOULDER], 0] = 0.5, -0.5
    points_tkc[:, :7, 2] = 1
    signs_t = np.zeros(len(time_t), bool)
    for start, end in sentences:
        signs_t |= (time_t >= start) & (time_t < end)
    fingers = random.uniform(-0.2, 0.2, (21, 2))
    turn_t = 2 * np.pi * time_t / 0.6
    circle_tc = 0.3 * np.stack([np.cos(turn_t), np.sin(turn_t)], -1)
    for hand, wrist, x, moves in zip(_HANDS, _WRISTS, (0.4, -0.4), (0, 1), strict=True):
        height_t = np.where(signs_t | (not lowered), RAISED, REST)
        centre_tc = np.stack([np.full(len(time_t), x), height_t], -1)
        centre_tc += moves * signs_t[:, None] * circle_tc
        centre_tc += random.normal(0, 0.002, centre_tc.shape)
        points_tkc[:, hand, :2] = centre_tc[:, None] + fingers
        points_tkc[:, hand, 2] = 1
        points_tkc[:, wrist, :2] = centre_tc
    return points_tkc


def fields(pose_tkc: np.ndarray, fps: float) -> dict[str, np.ndarray]:
    """What an `.npz` file of the pose holds, in pixels."""
    points_tnc = np.zeros((len(pose_tkc), _WHOLEBODY.n_points, 3))
    points_tnc[:, list(_WHOLEBODY.source_k)] = pose_tkc
    xy_tnc = points_tnc[..., :2] * WIDTH + CENTRE
    return {
        "keypoints": xy_tnc.astype(np.float32),
        "scores": points_tnc[..., 2].astype(np.float32),
        "fps": np.array(fps),
    }


def write(path: Path, sentences: Sequence[tuple[float, float]], seconds: float, fps: float = 25.0):
    """Writes a recording as an `.npz` file; gives its path."""
    np.savez(path, **fields(pose(sentences, seconds, fps), fps))
    return path
