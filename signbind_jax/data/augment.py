"""Augmentation of clips on the device: what is drawn for each, and what it does to a row.

A row holds one clip, or several end to end; each clip has its own numbers, made of the batch's
key and its index.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from signbind_jax import keypoints
from signbind_jax.data.row_plan import ALIGNMENT
from signbind_jax.models import random_bits
from signbind_jax.ranges import Checked, Range, Rate, Share, Strength, Whole

# Places of the numbers drawn for a row, fixed so that switching one thing off leaves the others.
_SPEED, _MIRROR = 0, 1
_SHAPE = slice(2, 8)
_LOST_HANDS = (slice(8, 11), slice(11, 14))
_SHIFT, LIGHT = slice(14, 16), slice(16, 18)
_HIDDEN = 18


@dataclass(frozen=True)
class AugmentConfig(Checked):
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
      mirrored_camera: probability that the picture of the landmarks is mirrored and left stays
        left, as with a camera that mirrors or a hand of an unknown side.
      keypoint_noise: standard deviation in shoulder widths.
      hand_drop: probability that a hand is lost for a run of frames; each hand on its own.
      hand_drop_frames: longest such run, in frames.
      lip_shift: pixels, at most.
      brightness, contrast: at most, in standard deviations and as a share of them.
    """

    speed: Rate = 0.15
    time_masks: Annotated[int, Range(0, 100)] = 2
    time_mask_frames: Whole = 6
    rotation: Annotated[float, Range(0, 180)] = 8.0
    scale: Rate = 0.1
    shear: Strength = 0.1
    translation: Strength = 0.1
    mirror: Share = 0.0
    mirrored_camera: Share = 0.0
    keypoint_noise: Strength = 0.01
    hand_drop: Share = 0.1
    hand_drop_frames: Whole = 12
    lip_shift: Annotated[int, Range(0, 100)] = 2
    brightness: Strength = 0.2
    contrast: Rate = 0.2


STILL = AugmentConfig(
    speed=0.0,
    time_masks=0,
    rotation=0.0,
    scale=0.0,
    shear=0.0,
    translation=0.0,
    keypoint_noise=0.0,
    hand_drop=0.0,
    lip_shift=0,
    brightness=0.0,
    contrast=0.0,
)


def draw(key, index_bg, config: AugmentConfig):
    """For each clip of rows, from its index: a uint32 seed, and uniform numbers in 0..1; zeros
    without a key."""
    b, g = index_bg.shape
    n = 1 + _HIDDEN + 2 * config.time_masks + bool(config.mirrored_camera)
    if key is None:
        return jnp.zeros((b, g), jnp.uint32), jnp.zeros((b, g, n - 1))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index_bg.reshape(-1))
    bits = jax.vmap(lambda key: jax.random.bits(key, (n,), jnp.uint32))(keys)
    # Without the barrier XLA draws the numbers again for every keypoint that uses one.
    bits_bgn = jax.lax.optimization_barrier(bits).reshape(b, g, n)
    return bits_bgn[..., 0], (bits_bgn[..., 1:] >> 8).astype(jnp.float32) * 2.0**-24


class Frames(NamedTuple):
    """Of which stored frames the frames of an augmented row are made.

    Attributes:
      low, high: (t,) stored frames before and after each new one.
      share: (t,) of the latter.
      place: (t,) of each new frame in its clip.
      clip: int32 (t,) which clip of the row each new frame belongs to, -1 for none.
      length: (t,) new frames of that clip.
      seed, u: what `draw` gave that clip, (t,) and (n, t).
    """

    low: jax.Array
    high: jax.Array
    share: jax.Array
    place: jax.Array
    clip: jax.Array
    length: jax.Array
    seed: jax.Array
    u: jax.Array


def _new_length(n_frames: int, length, u, speed: float):
    """Frames of a clip at another speed; at most `n_frames`, so that all of it is kept."""
    new = jnp.round(length / (1.0 + speed * (2.0 * u - 1.0))).astype(jnp.int32)
    return jnp.clip(new, jnp.minimum(length, 1), n_frames)


def _between_frames(place_t, length, new):
    """Stored places before and after new places of a clip, and the share of the latter."""
    last, steps = jnp.maximum(length - 1, 0), jnp.maximum(new - 1, 1)
    # Whole numbers: XLA divides floats by way of the reciprocal, and a position that should be
    # whole would end up a hair below.
    scaled_t = jnp.minimum(place_t, steps) * last
    low_t = scaled_t // steps
    return low_t, jnp.minimum(low_t + 1, last), (scaled_t - low_t * steps) / steps


