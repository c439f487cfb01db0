"""What a pose tracker makes of keypoints in space: a picture, noise, losses, normalising."""

import numpy as np

from signbind_jax.data_pipelines.synthetic.hand import quaternion, rotation
from signbind_jax.data_pipelines.synthetic.signer import Signer
from signbind_jax.keypoints import (
    BODY_SLICE,
    FACE_SLICE,
    LEFT_HAND_SLICE,
    LEFT_SHOULDER,
    MOUTH_SLICE,
    RIGHT_HAND_SLICE,
    RIGHT_SHOULDER,
)

_CAMERA_DISTANCE = 6.0  # shoulder widths
_HANDS = (LEFT_HAND_SLICE, RIGHT_HAND_SLICE)


def track(points_tk3: np.ndarray, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """The pose f16 (t, 91, 3) of a clip: x, y in shoulder widths and confidence.

    The signer's camera looks, the tracker errs and loses hands or whole frames, and the clip
    is normalised by its median shoulders, as recordings are.
    """
    image_tk2 = _picture(points_tk3, signer, rng)
    image_tk2, confidence_tk = _errors(image_tk2, signer, rng)
    seen_tk = _seen(points_tk3, signer, rng)
    _swap_hands(image_tk2, confidence_tk, seen_tk, rng)
    shoulders = image_tk2[:, [LEFT_SHOULDER, RIGHT_SHOULDER]]
    present = seen_tk[:, LEFT_SHOULDER]
    centre = np.median(shoulders[present].mean(axis=1), axis=0)
    width = np.median(np.linalg.norm(shoulders[present, 0] - shoulders[present, 1], axis=-1))
    pose = np.concatenate([(image_tk2 - centre) / width, confidence_tk[..., None]], axis=-1)
    pose[~seen_tk] = 0.0
    return pose.astype(np.float16)


def _picture(points_tk3: np.ndarray, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """Pixels (t, k, 2), y downwards: a camera that stands a little aside, near or far."""
    yaw, pitch, roll = signer.camera_3
    seen = points_tk3 @ rotation(quaternion(yaw, pitch, roll)[None])[0].T
    scale = rng.uniform(120.0, 260.0) / (1.0 - seen[..., 2:] / _CAMERA_DISTANCE)
    return seen[..., :2] * np.array([1.0, -1.0]) * scale + rng.uniform(300.0, 500.0, 2)


def _errors(image_tk2: np.ndarray, signer: Signer, rng: np.random.Generator):
    """Adds tracking noise; returns the points and confidences (t, k)."""
    t, k, _ = image_tk2.shape
    levers = signer.levers
    width = np.linalg.norm(image_tk2[:, LEFT_SHOULDER] - image_tk2[:, RIGHT_SHOULDER], axis=-1)
    # Faces are tracked more exactly than hands.
    size_k = np.full(k, levers.face_noise)
    size_k[:7], size_k[49:] = levers.body_noise, 1.0
    size_tk = np.broadcast_to(size_k * signer.noise, (t, k)).copy()
    for hand in _HANDS:
        # Fast hands are blurred; now and then a hand shakes for a moment.
        speed = np.linalg.norm(np.gradient(image_tk2[:, hand.start], axis=0), axis=-1) / width
        shaky = _runs(rng, t, levers.shaky_start, 3.0) if t > 1 else np.zeros(t, bool)
        size_tk[:, hand] *= (1.0 + 3.0 * np.minimum(speed, 0.3) + levers.shaky_times * shaky)[
            :, None
        ]
    if levers.all_shake:
        for part in (BODY_SLICE, FACE_SLICE, MOUTH_SLICE):
            shaky = _runs(rng, t, levers.shaky_start, 3.0)
            size_tk[:, part] *= (1.0 + levers.shaky_times * shaky)[:, None]
    noise = rng.standard_normal((t, k, 2), dtype=np.float32)
    # A whole hand also drifts together.
    for hand in _HANDS:
        noise[:, hand] += 0.7 * rng.standard_normal((t, 1, 2))
    image_tk2 = image_tk2 + noise * (size_tk * width.mean())[..., None]
    if levers.exact_confidence:
        return image_tk2, np.ones((t, k))
    confidence = 0.98 - 5.0 * size_tk * np.abs(1.0 + 0.5 * noise[..., 0])
    return image_tk2, np.clip(confidence, 0.15, 1.0)


def _seen(points_tk3: np.ndarray, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """Which keypoints (t, k) the tracker finds."""
    t, k, _ = points_tk3.shape
    levers = signer.levers
    seen = np.ones((t, k), bool)
    for hand in _HANDS:
        below = points_tk3[:, hand.start, 1] < signer.bottom
        seen[:, hand] = ~(below | _runs(rng, t, signer.loss, levers.loss_frames))[:, None]
        if levers.long_losses:
            seen[_runs(rng, t, signer.loss * levers.long_losses, 20.0), hand] = False
    if levers.no_hand and rng.random() < levers.no_hand:
        seen[:, _HANDS[rng.integers(2)]] = False
    lost = _runs(rng, t, levers.lost_frame, 1.5)
    lost[t // 2] = False  # some frame is always left
    seen[lost] = False
    return seen


def _swap_hands(image_tk2, confidence_tk, seen_tk, rng: np.random.Generator) -> None:
    """Rarely, for a frame or two, the tracker takes one hand for the other."""
    swapped = _runs(rng, len(image_tk2), 0.0004, 1.5)
    left, right = _HANDS
    for array in (image_tk2, confidence_tk, seen_tk):
        kept = array[swapped, left].copy()
        array[swapped, left] = array[swapped, right]
        array[swapped, right] = kept


def _runs(rng: np.random.Generator, t: int, start: float, mean_length: float) -> np.ndarray:
    """Moments (t,) inside runs that begin with a chance of `start` a frame."""
    inside = np.zeros(t, bool)
    for at in np.flatnonzero(rng.random(t) < start):
        inside[at : at + rng.geometric(1.0 / mean_length)] = True
    return inside
