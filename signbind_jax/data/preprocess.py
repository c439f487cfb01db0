"""From stored clips to model input, on the device and inside jit: cleaning and augmentation.

Every row is treated alone, with a key made of the batch's key and the clip's index: what
happens to a clip depends neither on the rows beside it nor on the number of devices.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from signbind_jax import keypoints

# Places of the numbers drawn for a row, fixed so that switching one thing off leaves the others.
_SPEED, _MIRROR = 0, 1
_SHAPE = slice(2, 8)
_LOST_HANDS = (slice(8, 11), slice(11, 14))
_SHIFT, _LIGHT = slice(14, 16), slice(16, 18)
_HIDDEN = 18


@dataclass(frozen=True)
class AugmentConfig:
    """How much a training clip is changed; 0 switches a part off.

    Attributes:
      speed: share by which a clip is slowed down or sped up, at most, by resampling.
      time_masks: how many runs of frames are hidden.
      time_mask_frames: longest hidden run, in frames.
      rotation: degrees in the image plane, at most.
      scale: share by which width and height change, each on its own, at most.
      shear: horizontal shift a unit of height, at most.
      translation: shoulder widths, at most.
      mirror: probability that left and right are swapped (pose and lips of a clip together).
      keypoint_noise: standard deviation in shoulder widths.
      hand_drop: probability that a hand is lost for a run of frames; each hand on its own.
      hand_drop_frames: longest such run, in frames.
      lip_shift: pixels, at most.
      brightness, contrast: at most, in standard deviations and as a share of them.
    """

    speed: float = 0.15
    time_masks: int = 2
    time_mask_frames: int = 6
    rotation: float = 8.0
    scale: float = 0.1
    shear: float = 0.1
    translation: float = 0.1
    mirror: float = 0.0
    keypoint_noise: float = 0.01
    hand_drop: float = 0.1
    hand_drop_frames: int = 12
    lip_shift: int = 2
    brightness: float = 0.2
    contrast: float = 0.2


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
    x_btkc = pose_btkc.astype(jnp.float32)
    confidence_btk = x_btkc[..., 2]
    seen_btk = (confidence_btk > 0) & jnp.isfinite(x_btkc).all(-1)
    t = jnp.arange(pose_btkc.shape[1])
    seen_btk &= (t < length_b[:, None])[..., None]
    x_btkc = x_btkc.at[..., 2].set(jnp.minimum(confidence_btk, 1.0))
    x_btkc = jnp.where(seen_btk[..., None], x_btkc, 0.0)
    if key is not None:
        config = config or AugmentConfig()
        seed_b, u_bn = _draw(key, index_b, config)
        augment = functools.partial(_augment_pose, config=config)
        x_btkc, length_b = jax.vmap(augment)(x_btkc, length_b, seed_b, u_bn)
    return x_btkc, t < length_b[:, None]


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
        _, u_bn = _draw(key, index_b, config)
        augment = functools.partial(_augment_lips, config=config)
        x_bfhw, length_b, hidden_bf = jax.vmap(augment)(lips_bfhw, length_b, u_bn)
    else:
        x_bfhw = lips_bfhw.astype(jnp.float32)
    mask_bf = f < length_b[:, None]
    inside_bfhw = mask_bf[:, :, None, None]
    h, w = lips_bfhw.shape[2:]
    n_frames_b = jnp.maximum(length_b, 1)[:, None, None, None]
    x_bfhw = jnp.where(inside_bfhw, x_bfhw, 0.0)
    mean_b1hw = x_bfhw.sum(1, keepdims=True) / n_frames_b
    x_bfhw = jnp.where(inside_bfhw, x_bfhw - mean_b1hw, 0.0)
    variance_b = jnp.square(x_bfhw).sum((1, 2, 3), keepdims=True) / (n_frames_b * (h * w))
    std_b = jnp.sqrt(variance_b)
    x_bfhw = x_bfhw / jnp.maximum(std_b, 1.0)  # one grey level: a blank clip stays near 0
    if key is not None:
        light_bc = 2.0 * u_bn[:, _LIGHT, None, None] - 1.0
        x_bfhw = x_bfhw * (1.0 + config.contrast * light_bc[:, :1])
        x_bfhw = x_bfhw + config.brightness * light_bc[:, 1:]
        x_bfhw = jnp.where(inside_bfhw & ~hidden_bf[:, :, None, None], x_bfhw, 0.0)
    return x_bfhw, mask_bf


def _draw(key, index_b, config: AugmentConfig):
    """For each row, from its clip's index: a uint32 seed, and uniform numbers in 0..1."""
    n = 1 + _HIDDEN + 2 * config.time_masks
    keys_b = jax.vmap(jax.random.fold_in, (None, 0))(key, index_b)
    bits_bn = jax.vmap(lambda key: jax.random.bits(key, (n,), jnp.uint32))(keys_b)
    # Without the barrier XLA draws the numbers again for every keypoint that uses one.
    bits_bn = jax.lax.optimization_barrier(bits_bn)
    return bits_bn[:, 0], (bits_bn[:, 1:] >> 8).astype(jnp.float32) * 2.0**-24