def resampled(n_frames: int, start_g, length_g, seed_g, u_gn, speed: float) -> Frames:
    """The frames of a row's clips at their new speeds; where they outgrow the row together, all
    are shortened alike."""
    present_g = length_g > 0
    new_g = _new_length(n_frames, length_g, u_gn[:, _SPEED], speed)
    slot_g = _aligned(new_g)
    end = (jnp.cumsum(slot_g) - slot_g + new_g).max()
    room = n_frames - ALIGNMENT * present_g.sum()  # rounding up takes at most so much
    shrink = jnp.where(end > n_frames, room / jnp.maximum(new_g.sum(), 1), 1.0)
    new_g = jnp.maximum(jnp.floor(new_g * shrink).astype(jnp.int32), present_g)
    slot_g = _aligned(new_g)
    new_start_g = jnp.cumsum(slot_g) - slot_g
    t = jnp.arange(n_frames)
    clip_t = jnp.maximum(((t[:, None] >= new_start_g) & present_g).sum(axis=1) - 1, 0)
    place_t = t - new_start_g[clip_t]
    length_t, new_t, start_t = length_g[clip_t], new_g[clip_t], start_g[clip_t]
    low_t, high_t, share_t = _between_frames(place_t, length_t, new_t)
    return Frames(
        low_t + start_t,
        high_t + start_t,
        share_t,
        place_t,
        jnp.where(place_t < new_t, clip_t, -1),
        new_t,
        seed_g[clip_t],
        u_gn[clip_t].T,
    )


