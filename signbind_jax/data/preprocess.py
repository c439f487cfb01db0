"""From stored clips to model input, on the device and inside jit: cleaning and augmentation.

Every clip is treated alone, with a key made of the batch's key and the clip's index: what
happens to it depends neither on the clips beside it nor on the number of devices. Rows hold one
clip each, or several end to end (`data.packed_plan`).
"""

import functools

import jax
import jax.numpy as jnp

from signbind_jax.data.augment import (
    LIGHT,
    STILL,
    AugmentConfig,
    augment_lips,
    augment_pose,
    draw,
    draw_packed,
    hidden,
    one_clip,
    several_clips,
)


def prepare_pose(pose_btkc, length_b, index_b=None, key=None, config: AugmentConfig | None = None):
    """Clean float32 keypoints and, where a key is given, augmented ones.

    A keypoint without confidence or with a value that is not finite is missing: (0, 0, 0).

    Args:
      pose_btkc: f16 (b, t, 91, 3) in shoulder widths, with confidence.
      length_b: int32 frames of each row; 0 in empty rows.
      index_b: int32 index of each row's clip; wanted with a key.
      key: augments where given.
      config: default `AugmentConfig()`; used with a key only.

    Returns:
      x_btkc float32, zeros where masked or missing, and mask_bt bool. A change of speed
      changes the lengths, so count frames in mask_bt, not in length_b.
    """
    t = jnp.arange(pose_btkc.shape[1])
    x_btkc = _cleaned(pose_btkc, t < length_b[:, None])
    if key is not None:
        config = config or AugmentConfig()
        seed_b, u_bn = draw(key, index_b, config)

        def augment(x_tkc, length, seed, u_n):
            frames = one_clip(x_tkc.shape[0], length, seed, u_n, config.speed)
            return augment_pose(x_tkc, frames, config), frames.length

        x_btkc, length_b = jax.vmap(augment)(x_btkc, length_b, seed_b, u_bn)
    return x_btkc, t < length_b[:, None]


def prepare_packed_pose(
    pose_btkc, start_bg, length_bg, index_bg, key=None, config: AugmentConfig | None = None
):
    """`prepare_pose` for rows that hold several clips.

    Args:
      start_bg, length_bg: int32 first frame and frames of each clip; length 0: there is none.
        Clips stand in order, none before a gap.
      index_bg: int32 index of each clip; wanted with a key.

    Returns:
      x_btkc float32 and clip_bt int32: which clip of its row a frame belongs to, -1 in padding.
      A change of speed moves the clips; each begins at a multiple of `ALIGNMENT`.
    """
    config = config if key is not None else STILL
    seed_bg, u_bgn = draw_packed(key, index_bg, config)
    x_btkc = _cleaned(pose_btkc, jnp.bool_(True))

    def augment(x_tkc, start_g, length_g, seed_g, u_gn):
        row = start_g, length_g, seed_g, u_gn
        frames, clip_t = several_clips(x_tkc.shape[0], *row, config.speed)
        return augment_pose(x_tkc, frames, config), clip_t

    return jax.vmap(augment)(x_btkc, start_bg, length_bg, seed_bg, u_bgn)


def _cleaned(pose_btkc, inside_bt):
    """Float32 keypoints, 0 where missing or outside, confidence at most 1."""
    x_btkc = pose_btkc.astype(jnp.float32)
    confidence_btk = x_btkc[..., 2]
    seen_btk = (confidence_btk > 0) & jnp.isfinite(x_btkc).all(-1)
    seen_btk &= inside_bt[..., None]
    x_btkc = x_btkc.at[..., 2].set(jnp.minimum(confidence_btk, 1.0))
    return jnp.where(seen_btk[..., None], x_btkc, 0.0)


