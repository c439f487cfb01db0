"""The 91 keypoints in space: arms that reach the hands, a head that turns, a face that moves.

World axes in average shoulder widths about mid-shoulder: x to the right of the image (the
signer's left), y up, z to the camera.
"""

import numpy as np

from signbind_jax.data_pipelines.synthetic.hand import joints, rotation
from signbind_jax.data_pipelines.synthetic.signer import Signer
from signbind_jax.keypoints import (
    BODY_SLICE,
    FACE_SLICE,
    LEFT_HAND_SLICE,
    MOUTH_SLICE,
    RIGHT_HAND_SLICE,
    K,
)

# The grip point of a hand, in hand lengths along the fingers from the wrist.
_HAND_CENTRE = 0.45


def _mirror(points: np.ndarray) -> np.ndarray:
    return points * np.array([-1.0, 1.0, 1.0])


def _face_template() -> np.ndarray:
    """Brows and eyes (22, 3) about the nose, in face units, in the canonical order."""
    side = np.linspace(0, 1, 5)
    right_brow = np.stack(
        [
            -0.20 + 0.15 * side,
            0.145 + 0.03 * np.sin(np.pi * (0.2 + 0.7 * side)),
            0.02 + 0.05 * side,
        ],
        axis=1,
    )
    eye = np.array(
        [
            [-0.145, 0.09, 0.0],
            [-0.118, 0.107, 0.02],
            [-0.085, 0.107, 0.03],
            [-0.055, 0.088, 0.03],
            [-0.085, 0.076, 0.03],
            [-0.118, 0.076, 0.02],
        ]
    )
    left_eye = _mirror(eye)[[3, 2, 1, 0, 5, 4]]
    return np.concatenate([right_brow, _mirror(right_brow)[::-1], eye, left_eye])


_FACE = _face_template()
_BROWS, _UPPER_LIDS = slice(0, 10), [11, 12, 17, 18]
_OUTER = np.linspace(np.pi, -np.pi, 13)[:12]
_INNER = np.linspace(np.pi, -np.pi, 9)[:8]
_MOUTH_PLACE = np.array([0.0, -0.13, -0.03])
_NOSE_DEPTH = 0.24


def keypoints(
    strong_tp: np.ndarray,
    weak_tp: np.ndarray,
    mouth_tp: np.ndarray,
    head_t3: np.ndarray,
    brows_t: np.ndarray,
    blink_t: np.ndarray,
    sway_t3: np.ndarray,
    signer: Signer,
) -> np.ndarray:
    """All keypoints (t, 91, 3) of a right- or left-handed signer.

    Args:
      strong_tp, weak_tp: hand states (t, 27), both as right hands.
      mouth_tp: mouth states (t, 7) of `mouth.FEATURES`.
      head_t3: yaw, pitch, roll of the head in degrees.
      brows_t: how far the brows are raised, -1 to 1.
      blink_t: how far the eyes are closed, 0 to 1.
      sway_t3: where the upper body sways to.
    """
    t = len(strong_tp)
    out = np.zeros((t, K, 3))
    strong, weak = _hand(strong_tp, signer), _hand(weak_tp, signer)
    right, left = (weak, _mirror(strong)) if signer.left_handed else (strong, _mirror(weak))
    out[:, RIGHT_HAND_SLICE], out[:, LEFT_HAND_SLICE] = right, left

    half = np.array([signer.shoulders / 2, 0.0, 0.0])
    body = out[:, BODY_SLICE]
    body[:, 1], body[:, 2] = sway_t3 + half, sway_t3 - half
    body[:, 5], body[:, 6] = left[:, 0], right[:, 0]
    body[:, 3] = _elbow(body[:, 1], body[:, 5], np.array([0.5, -1.0, -0.4]), signer)
    body[:, 4] = _elbow(body[:, 2], body[:, 6], np.array([-0.5, -1.0, -0.4]), signer)

    face = _face(mouth_tp, brows_t, blink_t) * signer.head
    turned = np.einsum("tij,tkj->tki", _head_rotation(head_t3), face)
    turned += (sway_t3 * 1.3 + np.array([0.0, signer.head_height, 0.05]))[:, None]
    body[:, 0] = turned[:, 0]
    out[:, FACE_SLICE], out[:, MOUTH_SLICE] = turned[:, 1:23], turned[:, 23:]
    return out


