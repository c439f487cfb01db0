"""Evenly spaced moments of a clip for a report: keypoints and mouth crops with their times."""

import base64
import io

import numpy as np
from PIL import Image

from signbind_jax.data.clip import Clip
from signbind_jax.data.lips import decode_mosaic

N_PICTURES = 10


def duration_s(clip: Clip) -> float:
    """Length of a clip in seconds, by its pose, else by its lips, else as its streams say."""
    frames = clip.modalities.get("pose") or clip.modalities.get("lips")
    return round(frames.seconds if frames else clip.seconds, 3)


def _pictured(n_frames: int) -> list[int]:
    return np.unique(np.linspace(0, n_frames - 1, N_PICTURES).astype(int)).tolist()


def skeleton_moments(clip: Clip) -> dict:
    """`times` in seconds, `frames` of k x 3 keypoints, as examples.json has them."""
    pose = clip.modalities.get("pose")
    if not pose:
        return {"times": [], "frames": []}
    frames = _pictured(pose.n)
    points = pose.data[frames].astype(float).round(3)
    return {"times": [round(i / pose.fps, 3) for i in frames], "frames": points.tolist()}


def mouth_moments(clip: Clip) -> dict:
    """`times` in seconds and the crops as `png_base64`."""
    lips = clip.modalities.get("lips")
    if not lips:
        return {"times": [], "png_base64": []}
    crops_fhw = decode_mosaic(lips.data, lips.n)
    frames = _pictured(lips.n)
    return {
        "times": [round(i / lips.fps, 3) for i in frames],
        "png_base64": [_png(crops_fhw[i]) for i in frames],
    }


def _png(image_hw: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_hw).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