def _augment_pose(x_tkc, length, seed, u_n, config: AugmentConfig):
    """One row of `prepare_pose`: (x_tkc, new length)."""
    low_t, high_t, share_t, length = _warp(x_tkc.shape[0], length, u_n[_SPEED], config.speed)
    x_tkc = _between_poses(x_tkc[low_t], x_tkc[high_t], share_t[:, None, None])
    if config.mirror:
        swapped_tkc = x_tkc[:, jnp.array(keypoints.MIRROR)] * jnp.array([-1.0, 1.0, 1.0])
        x_tkc = jnp.where(u_n[_MIRROR] < config.mirror, swapped_tkc, x_tkc)
    xy_tkc = _sheared(x_tkc[..., :2], u_n[_SHAPE], config)
    if config.keypoint_noise:
        xy_tkc = xy_tkc + config.keypoint_noise * _noise(seed, *xy_tkc.shape[:2])
    shown_tk = x_tkc[..., 2] > 0
    shown_tk &= _hands_shown(x_tkc.shape[0], length, u_n, config)
    shown_tk &= ~_hidden(x_tkc.shape[0], length, u_n, config)[:, None]
    shown_tk &= (jnp.arange(x_tkc.shape[0]) < length)[:, None]
    x_tkc = jnp.concatenate([xy_tkc, x_tkc[..., 2:]], axis=-1)
    return jnp.where(shown_tk[..., None], x_tkc, 0.0), length


def _augment_lips(lips_fhw, length, u_n, config: AugmentConfig):
    """One row of `prepare_lips`: (float crops, new length, hidden frames)."""
    n_frames = lips_fhw.shape[0]
    low_f, high_f, share_f, length = _warp(n_frames, length, u_n[_SPEED], config.speed)
    shift = config.lip_shift
    if shift:
        dy, dx = jnp.floor(u_n[_SHIFT] * (2 * shift + 1)).astype(jnp.int32)
        padded_fhw = jnp.pad(lips_fhw, ((0, 0), (shift, shift), (shift, shift)), mode="edge")
        lips_fhw = jax.lax.dynamic_slice(padded_fhw, (0, dy, dx), lips_fhw.shape)
    if config.mirror:
        lips_fhw = jnp.where(u_n[_MIRROR] < config.mirror, lips_fhw[:, :, ::-1], lips_fhw)
    x_fhw = lips_fhw[low_f].astype(jnp.float32)
    if config.speed:
        next_fhw = lips_fhw[high_f].astype(jnp.float32)
        x_fhw = x_fhw + share_f[:, None, None] * (next_fhw - x_fhw)
    return x_fhw, length, _hidden(n_frames, length, u_n, config)


def _warp(n_frames: int, length, u, speed: float):
    """Resampling of a row to another speed, within its bucket.

    Returns:
      Frames before and after each new frame, the share of the latter, and the new length.
      All of the clip is kept: where a slower clip outgrows the bucket it is slowed less.
    """
    new = jnp.round(length / (1.0 + speed * (2.0 * u - 1.0))).astype(jnp.int32)
    new = jnp.clip(new, jnp.minimum(length, 1), n_frames)
    last = jnp.maximum(length - 1, 0)
    # Divided last, so that an unchanged length gives whole positions.
    position_t = jnp.minimum(jnp.arange(n_frames) * last / jnp.maximum(new - 1, 1), last)
    low_t = jnp.floor(position_t).astype(jnp.int32)
    return low_t, jnp.minimum(low_t + 1, last), position_t - low_t, new


