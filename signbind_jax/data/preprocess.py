"""From stored clips to model input, on the device and inside jit: cleaning and augmentation.

Rows hold one clip each, or several end to end (`data.row_plan`). Every clip is treated alone, with
a key made of the batch's key and the clip's index: what happens to it depends neither on the clips
beside it nor on the number of devices.
"""

import functools

import jax
import jax.numpy as jnp

from signbind_jax.data.augment import (
    LIGHT,
    STILL,
    AugmentConfig,
    Frames,
    augment_lips,
    augment_pose,
    draw,
    hidden,
    resampled,
)


def prepare_pose(
    pose_btkc, start_bg, length_bg, index_bg, key=None, config: AugmentConfig | None = None
):
    """Clean float32 keypoints and, where a key is given, augmented ones.

    A keypoint without confidence or with a value that is not finite is missing: (0, 0, 0).

    Args:
      pose_btkc: f16 (b, t, 91, 3) in shoulder widths, with confidence.
      start_bg, length_bg: int32 first frame and frames of each clip; length 0: there is none.
        Clips stand in order, none before a gap.
      index_bg: int32 index of each clip.
      key: augments where given.
      config: default `AugmentConfig()`; used with a key only.

    Returns:
      x_btkc float32, zeros where masked or missing, and clip_bt int32: which clip of its row a
      frame belongs to, -1 in padding. A change of speed changes lengths and moves the clips; each
      begins at a multiple of `ALIGNMENT`.
    """
    x_btkc = pose_btkc.astype(jnp.float32)
    confidence_btk = x_btkc[..., 2]
    seen_btk = (confidence_btk > 0) & jnp.isfinite(x_btkc).all(-1)
    x_btkc = x_btkc.at[..., 2].set(jnp.minimum(confidence_btk, 1.0))
    x_btkc = jnp.where(seen_btk[..., None], x_btkc, 0.0)
    return _by_row(augment_pose, x_btkc, start_bg, length_bg, index_bg, key, config)


def prepare_lips(
    lips_bfhw, start_bg, length_bg, index_bg, key=None, config: AugmentConfig | None = None
):
    """Float32 mouth crops as their deviation from the clip's mean picture.

    The mean over time goes from every pixel, then the clip is scaled to standard deviation 1:
    what stays is how this mouth moves, not whose it is or how it is lit. Where a key is given they
    are augmented; speed and mirror go with the pose of the same clip and key.

    Args:
      lips_bfhw: uint8 (b, f, h, w) grey crops.
      start_bg, length_bg, index_bg, key, config: as in `prepare_pose`.

    Returns:
      x_bfhw float32, zeros where masked, and clip_bf int32 as that of `prepare_pose`.
    """

    def augment(lips_fhw, frames: Frames, config: AugmentConfig):
        x_fhw = augment_lips(lips_fhw, frames, config)
        member_fg = frames.clip[:, None] == jnp.arange(index_bg.shape[1])
        x_fhw = _about_mean_picture(x_fhw, member_fg.astype(jnp.float32))
        light_cf = 2.0 * frames.u[LIGHT] - 1.0
        x_fhw = x_fhw * (1.0 + config.contrast * light_cf[0, :, None, None])
        x_fhw = x_fhw + config.brightness * light_cf[1, :, None, None]
        shown_f = (frames.clip >= 0) & ~hidden(frames, config)
        return jnp.where(shown_f[:, None, None], x_fhw, 0.0)

    return _by_row(augment, lips_bfhw, start_bg, length_bg, index_bg, key, config)


def _by_row(augment, x_bt, start_bg, length_bg, index_bg, key, config: AugmentConfig | None):
    """What (row, its `Frames`, config) -> row makes of every row, and clip_bt."""
    config = STILL if key is None else config or AugmentConfig()
    seed_bg, u_bgn = draw(key, index_bg, config)

    def one_row(x_t, start_g, length_g, seed_g, u_gn):
        frames = resampled(len(x_t), start_g, length_g, seed_g, u_gn, config.speed)
        return augment(x_t, frames, config), frames.clip

    return jax.vmap(one_row)(x_bt, start_bg, length_bg, seed_bg, u_bgn)


def _about_mean_picture(x_fhw, member_fg):
    """Each clip of a row less its mean over time, at standard deviation 1."""
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    n_g = jnp.maximum(member_fg.sum(axis=0), 1.0)
    mean_ghw = exact("fg,fhw->ghw", member_fg, x_fhw) / n_g[:, None, None]
    x_fhw = (x_fhw - exact("fg,ghw->fhw", member_fg, mean_ghw)) * member_fg.sum(1)[:, None, None]
    variance_g = exact("fg,f->g", member_fg, jnp.square(x_fhw).mean(axis=(1, 2))) / n_g
    scale_f = exact("fg,g->f", member_fg, 1.0 / jnp.maximum(jnp.sqrt(variance_g), 1.0))
    return x_fhw * scale_f[:, None, None]
