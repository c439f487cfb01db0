"""Mouth crops that stay still while the head moves: grey, upright, of one size.

Every frame gets a similarity transform onto a fixed template. The line between the outer corners
of the eyes gives rotation and size, as eyes do not move with speech; the middle of the mouth's
corners gives the place. Landmarks tremble, so all three are smoothed over time: rotation and place
briefly, since heads nod quickly, size longer, since it changes slowly, and a head that turns away
only seems to shrink.
"""

import math

import numpy as np

SIZE = 96  # side of a crop in pixels
EYES_APART = 80.0  # outer corners of the eyes: the mouth at rest is then about half the crop wide
CORNERS_AT = (48.0, 44.0)  # middle of the mouth's corners; below it the jaw needs room to open
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners, vertices of MediaPipe's face mesh
MOUTH_CORNERS = (61, 291)

SMOOTH_S = 0.06  # standard deviation of the smoothing of place and rotation
SMOOTH_SIZE_S = 0.3  # and of the size
LONGEST_GAP_S = 0.4  # a face lost for longer is not interpolated

NO_FACE, FOUND, INTERPOLATED = 0, 1, 2  # what a crop stands on


def transforms(face_tvc: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the crop of each frame lies.

    Args:
      face_tvc: (t, v, 3) vertices of the face mesh: x, y in pixels, and a score that is 0
        throughout a frame without a face.
      fps: frames a second.

    Returns:
      transform_t23: float64, pixels of the frame from (x, y, 1) of the crop; zeros where there
        is no face.
      state_t: uint8 `NO_FACE`, `FOUND` or `INTERPOLATED`.
    """
    found_t = face_tvc[:, RIGHT_EYE, 2] > 0
    eyes_t2 = (face_tvc[:, LEFT_EYE, :2] - face_tvc[:, RIGHT_EYE, :2]).astype(np.float64)
    mouth_t2 = face_tvc[:, MOUTH_CORNERS, :2].mean(1, dtype=np.float64)
    found_t = found_t & (np.linalg.norm(eyes_t2, axis=1) > 1)
    state_t = _states(found_t, fps)
    usable_t = state_t != NO_FACE
    eyes_t2, mouth_t2 = (_filled(x_t2, found_t) for x_t2 in (eyes_t2, mouth_t2))
    size_t = _smooth(np.linalg.norm(eyes_t2, axis=1)[:, None], usable_t, SMOOTH_SIZE_S * fps)
    eyes_t2 = _smooth(eyes_t2, usable_t, SMOOTH_S * fps)
    mouth_t2 = _smooth(mouth_t2, usable_t, SMOOTH_S * fps)
    length_t1 = np.maximum(np.linalg.norm(eyes_t2, axis=1, keepdims=True), 1e-6)
    cos_t, sin_t = (eyes_t2 / length_t1 * size_t / EYES_APART).T
    linear_t22 = np.stack([np.stack([cos_t, -sin_t], -1), np.stack([sin_t, cos_t], -1)], 1)
    offset_t2 = mouth_t2 - linear_t22 @ np.array(CORNERS_AT)
    transform_t23 = np.concatenate([linear_t22, offset_t2[..., None]], -1)
    return np.where(usable_t[:, None, None], transform_t23, 0.0), state_t


def cut(frame_hw: np.ndarray, transform_23: np.ndarray) -> np.ndarray:
    """The crop of a frame, uint8 (96, 96).

    Each of its pixels is the mean of as many bilinear samples as it covers pixels of the frame,
    so nothing is aliased. Outside the frame its edge goes on.

    Args:
      frame_hw: uint8 grey picture.
      transform_23: as `transforms` gives it.
    """
    coarse = float(np.hypot(transform_23[0, 0], transform_23[1, 0]))  # pixels of frame by crop's
    n = min(max(1, math.ceil(coarse)), 16)
    # Where the samples lie in the crop: pixel i covers [i - 1/2, i + 1/2].
    at_n = (np.arange(SIZE * n) + 0.5) / n - 0.5
    x_hw, y_hw = np.meshgrid(at_n, at_n)
    (a, b, c), (d, e, f) = transform_23
    samples_hw = _bilinear(frame_hw, a * x_hw + b * y_hw + c, d * x_hw + e * y_hw + f)
    crop_hw = samples_hw.reshape(SIZE, n, SIZE, n).mean((1, 3))
    return np.clip(np.rint(crop_hw), 0, 255).astype(np.uint8)


def fill_missing(crops_thw: np.ndarray, state_t: np.ndarray) -> np.ndarray:
    """Crops in which frames without a face show the mean of the others.

    A model gets each crop as its difference from the clip's mean picture: to it the mean says
    nothing, and it leaves the mean as it is. The last crop would claim that the mouth rested, black
    would be a movement larger than any mouth's. Without any face there are no crops: (0, 96, 96).
    """
    seen_t = state_t != NO_FACE
    if not seen_t.any():
        return np.zeros((0, SIZE, SIZE), np.uint8)
    if not seen_t.all():
        mean_hw = np.zeros((SIZE, SIZE))
        for crop_hw in crops_thw[seen_t]:
            mean_hw += crop_hw
        crops_thw[~seen_t] = np.rint(mean_hw / seen_t.sum()).astype(np.uint8)
    return crops_thw


def _states(found_t: np.ndarray, fps: float) -> np.ndarray:
    """`INTERPOLATED` where a face is missing for a moment, before the first one and behind the
    last one too."""
    state_t = np.where(found_t, FOUND, NO_FACE).astype(np.uint8)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], found_t, [True]]).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start <= LONGEST_GAP_S * fps and end - start < len(found_t):
            state_t[start:end] = INTERPOLATED
    return state_t


def _filled(x_t2: np.ndarray, found_t: np.ndarray) -> np.ndarray:
    """Values of frames without a face, in a line between its neighbours with one."""
    if not found_t.any():
        return np.zeros_like(x_t2)
    t = np.arange(len(x_t2))
    return np.stack([np.interp(t, t[found_t], column[found_t]) for column in x_t2.T], 1)


def _smooth(x_tc: np.ndarray, usable_t: np.ndarray, sigma: float) -> np.ndarray:
    """The line that fits the usable frames about each frame best, there; `sigma` in frames.

    A Gaussian weighs the frames by how near they are. A mere mean would lag at the clip's start
    and end, where a head that moves has neighbours on one side alone.
    """
    reach = min(math.ceil(3 * sigma), max(len(x_tc) - 1, 0))
    step = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (step / max(sigma, 1e-6)) ** 2)

    def about(column_t: np.ndarray, power: int) -> np.ndarray:
        return np.convolve(column_t, kernel * step**power)[reach : reach + len(column_t)]

    weight_t = usable_t.astype(np.float64)
    s0, s1, s2 = (about(weight_t, power) for power in range(3))
    spread_t = s0 * s2 - s1**2
    is_line_t = spread_t > 1e-6  # else one frame alone
    columns = []
    for column_t in x_tc.T:
        t0, t1 = (about(column_t * weight_t, power) for power in range(2))
        mean_t = t0 / np.maximum(s0, 1e-12)
        line_t = (s2 * t0 - s1 * t1) / np.where(is_line_t, spread_t, 1.0)
        columns.append(np.where(is_line_t, line_t, mean_t))
    return np.stack(columns, 1)


def _bilinear(frame_hw: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of the picture at x, y in pixels, centres at whole numbers; its edge goes on."""
    height, width = frame_hw.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    x, y = (x - left).astype(np.float32), (y - top).astype(np.float32)
    above = frame_hw[top, left] * (1 - x) + frame_hw[top, right] * x
    below = frame_hw[bottom, left] * (1 - x) + frame_hw[bottom, right] * x
    return above * (1 - y) + below * y
