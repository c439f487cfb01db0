"""A recording to send or translate: a clip of a dataset as `signbind extract` writes it."""

from pathlib import Path

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.batch import decode_lips
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import open_dataset

SCHEME = "coco_wholebody_133"
WIDTH, HEIGHT, SHOULDERS = 640, 360, 160  # pixels of a frame, and of a shoulder width in it


def write_recording(data: Path, seconds: float, path: Path) -> float:
    """Writes the clip of a dataset's test split that is nearest to so many seconds as `.npz`:
    landmarks, and mouth crops where it has them; gives the seconds it lasts."""
    clips = open_dataset(data).split("test")
    found = min(
        (clip for clip in clips if "pose" in clip.modalities),
        key=lambda clip: abs(clip.modalities["pose"].seconds - seconds),
    )
    np.savez_compressed(path, **_fields(found))
    return found.modalities["pose"].seconds


def _fields(clip: Clip) -> dict:
    pose = clip.modalities["pose"]
    points_tkc = np.asarray(pose.data, np.float32)
    scheme = keypoints.SCHEMES[SCHEME]
    points_tnc = np.zeros((len(points_tkc), scheme.n_points, 3), np.float32)
    known = np.flatnonzero(np.array(scheme.source_k) != keypoints.MISSING)
    points_tnc[:, np.array(scheme.source_k)[known]] = points_tkc[:, known]
    fields = {
        "keypoints": points_tnc[..., :2] * SHOULDERS + (WIDTH / 2, HEIGHT / 2),
        "scores": points_tnc[..., 2],
        "scheme": SCHEME,
        "fps": pose.fps,
        "width": WIDTH,
        "height": HEIGHT,
    }
    if "lips" in clip.modalities:
        lips = clip.modalities["lips"]
        fields |= {"lips": decode_lips(clip), "lip_fps": lips.fps}
    return fields
