"""Evenly spaced moments of a clip for a report: keypoints and mouth crops with their times."""

import base64
import io

import numpy as np
from PIL import Image

from signbind_jax.data.clip import Clip
from signbind_jax.data.lips import decode_mosaic

N_PICTURES = 10


def duration_s(clip: Clip) -> float:
    """Length of a clip in seconds, by its pose or else by its lips."""
    if clip.pose is not None:
        return round(clip.n_pose_frames / clip.pose_fps, 3)
    return round(clip.n_lip_frames / clip.lip_fps, 3) if clip.n_lip_frames else 0.0


def _pictured(n_frames: int) -> list[int]:
    return np.unique(np.linspace(0, n_frames - 1, N_PICTURES).astype(int)).tolist()


def skeleton_moments(clip: Clip) -> dict:
    """`times` in seconds, `frames` of k x 3 keypoints, as examples.json has them."""
    if clip.pose is None:
        return {"times": [], "frames": []}
    frames = _pictured(clip.n_pose_frames)
    points = clip.pose[frames].astype(float).round(3)
    return {"times": [round(i / clip.pose_fps, 3) for i in frames], "frames": points.tolist()}


def mouth_moments(clip: Clip) -> dict:
    """`times` in seconds and the crops as `png_base64`."""
    if not clip.n_lip_frames:
        return {"times": [], "png_base64": []}
    crops_fhw = decode_mosaic(clip.lips, clip.n_lip_frames)
    frames = _pictured(clip.n_lip_frames)
    return {
        "times": [round(i / clip.lip_fps, 3) for i in frames],
        "png_base64": [_png(crops_fhw[i]) for i in frames],
    }


def _png(image_hw: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_hw).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