def _aligned(n_frames):
    return -(-n_frames // ALIGNMENT) * ALIGNMENT


def augment_pose(x_tkc, frames: Frames, config: AugmentConfig):
    """One row of `prepare_pose`."""
    x_tkc = between_poses(x_tkc[frames.low], x_tkc[frames.high], frames.share[:, None, None])
    if config.mirror:
        swapped_tkc = x_tkc[:, jnp.array(keypoints.MIRROR)] * jnp.array([-1.0, 1.0, 1.0])
        swaps = (frames.u[_MIRROR] < config.mirror)[:, None, None]
        x_tkc = jnp.where(swaps, swapped_tkc, x_tkc)
    if config.mirrored_camera:
        sign_t11 = jnp.where(frames.u[-1] < config.mirrored_camera, -1.0, 1.0)[:, None, None]
        x_tkc = jnp.concatenate([sign_t11 * x_tkc[..., :1], x_tkc[..., 1:]], axis=-1)
    xy_tkc = _sheared(x_tkc[..., :2], frames.u[_SHAPE], config)
    if config.keypoint_noise:
        xy_tkc = xy_tkc + config.keypoint_noise * _noise(frames, x_tkc.shape[1])
    shown_tk = x_tkc[..., 2] > 0
    shown_tk &= _hands_shown(frames, config)
    shown_tk &= ((frames.clip >= 0) & ~hidden(frames, config))[:, None]
    x_tkc = jnp.concatenate([xy_tkc, x_tkc[..., 2:]], axis=-1)
    return jnp.where(shown_tk[..., None], x_tkc, 0.0)


def augment_lips(lips_fhw, frames: Frames, config: AugmentConfig):
    """One row's crops as float32: resampled, shifted and mirrored."""
    low_fhw = _moved(lips_fhw[frames.low], frames, config)
    x_fhw = low_fhw.astype(jnp.float32)
    if config.speed:
        next_fhw = _moved(lips_fhw[frames.high], frames, config).astype(jnp.float32)
        x_fhw = x_fhw + frames.share[:, None, None] * (next_fhw - x_fhw)
    return x_fhw


def _moved(lips_fhw, frames: Frames, config: AugmentConfig):
    """Crops shifted by whole pixels and mirrored, as their clips are."""
    shift = config.lip_shift
    if shift:
        dy, dx = jnp.floor(frames.u[_SHIFT] * (2 * shift + 1)).astype(jnp.int32)
        digits = (2 * shift).bit_length()
        sides = (shift, (1 << digits) - 1 - shift)
        padded_fhw = jnp.pad(lips_fhw, ((0, 0), sides, sides), mode="edge")
        lips_fhw = _cut(_cut(padded_fhw, dy, digits, 1), dx, digits, 2)
    if config.mirror:
        swaps = (frames.u[_MIRROR] < config.mirror)[:, None, None]
        lips_fhw = jnp.where(swaps, lips_fhw[:, :, ::-1], lips_fhw)
    return lips_fhw


def _cut(x_fhw, start_f, digits: int, axis: int):
    """Each frame from its start of so many binary digits on, by 2**digits - 1 places shorter.

    A dynamic slice for each frame would be a loop over the frames on a TPU.
    """
    for digit in reversed(range(digits)):
        moved = jax.lax.slice_in_dim(x_fhw, 1 << digit, None, axis=axis)
        kept = jax.lax.slice_in_dim(x_fhw, 0, moved.shape[axis], axis=axis)
        moves_f11 = ((start_f >> digit) & 1 == 1)[:, None, None]
        x_fhw = jnp.where(moves_f11, moved, kept)
    return x_fhw


def between_poses(low_tkc, high_tkc, share_t11):
    """Linear interpolation that never mixes a missing keypoint's zeros into a position.

    A keypoint is present where the nearer of the two frames has it.
    """
    seen_low, seen_high = low_tkc[..., 2:] > 0, high_tkc[..., 2:] > 0
    share = jnp.where(seen_low & seen_high, share_t11, jnp.where(seen_high, 1.0, 0.0))
    seen = jnp.where(share_t11 < 0.5, seen_low, seen_high)
    return jnp.where(seen, low_tkc + share * (high_tkc - low_tkc), 0.0)


def _sheared(xy_tkc, u_nt, config: AugmentConfig):
    """Rotates, scales, shears and moves each clip as a whole; u_nt (6, t)."""
    angle, wide, high, shear, dx, dy = (2.0 * u_nt - 1.0)[..., None]
    angle = angle * jnp.deg2rad(config.rotation)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x_tk, y_tk = xy_tkc[..., 0], xy_tkc[..., 1]
    x_tk = (1.0 + config.scale * wide) * x_tk + config.shear * shear * y_tk
    y_tk = (1.0 + config.scale * high) * y_tk
    # Written out: a product with 2 x 2 matrices, one a row, is slow where it is batched.
    x_tk, y_tk = cos * x_tk - sin * y_tk, sin * x_tk + cos * y_tk
    return jnp.stack([x_tk + config.translation * dx, y_tk + config.translation * dy], axis=-1)


def _noise(frames: Frames, k: int):
    """Uniform noise of mean 0 and standard deviation 1, (t, k, 2), from each clip's uint32 seed.

    A hash of the place in the clip (`random_bits`), so that it is the same whatever the length
    of the bucket.
    """
    place_tk = frames.place[:, None].astype(jnp.uint32) * k + jnp.arange(k, dtype=jnp.uint32)
    x_tk = frames.seed[:, None] + place_tk * jnp.uint32(0x9E3779B9)
    x_tk = random_bits.mix(x_tk)
    halves_tkc = jnp.stack([x_tk >> 16, x_tk & 0xFFFF], axis=-1)  # 16 bits are plenty for noise
    return (halves_tkc.astype(jnp.float32) / 32_767.5 - 1.0) * 3.0**0.5


def _run(frames: Frames, u_start, u_run, longest: int):
    """bool (t,): one run of 1 to `longest` frames that begins inside the clip."""
    start = jnp.floor(u_start * frames.length).astype(jnp.int32)
    run = 1 + jnp.floor(u_run * longest).astype(jnp.int32)
    return (frames.place >= start) & (frames.place < start + run)


def hidden(frames: Frames, config: AugmentConfig):
    """bool (t,): the frames that time masking hides (Park et al., 2019)."""
    hidden_t = jnp.zeros(frames.place.shape, bool)
    if config.time_mask_frames:
        for i in range(_HIDDEN, _HIDDEN + 2 * config.time_masks, 2):
            hidden_t |= _run(frames, frames.u[i], frames.u[i + 1], config.time_mask_frames)
    return hidden_t


def _hands_shown(frames: Frames, config: AugmentConfig):
    """bool (t, k): False for the keypoints of a hand while its tracker has lost it."""
    k = jnp.arange(keypoints.K)
    shown_tk = jnp.ones((len(frames.place), keypoints.K), bool)
    if not config.hand_drop or not config.hand_drop_frames:
        return shown_tk
    hands = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
    for place, hand in zip(_LOST_HANDS, hands, strict=True):
        chance, u_start, u_run = frames.u[place]
        lost_t = _run(frames, u_start, u_run, config.hand_drop_frames)
        lost_t &= chance < config.hand_drop
        shown_tk &= ~(lost_t[:, None] & (k >= hand.start) & (k < hand.stop))
    return shown_tk