def _hand(state_tp: np.ndarray, signer: Signer) -> np.ndarray:
    turn_t33 = rotation(state_tp[:, 3:7])
    points = np.einsum("tij,tkj->tki", turn_t33, joints(state_tp[:, 7:]) * signer.hand)
    wrist = state_tp[:, :3] - turn_t33[:, :, 1] * (_HAND_CENTRE * signer.hand)
    return points + wrist[:, None]


def _elbow(shoulder_t3, wrist_t3, pole_3, signer: Signer) -> np.ndarray:
    """The elbow of a two-bone arm that bends towards `pole_3` (law of cosines)."""
    upper, fore = signer.upper_arm, signer.forearm
    reach = wrist_t3 - shoulder_t3
    distance = np.linalg.norm(reach, axis=1, keepdims=True)
    along = reach / np.maximum(distance, 1e-6)
    distance = np.clip(distance, abs(upper - fore) + 0.05, upper + fore - 0.01)
    bend = pole_3 - along * (along @ pole_3)[:, None]
    bend /= np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1e-6)
    cosine = (upper**2 + distance**2 - fore**2) / (2 * upper * distance)
    sine = np.sqrt(np.maximum(1 - cosine**2, 0.0))
    return shoulder_t3 + upper * (along * cosine + bend * sine)


def _head_rotation(head_t3: np.ndarray) -> np.ndarray:
    yaw, pitch, roll = np.radians(head_t3).T / 2
    # Small angles: the order of the three turns makes no visible difference.
    w = np.sqrt(np.maximum(1 - np.sin(yaw) ** 2 - np.sin(pitch) ** 2 - np.sin(roll) ** 2, 0.1))
    return rotation(np.stack([w, np.sin(pitch), np.sin(yaw), np.sin(roll)], axis=1))


def _face(mouth_tp: np.ndarray, brows_t: np.ndarray, blink_t: np.ndarray) -> np.ndarray:
    """Nose, brows, eyes and mouth (t, 43, 3) of an upright head about its nose."""
    t = len(mouth_tp)
    face = np.zeros((t, 43, 3))
    face[:, :, 2] = _NOSE_DEPTH - 0.06
    face[:, 0, 2] = _NOSE_DEPTH
    eyes = face[:, 1:23]
    eyes += _FACE
    eyes[:, _BROWS, 1] += 0.035 * brows_t[:, None]
    eyes[:, _UPPER_LIDS, 1] -= 0.026 * blink_t[:, None]
    face[:, 23:] += _MOUTH_PLACE + _lips(mouth_tp)
    return face


def _lips(mouth_tp: np.ndarray) -> np.ndarray:
    """Outer (12) and inner (8) lip points (t, 20, 3) about the middle of the closed mouth."""
    opening, wide, rounded, _, _, tuck, press = mouth_tp.T
    half = 0.075 * (1 + 0.22 * wide - 0.30 * rounded)
    height = 0.080 * np.maximum(opening, 0.0)
    upper = 0.024 * (1 + 0.35 * rounded - 0.45 * press)
    lower = 0.032 * (1 + 0.35 * rounded - 0.45 * press - 0.5 * tuck)
    points = np.zeros((len(mouth_tp), 20, 3))
    for rows, angles, width, skin in (
        (slice(0, 12), _OUTER, 1.0, 1.0),
        (slice(12, 20), _INNER, 0.8, 0.0),
    ):
        up = np.maximum(np.sin(angles), 0.0) * (0.3 * height + skin * upper)[:, None]
        down = np.maximum(-np.sin(angles), 0.0) * (0.7 * height + skin * lower)[:, None]
        points[:, rows, 0] = np.cos(angles) * (half * width)[:, None]
        points[:, rows, 1] = up - down
    points[:, :, 2] += 0.03 * rounded[:, None]
    return points