def prepare_lips(lips_bfhw, length_b, index_b=None, key=None, config: AugmentConfig | None = None):
    """Float32 mouth crops as their deviation from the clip's mean picture.

    The mean over time goes from every pixel, then the clip is scaled to standard deviation 1:
    what stays is how this mouth moves, not whose it is or how it is lit.

    Where a key is given they are augmented; speed and mirror go with the pose of the same
    clip and key.

    Args:
      lips_bfhw: uint8 (b, f, h, w) grey crops.
      length_b, index_b, key, config: as in `prepare_pose`.

    Returns:
      x_bfhw float32, zeros where masked, and mask_bf bool; lengths may have changed.
    """
    f = jnp.arange(lips_bfhw.shape[1])
    if key is not None:
        config = config or AugmentConfig()
        seed_b, u_bn = draw(key, index_b, config)

        def augment(lips_fhw, length, seed, u_n):
            frames = one_clip(lips_fhw.shape[0], length, seed, u_n, config.speed)
            return augment_lips(lips_fhw, frames, config), frames.length, hidden(frames, config)

        x_bfhw, length_b, hidden_bf = jax.vmap(augment)(lips_bfhw, length_b, seed_b, u_bn)
    else:
        x_bfhw = lips_bfhw.astype(jnp.float32)
    mask_bf = f < length_b[:, None]
    inside_bfhw = mask_bf[:, :, None, None]
    # Sums of the difference from the first frame give mean and deviation in one look at the crops,
    # and, as a mouth moves little, without loss of digits.
    n_frames_b = jnp.maximum(length_b, 1)[:, None, None, None]
    first_b1hw = x_bfhw[:, :1]
    moved_bfhw = jnp.where(inside_bfhw, x_bfhw - first_b1hw, 0.0)
    mean_b1hw = moved_bfhw.sum(1, keepdims=True) / n_frames_b
    square_b1hw = jnp.square(moved_bfhw).sum(1, keepdims=True) / n_frames_b
    variance_b = (square_b1hw - jnp.square(mean_b1hw)).mean((2, 3), keepdims=True)
    # At least one grey level: a blank clip stays near 0.
    scale_b = 1.0 / jnp.sqrt(jnp.maximum(variance_b, 1.0))
    x_bfhw = jnp.where(inside_bfhw, (x_bfhw - (first_b1hw + mean_b1hw)) * scale_b, 0.0)
    if key is not None:
        light_bc = 2.0 * u_bn[:, LIGHT, None, None] - 1.0
        x_bfhw = x_bfhw * (1.0 + config.contrast * light_bc[:, :1])
        x_bfhw = x_bfhw + config.brightness * light_bc[:, 1:]
        x_bfhw = jnp.where(inside_bfhw & ~hidden_bf[:, :, None, None], x_bfhw, 0.0)
    return x_bfhw, mask_bf


def prepare_packed_lips(
    lips_bfhw, start_bg, length_bg, index_bg, key=None, config: AugmentConfig | None = None
):
    """`prepare_lips` for rows that hold several clips; arguments as in `prepare_packed_pose`.

    Returns:
      x_bfhw float32 and clip_bf int32: which clip of its row a frame belongs to, -1 in padding.
    """
    config = config if key is not None else STILL
    seed_bg, u_bgn = draw_packed(key, index_bg, config)

    def augment(lips_fhw, start_g, length_g, seed_g, u_gn):
        row = start_g, length_g, seed_g, u_gn
        frames, clip_f = several_clips(lips_fhw.shape[0], *row, config.speed)
        x_fhw = augment_lips(lips_fhw, frames, config)
        member_fg = (clip_f[:, None] == jnp.arange(len(start_g))).astype(jnp.float32)
        x_fhw = _about_mean_picture(x_fhw, member_fg)
        light_cf = 2.0 * frames.u[LIGHT] - 1.0
        x_fhw = x_fhw * (1.0 + config.contrast * light_cf[0, :, None, None])
        x_fhw = x_fhw + config.brightness * light_cf[1, :, None, None]
        shown_f = frames.inside & ~hidden(frames, config)
        return jnp.where(shown_f[:, None, None], x_fhw, 0.0), clip_f

    return jax.vmap(augment)(lips_bfhw, start_bg, length_bg, seed_bg, u_bgn)


def _about_mean_picture(x_fhw, member_fg):
    """Each clip of a row less its mean over time, at standard deviation 1."""
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    n_g = jnp.maximum(member_fg.sum(axis=0), 1.0)
    mean_ghw = exact("fg,fhw->ghw", member_fg, x_fhw) / n_g[:, None, None]
    x_fhw = (x_fhw - exact("fg,ghw->fhw", member_fg, mean_ghw)) * member_fg.sum(1)[:, None, None]
    variance_g = exact("fg,f->g", member_fg, jnp.square(x_fhw).mean(axis=(1, 2))) / n_g
    scale_f = exact("fg,g->f", member_fg, 1.0 / jnp.maximum(jnp.sqrt(variance_g), 1.0))
    return x_fhw * scale_f[:, None, None]
