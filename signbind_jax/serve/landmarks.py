"""Landmarks of a clip as the page draws them."""

from typing import Any

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import Frames
from signbind_jax.report.skeleton import PARTS, REACH

_UNIT = 100  # parts of a shoulder width


def compact(pose: Frames) -> dict[str, Any]:
    """JSON-ready landmarks: whole hundredths of a shoulder width, None where a point was not seen
    or lies further out than any point of a signer."""
    points_tkc = np.asarray(pose.data, np.float32)
    xy_tk2 = points_tkc[..., :2]
    seen_tk = (points_tkc[..., 2] > 0) & (np.abs(xy_tk2) <= REACH).all(-1)
    whole = np.round(np.nan_to_num(xy_tk2) * _UNIT).astype(int).reshape(len(points_tkc), -1)
    seen = np.repeat(seen_tk, 2, axis=-1)
    return {
        "fps": pose.fps,
        "keypoints": list(keypoints.NAMES),
        "lines": PARTS,
        "frames": np.where(seen, whole, None).tolist(),
    }
