"""A hand of 21 joints: poses of its fingers, where its joints are, turning it.

A hand's own frame, in hand lengths: x to the thumb's side, y along the fingers, z out of the
palm. With no turn a right hand shows its palm to the camera, fingers up. World axes: x to the
right of the image, y up, z to the camera.
"""

from dataclasses import dataclass

import numpy as np

# Where each finger begins (knuckle) and how long its three bones are; index to pinky.
_KNUCKLES = np.array([[0.13, 0.47, 0.0], [0.03, 0.49, 0.0], [-0.07, 0.46, 0.0], [-0.16, 0.41, 0.0]])
_BONES = np.array([[0.24, 0.14, 0.11], [0.26, 0.16, 0.11], [0.25, 0.15, 0.11], [0.19, 0.11, 0.10]])
_THUMB_BASE = np.array([0.12, 0.10, 0.02])
_THUMB_BONES = np.array([0.20, 0.16, 0.13])

# A pose is 20 angles in degrees: (knuckle, middle, end flexion, spread) for index, middle,
# ring and pinky; then the thumb's (swing, lift, bend at its second, bend at its last joint).
POSE_SIZE = 20

_FINGER = {
    "straight": (2, 3, 2),
    "fist": (82, 100, 60),
    "hook": (10, 95, 60),
    "bent": (85, 8, 5),
    "curve": (28, 42, 28),
    "round": (52, 55, 35),
    "over": (72, 45, 12),
    "claw": (30, 55, 35),
    "half": (60, 75, 40),
    "lean": (58, 5, 3),
}
THUMBS = {
    "side": (38, 12, 28, 5),
    "out": (75, 10, 0, -10),
    "across": (42, 42, 85, 45),
    "front": (30, 62, 95, 40),
    "touch": (38, 58, 25, 30),
    "open": (60, 50, 10, 20),
    "up": (24, 40, 18, 5),
    "under": (45, 22, 105, 35),
    "between": (28, 32, 22, -8),
    "point": (40, 50, 5, 5),
}


def pose(fingers: str, thumb: str, spread: tuple[float, ...] = (0, 0, 0, 0)) -> np.ndarray:
    """The 20 angles of four named finger shapes (index to pinky), a thumb, and spreads."""
    flexions = [_FINGER[name] for name in fingers.split()]
    angles = [a for flexion, s in zip(flexions, spread, strict=True) for a in (*flexion, s)]
    return np.array([*angles, *THUMBS[thumb]], dtype=np.float64)


@dataclass(frozen=True)
class Shape:
    """A hand shape with its turn: `angles` (20,) and `turn` (4,), a unit quaternion."""

    angles: np.ndarray
    turn: np.ndarray


def quaternion(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Turn by degrees: first roll (about z), then pitch (about x), then yaw (about y)."""
    y, p, r = np.radians([yaw, pitch, roll]) / 2
    qy = np.array([np.cos(y), 0, np.sin(y), 0])
    qp = np.array([np.cos(p), np.sin(p), 0, 0])
    qr = np.array([np.cos(r), 0, 0, np.sin(r)])
    return multiply(qy, multiply(qp, qr))


def multiply(a, b) -> np.ndarray:
    """Hamilton product of quaternions (..., 4): the turn b, then the turn a."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def rotation(turn_t4: np.ndarray) -> np.ndarray:
    """Rotation matrices (t, 3, 3) of quaternions (t, 4) of any length above 0."""
    w, x, y, z = (turn_t4 / np.linalg.norm(turn_t4, axis=-1, keepdims=True)).T
    return np.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ],
        axis=-1,
    ).reshape(-1, 3, 3)


def joints(angles_ta: np.ndarray) -> np.ndarray:
    """The 21 joints (t, 21, 3) of poses (t, 20) in the hand's own frame, hand lengths."""
    t = len(angles_ta)
    radians = np.radians(angles_ta)
    fingers = radians[:, :16].reshape(t, 4, 4)
    flexion = np.cumsum(fingers[..., :3], axis=-1)
    # A bent finger cannot spread.
    spread = fingers[..., 3] * np.cos(np.clip(fingers[..., 0], 0, np.pi / 2))
    along = np.cos(flexion) * _BONES
    bones = np.stack(
        [
            along * np.sin(spread)[..., None],
            along * np.cos(spread)[..., None],
            np.sin(flexion) * _BONES,
        ],
        axis=-1,
    )
    tips = _KNUCKLES[:, None] + np.cumsum(bones, axis=2)

    swing, lift, bend, end = radians[:, 16:].T
    azimuth = np.stack([swing, swing - bend, swing - bend - end], axis=-1)
    flat = np.cos(lift)[:, None] * _THUMB_BONES
    thumb = np.stack(
        [flat * np.sin(azimuth), flat * np.cos(azimuth), np.sin(lift)[:, None] * _THUMB_BONES],
        axis=-1,
    )

    out = np.zeros((t, 21, 3))
    out[:, 1] = _THUMB_BASE
    out[:, 2:5] = _THUMB_BASE + np.cumsum(thumb, axis=1)
    out[:, 5:] = np.concatenate(
        [np.broadcast_to(_KNUCKLES[:, None], (t, 4, 1, 3)), tips], axis=2
    ).reshape(t, 16, 3)
    return out