def _between_poses(low_tkc, high_tkc, share_t11):
    """Linear interpolation that never mixes a missing keypoint's zeros into a position.

    A keypoint is present where the nearer of the two frames has it.
    """
    seen_low, seen_high = low_tkc[..., 2:] > 0, high_tkc[..., 2:] > 0
    share = jnp.where(seen_low & seen_high, share_t11, jnp.where(seen_high, 1.0, 0.0))
    seen = jnp.where(share_t11 < 0.5, seen_low, seen_high)
    return jnp.where(seen, low_tkc + share * (high_tkc - low_tkc), 0.0)


def _sheared(xy_tkc, u_n, config: AugmentConfig):
    """Rotates, scales, shears and moves a clip as a whole."""
    angle, wide, high, shear, dx, dy = 2.0 * u_n - 1.0
    angle = angle * jnp.deg2rad(config.rotation)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x_tk, y_tk = xy_tkc[..., 0], xy_tkc[..., 1]
    x_tk = (1.0 + config.scale * wide) * x_tk + config.shear * shear * y_tk
    y_tk = (1.0 + config.scale * high) * y_tk
    # Written out: a product with 2 x 2 matrices, one a row, is slow where it is batched.
    x_tk, y_tk = cos * x_tk - sin * y_tk, sin * x_tk + cos * y_tk
    return jnp.stack([x_tk + config.translation * dx, y_tk + config.translation * dy], axis=-1)


def _noise(seed, t: int, k: int):
    """Uniform noise of mean 0 and standard deviation 1, (t, k, 2), from a uint32 seed.

    An integer hash (Wellons' lowbias32, 2018) of the place in the array: as good as
    jax.random here, at a fraction of its time to compile and run on a CPU, and the same
    whatever the length of the bucket.
    """
    place_tk = jnp.arange(t * k, dtype=jnp.uint32).reshape(t, k)
    x_tk = seed + place_tk * jnp.uint32(0x9E3779B9)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x_tk = (x_tk ^ (x_tk >> shift)) * jnp.uint32(factor)
    x_tk ^= x_tk >> 16
    halves_tkc = jnp.stack([x_tk >> 16, x_tk & 0xFFFF], axis=-1)  # 16 bits are plenty for noise
    return (halves_tkc.astype(jnp.float32) / 32_767.5 - 1.0) * 3.0**0.5


def _run(n_frames: int, length, u_start, u_run, longest: int):
    """bool (t,): one run of 1 to `longest` frames that begins inside the clip."""
    start = jnp.floor(u_start * length).astype(jnp.int32)
    run = 1 + jnp.floor(u_run * longest).astype(jnp.int32)
    t = jnp.arange(n_frames)
    return (t >= start) & (t < start + run)


def _hidden(n_frames: int, length, u_n, config: AugmentConfig):
    """bool (t,): the frames that time masking hides (Park et al., 2019)."""
    hidden_t = jnp.zeros(n_frames, bool)
    if config.time_mask_frames:
        for i in range(_HIDDEN, _HIDDEN + 2 * config.time_masks, 2):
            hidden_t |= _run(n_frames, length, u_n[i], u_n[i + 1], config.time_mask_frames)
    return hidden_t


def _hands_shown(n_frames: int, length, u_n, config: AugmentConfig):
    """bool (t, k): False for the keypoints of a hand while its tracker has lost it."""
    k = jnp.arange(keypoints.K)
    shown_tk = jnp.ones((n_frames, keypoints.K), bool)
    if not config.hand_drop or not config.hand_drop_frames:
        return shown_tk
    hands = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
    for place, hand in zip(_LOST_HANDS, hands, strict=True):
        chance, u_start, u_run = u_n[place]
        lost_t = _run(n_frames, length, u_start, u_run, config.hand_drop_frames)
        lost_t &= chance < config.hand_drop
        shown_tk &= ~(lost_t[:, None] & (k >= hand.start) & (k < hand.stop))
    return shown_tk
