"""Clips joined to one recording, on the device: joints at which a sentence ends, and others.

A dataset holds sentences and not what is between them, and a joint of two clips shows: the body
that comes after is another one's, in another light. A model that is taught where clips were joined
learns the joints. So as many joints as end a sentence end none: they are made in the middle of
sentences, of the same clips, in the same way.

- Between two clips a joint is true or false by a coin. At a true one the first clip ends and the
  second begins as recorded, but for up to `EDGE_S` that both may lose. At a false one the first
  loses `MIDDLE` of its frames at its end, the second as much at its start: it leads from the middle
  of one sentence into the middle of another, of another signer as often as a true one does.
- Half of the clips have a false joint inside: they jump to a later moment of themselves.
- At every joint the frames within a span of random length are overwritten by a movement from what
  lies before it to what lies behind it, on straight lines with the least jerk, as hands go from one
  sign to the next.

In real recordings a sentence ends without a joint, so joints of both kinds should hardly be seen.
Clips come normalised by their own shoulders; here trunk and face of all clips of a row are also put
where those of its first clip are. Hands that lie in the lap at the ends of a clip are cut off, with
their way from and to there: such rests are found by `use.segments`, clips that were recorded one by
one have them at every end, and they would be all there is to learn.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from signbind_jax import keypoints
from signbind_jax.data.augment import between_poses

FALSE = 0.5  # of the joints between clips
MIDDLE = (0.2, 0.45)  # of a clip's frames
EDGE_S, MOST_EDGE = 0.25, 0.2  # seconds, and the share of a clip's frames they are at most
RAISING_S = 0.3  # that hands take from the lap to where they sign, or back
INSIDE = 0.5  # of the clips
SKIPPED_S, MOST_SKIPPED = (0.1, 0.5), 0.25
BRIDGED_S = (0.08, 0.3)
# Points that keep their place, more or less, while somebody signs.
_STILL = (*range(3), *range(keypoints.FACE_SLICE.start, keypoints.MOUTH_SLICE.stop))
_N_DRAWN = 8  # numbers for each clip


class JoinedClips(NamedTuple):
    """Rows without gaps; p counts the joints behind each clip of a row, then those inside each.

    Attributes:
      x_btkc: keypoints, zeros in the padding behind the last clip.
      real_bt: bool, False in padding.
      joint_bp: int32 first frame behind each joint; -1 where there is none.
      true_bp: bool, whether a sentence ends there.
    """

    x_btkc: jax.Array
    real_bt: jax.Array
    joint_bp: jax.Array
    true_bp: jax.Array


def join_clips(x_btkc, clip_bt, fps_bg, index_bg, key) -> JoinedClips:
    """The clips of each row as one recording.

    What is drawn for a clip follows from `key` and its index: neither from the clips beside it nor
    from the number of devices.

    Args:
      x_btkc, clip_bt: as `preprocess.prepare_pose` gives them.
      fps_bg: frames a second of each clip; 0 where there is none.
      index_bg: int32 index of each clip.
    """
    b, g = index_bg.shape
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index_bg.reshape(-1))
    u_bgn = jax.vmap(lambda key: jax.random.uniform(key, (_N_DRAWN,)))(keys).reshape(b, g, -1)
    return JoinedClips(*jax.vmap(_join)(x_btkc, clip_bt, fps_bg, u_bgn))


def _join(x_tkc, clip_t, fps_g, u_gn):
    """One row of `join_clips`."""
    t, place_t = jnp.arange(len(clip_t)), jnp.maximum(clip_t, 0)
    coin, end, begin, inside, skip, at, *widths = u_gn.T
    false_g, present_g = coin < FALSE, fps_g > 0
    start_g, stop_g = _signed(x_tkc, clip_t, fps_g)
    x_tkc = _on_one_body(x_tkc, clip_t, len(fps_g))
    n_g = stop_g - start_g
    stop_g -= _lost(n_g, fps_g, false_g, end)
    # The coin of the joint before; that of the row's first clip is of no other joint.
    start_g += _lost(n_g, fps_g, jnp.roll(false_g, 1), begin)
    n_g = jnp.where(present_g, stop_g - start_g, 0)
    skip_g = jnp.minimum(_between(SKIPPED_S, skip) * fps_g, MOST_SKIPPED * n_g)
    skip_g = jnp.where(inside < INSIDE, skip_g, 0).astype(jnp.int32)
    at_g = start_g + ((0.25 + 0.25 * at) * n_g).astype(jnp.int32)
    skipped_t = (t >= at_g[place_t]) & (t < (at_g + skip_g)[place_t])
    kept_t = (clip_t >= 0) & (t >= start_g[place_t]) & (t < stop_g[place_t]) & ~skipped_t
    x_tkc = x_tkc[jnp.argsort(~kept_t, stable=True)]  # the kept frames, in order
    ends_g = jnp.cumsum(n_g - skip_g)
    behind_g = jnp.where(jnp.roll(present_g, -1).at[-1].set(False), ends_g, -1)
    inside_g = jnp.where(skip_g > 0, ends_g - (n_g - skip_g) + at_g - start_g, -1)
    joint_p = jnp.concatenate([behind_g, inside_g])
    true_p = jnp.concatenate([~false_g, jnp.zeros_like(false_g)]) & (joint_p >= 0)
    width_p = jnp.round(_between(BRIDGED_S, jnp.concatenate(widths)) * jnp.tile(fps_g, 2))
    x_tkc = _bridged(x_tkc, ends_g[-1], joint_p, width_p.astype(jnp.int32))
    real_t = t < ends_g[-1]
    return jnp.where(real_t[:, None, None], x_tkc, 0), real_t, joint_p, true_p


def _signed(x_tkc, clip_t, fps_g):
    """Of each clip the first frame to keep, and the one behind the last: all of it, but for hands
    in the lap at its ends and what they take from and to there."""
    raised_t = jnp.zeros(len(clip_t), bool)
    for points in keypoints.HAND_POINTS:
        raised_t |= keypoints.is_raised(x_tkc[:, jnp.array(points)])
    member_tg = clip_t[:, None] == jnp.arange(len(fps_g))
    raised_tg = member_tg & raised_t[:, None]
    (first_g, last_g), (start_g, stop_g) = _span(member_tg), _span(raised_tg)
    raising_g = jnp.minimum(RAISING_S * fps_g, MOST_EDGE * (stop_g - start_g)).astype(jnp.int32)
    start_g = jnp.where(start_g > first_g, start_g + raising_g, start_g)
    stop_g = jnp.where(stop_g < last_g, stop_g - raising_g, stop_g)
    is_raised_g = raised_tg.any(0)  # of a clip in which nothing is, all is kept
    return jnp.where(is_raised_g, start_g, first_g), jnp.where(is_raised_g, stop_g, last_g)


def _span(is_so_tg):
    """The first True of each column, and the place behind the last."""
    return jnp.argmax(is_so_tg, axis=0), len(is_so_tg) - jnp.argmax(is_so_tg[::-1], axis=0)


def _on_one_body(x_tkc, clip_t, g: int):
    """Trunk and face of every clip moved so that each point has the mean place of the first's."""
    still_tkc = x_tkc[:, jnp.array(_STILL)]
    seen_tk1 = still_tkc[..., 2:] > 0
    member_tg = (clip_t[:, None] == jnp.arange(g)).astype(x_tkc.dtype)
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    sum_gkc = exact("tg,tkc->gkc", member_tg, still_tkc[..., :2] * seen_tk1)
    n_gk1 = exact("tg,tkc->gkc", member_tg, seen_tk1.astype(x_tkc.dtype))
    mean_gkc = sum_gkc / jnp.maximum(n_gk1, 1)
    known_gk1 = (n_gk1 > 0) & (n_gk1[:1] > 0)  # a point that one of them lacks stays
    move_gkc = jnp.where(known_gk1, mean_gkc[:1] - mean_gkc, 0)
    move_tkc = jnp.where(seen_tk1, move_gkc[jnp.maximum(clip_t, 0)], 0)
    return x_tkc.at[:, jnp.array(_STILL), :2].add(move_tkc)


