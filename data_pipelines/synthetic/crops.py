"""Grey pictures of the mouth, drawn from its states."""

import numpy as np

from signbind_jax.data_pipelines.synthetic.signer import Signer

SIZE = 32
# Half the width of the crop in face units; the closed mouth is about 0.075 each way.
_REACH = 0.115
_EDGE = SIZE / (2 * _REACH)  # pixels a face unit


def mouth_crops(mouth_tp: np.ndarray, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """Crops uint8 (t, 32, 32) of mouth states (t, 7) with the signer's looks.

    The same shape of lips as the mouth landmarks, with skin, lips, teeth, tongue, light, a
    crop that is never quite in place, and camera noise.
    """
    t = len(mouth_tp)
    opening, wide, rounded, teeth, tongue, tuck, press = np.clip(mouth_tp, -1.0, 1.2).T.astype(
        np.float32
    )[:, :, None]
    axis = ((np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1) * _REACH / signer.mouth_size
    drift = _drift(rng, t, signer.levers.crop_drift) + rng.normal(0.0, 0.004, 2)
    x = axis[None, :] - drift[:, :1].astype(np.float32)
    y = (axis[None, :] - 0.012 - drift[:, 1:].astype(np.float32))[:, :, None]

    half = 0.075 * (1 + 0.22 * wide - 0.30 * rounded)
    height = 0.080 * np.maximum(opening, 0.0)
    upper = 0.024 * signer.lip_full * (1 + 0.35 * rounded - 0.45 * press)
    lower = 0.032 * signer.lip_full * (1 + 0.35 * rounded - 0.45 * press - 0.5 * tuck)
    outer_arch = np.sqrt(np.maximum(1 - (x / half) ** 2, 0.0))
    inner_arch = np.sqrt(np.maximum(1 - (x / (0.8 * half)) ** 2, 0.0))
    # Rows at which the lips begin and end in each column; y grows downwards.
    inner_top, inner_bottom = -0.3 * height * inner_arch, (0.7 * height) * inner_arch
    outer_top = -(0.3 * height + upper) * outer_arch
    outer_bottom = (0.7 * height + lower) * outer_arch

    # Thin curves still touch half a pixel beyond the corners: there they are cut off.
    column = np.minimum(outer_arch * 4.0, 1.0)[:, None, :]
    lips = _between(y, outer_top, outer_bottom) * column
    inside = _between(y, inner_top, inner_bottom) * np.minimum(inner_arch * 4.0, 1.0)[:, None, :]
    teeth_end = inner_top + np.minimum(0.024, 0.6 * height) * inner_arch
    tooth = inside * _between(y, inner_top, teeth_end) * (teeth * signer.teeth)[:, :, None]
    tongue_top = inner_bottom - (0.25 + 0.45 * tongue) * height * inner_arch
    tongue_seen = inside * _between(y, tongue_top, inner_bottom) * tongue[:, :, None]

    skin = signer.skin + signer.light_2[0] * axis / _REACH
    picture = skin[None, None, :] + (signer.light_2[1] / _REACH) * y
    # The lower lip's shadow on the chin.
    shadow = _between(y, outer_bottom, outer_bottom + 0.015) * column
    picture = picture - 0.15 * signer.skin * shadow
    picture = picture + lips * (signer.lip - picture)
    picture = picture + inside * (0.06 - picture)
    picture = picture + tongue_seen * (0.5 * (signer.lip + signer.skin) - picture)
    picture = picture + tooth * (signer.teeth - picture)
    # The line between closed lips is dark.
    line = _between(y, inner_top - 0.004, inner_top + 0.004) * column
    picture = picture * (1 - 0.45 * line * np.clip(1.5 - 10 * opening, 0, 1)[:, :, None])
    picture = (
        picture + rng.standard_normal(picture.shape, dtype=np.float32) * signer.levers.crop_noise
    )
    gain = np.float32(rng.uniform(0.9, 1.1))
    return np.clip(picture * (255.0 * gain), 0, 255).astype(np.uint8)


def _between(y_f1, top_fw, bottom_fw) -> np.ndarray:
    """How much of each pixel (f, h, w) lies between two curves, 0 to 1."""
    above = np.clip((y_f1 - top_fw[:, None, :]) * _EDGE + 0.5, 0.0, 1.0)
    below = np.clip((bottom_fw[:, None, :] - y_f1) * _EDGE + 0.5, 0.0, 1.0)
    return above * below


def _drift(rng: np.random.Generator, t: int, size: float) -> np.ndarray:
    """A slow wander (t, 2) with a standard deviation of about `size`."""
    steps = rng.normal(0.0, 1.0, (t + 12, 2))
    kernel = np.ones(12) / np.sqrt(12)
    return size * np.stack([np.convolve(steps[:, i], kernel, "valid")[:t] for i in (0, 1)], axis=1)