def _lost(n_g, fps_g, false_g, u_g):
    """Frames that each clip loses at an end."""
    edge_g = jnp.minimum(u_g * EDGE_S * fps_g, MOST_EDGE * n_g)
    return jnp.where(false_g, _between(MIDDLE, u_g) * n_g, edge_g).astype(jnp.int32)


def _between(span: tuple[float, float], u):
    return span[0] + (span[1] - span[0]) * u


def _bridged(x_tkc, n, joint_p, width_p):
    """A row of n real frames whose `width_p` frames about each joint are a movement of least jerk:
    10 s^3 - 15 s^4 + 6 s^5 (Flash and Hogan, 1985)."""
    t = jnp.arange(len(x_tkc))
    before_p = joint_p - 1 - width_p // 2  # the last frame that stays as it is
    behind_p = before_p + width_p + 1
    within_tp = (t[:, None] > before_p) & (t[:, None] < behind_p) & (joint_p >= 0)
    p_t, is_within_t = within_tp.argmax(axis=1), within_tp.any(axis=1)
    low_t = jnp.clip(jnp.where(is_within_t, before_p[p_t], t), 0, n - 1)
    high_t = jnp.clip(jnp.where(is_within_t, behind_p[p_t], t), 0, n - 1)
    s_t = jnp.where(is_within_t, (t - low_t) / jnp.maximum(high_t - low_t, 1), 0.0)
    share_t = s_t**3 * (10.0 - 15.0 * s_t + 6.0 * s_t**2)
    return between_poses(x_tkc[low_t], x_tkc[high_t], share_t[:, None, None])
