"""CTC: the loss, which samples it can use at all, and decoding into token streams.

The blank has id 0. Steps are an expert's output steps, s; masks may have gaps, and a masked
step is as if it were not there.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from signbind_jax.models.token_stream import TokenStream

NEVER = -1e30  # log of "impossible"; finite, so that gradients stay finite


def min_steps(target: Sequence[int]) -> int:
    """The fewest output steps that can spell `target`: its length and a blank a repeat."""
    return len(target) + sum(a == b for a, b in zip(target, target[1:], strict=False))


def ctc_loss(log_probs_bsv, clip_bs, target_bgn, target_length_bg):
    """Negative log likelihood of each target over all alignments (Graves et al., 2006).

    Args:
      log_probs_bsv: float32 log posteriors.
      clip_bs: int, which clip of its row a step belongs to, -1 for none; a clip's steps follow
        each other, but for steps of none.
      target_bgn: int ids of each clip's target, whatever beyond `target_length_bg`.

    Returns:
      (loss_bg, feasible_bg) in nats a clip. A clip with fewer steps than its target needs, or
      with no step at all, has loss 0, gradient 0 and `feasible_bg` False: count it and leave it
      out of the mean.
    """
    target_bgn = target_bgn.astype(jnp.int32)
    g, n = target_bgn.shape[1:]
    within_bgn = jnp.arange(n) < target_length_bg[..., None]
    repeat_bgn = (target_bgn == jnp.roll(target_bgn, 1, axis=2)) & within_bgn
    needed_bg = target_length_bg + repeat_bgn[..., 1:].sum(axis=2)
    n_steps_bg = (clip_bs[..., None] == jnp.arange(g)).sum(axis=1)
    feasible_bg = n_steps_bg >= jnp.maximum(needed_bg, 1)
    loss_bg = _alignment_loss(
        log_probs_bsv.astype(jnp.float32),
        clip_bs,
        target_bgn,
        target_length_bg,
        log_probs_bsv.shape[-1],
    )
    return jnp.where(feasible_bg, loss_bg, 0.0), feasible_bg


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _alignment_loss(log_probs_bsv, clip_bs, target_bgn, target_length_bg, v: int):
    return _occupancy(log_probs_bsv, clip_bs, target_bgn, target_length_bg)[0]


def _alignment_loss_fwd(log_probs_bsv, clip_bs, target_bgn, target_length_bg, v: int):
    loss_bg, occupancy_bsz = _occupancy(log_probs_bsv, clip_bs, target_bgn, target_length_bg)
    return loss_bg, (occupancy_bsz, clip_bs, target_bgn)


def _alignment_loss_bwd(v: int, residual, grad_bg):
    """d loss / d log_probs[s, v] is minus the chance that the alignment is at v in step s."""
    occupancy_bsz, clip_bs, target_bgn = residual
    g = target_bgn.shape[1]
    token_bgnv = jax.nn.one_hot(target_bgn, v, dtype=occupancy_bsz.dtype)
    if g == 1:
        grad_bsv = jnp.einsum("bsn,bnv->bsv", occupancy_bsz[..., 1::2], token_bgnv[:, 0])
    else:
        own_bsg = jax.nn.one_hot(clip_bs, g, dtype=occupancy_bsz.dtype)
        by_clip_bsgn = own_bsg[..., None] * occupancy_bsz[:, :, None, 1::2]
        grad_bsv = jnp.einsum("bsgn,bgnv->bsv", by_clip_bsgn, token_bgnv)
    grad_bsv = grad_bsv.at[..., 0].add(occupancy_bsz[..., ::2].sum(axis=-1))
    return -_of_clip(grad_bg, clip_bs)[..., None] * grad_bsv, None, None, None


_alignment_loss.defvjp(_alignment_loss_fwd, _alignment_loss_bwd)


def _of_clip(x_bg, clip_bs):
    """What each step's clip has: (b, g, ...) -> (b, s, ...), or (b, 1, ...) of rows with one."""
    if x_bg.shape[1] == 1:
        return x_bg
    index_bs = jnp.maximum(clip_bs, 0).reshape(*clip_bs.shape, *(1,) * (x_bg.ndim - 2))
    return jnp.take_along_axis(x_bg, index_bs, axis=1)


def _occupancy(log_probs_bsv, clip_bs, target_bgn, target_length_bg):
    """Loss and the posterior of every lattice state z (blank, token, blank, ...) a step.

    Forward and backward variables run in one scan: the backward lattice is the forward
    lattice of the reversed target over reversed time, shifted to end in its last state.
    """
    b, g, n = target_bgn.shape
    z = 2 * n + 1
    state_bgz = jnp.zeros((b, g, z), jnp.int32).at[..., 1::2].set(target_bgn)
    last_bg1 = 2 * target_length_bg[..., None]
    is_token_z = jnp.arange(z) % 2 == 1
    two_back_bgz = jnp.pad(state_bgz, ((0, 0), (0, 0), (2, 0)))[..., :z]
    skip_bgz = is_token_z & (state_bgz != two_back_bgz)
    emit_bsz = jnp.take_along_axis(log_probs_bsv, _of_clip(state_bgz, clip_bs), axis=2)
    starts_bgz = jnp.broadcast_to(jnp.arange(z) <= 1, (b, g, z))
    alpha_sbz = _lattice(emit_bsz, clip_bs, skip_bgz, starts_bgz)
    in_lattice_bgz = jnp.arange(z) <= last_bg1
    ends_bgz = in_lattice_bgz & (jnp.arange(z) >= last_bg1 - 1)
    at_end_bgz = _last_of_clip(alpha_sbz, clip_bs, g)
    loss_bg = -jax.nn.logsumexp(jnp.where(ends_bgz, at_end_bgz, NEVER), axis=-1)

    skip_back_bgz = jnp.pad(skip_bgz[..., 2:], ((0, 0), (0, 0), (0, 2)))
    in_lattice_bsz = _of_clip(in_lattice_bgz, clip_bs)
    beta_sbz = _lattice(
        jnp.where(in_lattice_bsz, emit_bsz, NEVER)[:, ::-1, ::-1],
        clip_bs[:, ::-1],
        skip_back_bgz[..., ::-1],
        ends_bgz[..., ::-1],
    )[::-1, :, ::-1]
    loss_bs1 = _of_clip(loss_bg, clip_bs)[..., None]
    joint_bsz = jnp.swapaxes(alpha_sbz + beta_sbz, 0, 1) - emit_bsz + loss_bs1
    possible_bs1 = loss_bs1 < -0.5 * NEVER
    use_bsz = possible_bs1 & (clip_bs >= 0)[..., None] & in_lattice_bsz
    return loss_bg, jnp.where(use_bsz, jnp.exp(jnp.minimum(joint_bsz, 0.0)), 0.0)


def _last_of_clip(alpha_sbz, clip_bs, g: int):
    """The lattice after the last step of each clip, (b, g, z)."""
    if g == 1:  # nothing comes after the only clip
        return alpha_sbz[-1][:, None]
    s = jnp.arange(clip_bs.shape[1])[:, None]
    last_bg = jnp.max(jnp.where(clip_bs[..., None] == jnp.arange(g), s, 0), axis=1)
    return jnp.take_along_axis(jnp.swapaxes(alpha_sbz, 0, 1), last_bg[..., None], axis=1)


def _lattice(emit_bsz, clip_bs, skip_bgz, starts_bgz):
    """Log weight of all paths that are in state z after step s, (s, b, z).

    At the first step of a clip they begin anew, in the states that `starts_bgz` allows.
    """
    b, _, z = emit_bsz.shape
    # Before the first step the path waits in front of the lattice.
    first_bgz = jnp.where(starts_bgz, 0.0, NEVER)
    of_bsg = clip_bs[..., None] == jnp.arange(skip_bgz.shape[1])
    begins_bs = (of_bsg & (jnp.cumsum(of_bsg, axis=1) == 1)).any(axis=-1)

    def shift(x_bz, by):
        return jnp.pad(x_bz, ((0, 0), (by, 0)), constant_values=NEVER)[:, :z]

    def body(alpha_bz, step):
        emit_bz, clip_b, begins_b = step
        skip_bz = _of_clip(skip_bgz, clip_b[:, None])[:, 0]
        first_bz = _of_clip(first_bgz, clip_b[:, None])[:, 0]
        one_bz = shift(alpha_bz, 1)
        two_bz = jnp.where(skip_bz, shift(alpha_bz, 2), NEVER)
        top_bz = jnp.maximum(jnp.maximum(alpha_bz, one_bz), two_bz)
        total_bz = top_bz + jnp.log(
            jnp.exp(alpha_bz - top_bz) + jnp.exp(one_bz - top_bz) + jnp.exp(two_bz - top_bz)
        )
        new_bz = jnp.where(begins_b[:, None], first_bz, total_bz) + emit_bz
        new_bz = jnp.maximum(new_bz, NEVER)
        alpha_bz = jnp.where((clip_b >= 0)[:, None], new_bz, alpha_bz)
        return alpha_bz, alpha_bz

    steps = (jnp.swapaxes(emit_bsz, 0, 1), clip_bs.T, begins_bs.T)
    return jax.lax.scan(body, jnp.full((b, z), NEVER), steps)[1]


def greedy_stream(log_probs_bsv, hidden_bsd, clip_bs, seconds_per_step_bg, unread_s: float = 0.0):
    """The best path as a TokenStream: repeats collapsed, blanks dropped, each clip on its own. It
    has a place for every step, so that all tokens fit.

    A token lasts as long as its steps; its middle is the mean of its steps and of one step either
    side, weighted by its odds in each, so that times are finer than a step.

    Args:
      clip_bs: which clip of its row a step belongs to, -1 for none; in ascending order.
      seconds_per_step_bg: turns steps of each clip into seconds.
      unread_s: above 0, runs of blanks become tokens too, of about so many seconds: id v, the mean
        hidden vector of their steps, and as confidence how likely a step is no blank. Runs of less
        than half of it are dropped.
    """
    seconds_bg = jnp.asarray(seconds_per_step_bg, jnp.float32)
    id_bs, begins_bs, posterior_bs, weight_bs = _best_path(
        log_probs_bsv, clip_bs, seconds_bg, unread_s
    )
    place_bs = jnp.cumsum(begins_bs, axis=1) - 1
    # One-hot sums rather than scatters: static, and matrix products on an accelerator.
    at_bsn = (place_bs[..., None] == jnp.arange(clip_bs.shape[1])) & (id_bs != 0)[..., None]
    begins_bsn = at_bsn & begins_bs[..., None]
    n_steps_bn = at_bsn.sum(axis=1)
    ids_bn = jnp.where(begins_bsn, id_bs[..., None], 0).sum(axis=1)
    clip_bn = jnp.where(begins_bsn, clip_bs[..., None] + 1, 0).sum(axis=1) - 1
    first_bg = jnp.argmax(clip_bs[..., None] == jnp.arange(seconds_bg.shape[1]), axis=1)
    seconds_bn = _of_clip(seconds_bg, clip_bn)
    middle_bn = _middle(log_probs_bsv, clip_bs, ids_bn, clip_bn, at_bsn)
    weight_bsn = jnp.where(at_bsn, weight_bs[..., None], 0.0)
    weight_bn = weight_bsn.sum(axis=1)
    confidence_bn = jnp.where(at_bsn, posterior_bs[..., None], 0.0).sum(axis=1)
    mean_bsn = (weight_bsn / jnp.maximum(weight_bn, 1e-9)[:, None]).astype(hidden_bsd.dtype)
    mask_bn = clip_bn >= 0
    # A long token behind a short one can have its middle so early that it would begin before it.
    first_bn = _of_clip(first_bg, clip_bn)
    start_bn = jnp.maximum(middle_bn - n_steps_bn / 2, first_bn)
    start_bn = jax.lax.cummax(jnp.where(mask_bn, start_bn, 0.0), axis=1) - first_bn
    middle_bn = middle_bn - first_bn
    return TokenStream(
        ids_bn=ids_bn,
        hidden_bnd=jnp.einsum("bsn,bsd->bnd", mean_bsn, hidden_bsd),
        start_bn=start_bn * seconds_bn * mask_bn,
        end_bn=(middle_bn + n_steps_bn / 2) * seconds_bn * mask_bn,
        confidence_bn=confidence_bn / jnp.maximum(n_steps_bn, 1),
        clip_bn=clip_bn,
    )


def _best_path(log_probs_bsv, clip_bs, seconds_bg, unread_s: float):
    """The likeliest token of each step, 0 where it is part of none; whether it begins there; how
    sure it is, and how much the step's hidden vector counts."""
    id_bs = jnp.argmax(log_probs_bsv, axis=-1).astype(jnp.int32)
    id_bs = jnp.where(clip_bs >= 0, id_bs, 0)
    posterior_bs = jnp.exp(log_probs_bsv.max(axis=-1))
    same_bs = (id_bs == _delayed(id_bs, 0)) & (clip_bs == _delayed(clip_bs, -1))
    begins_bs = (id_bs != 0) & ~same_bs
    if not unread_s:
        return id_bs, begins_bs, posterior_bs, posterior_bs
    steps_bg = unread_s / jnp.maximum(seconds_bg, 1e-6)
    unread_bs, first_bs = _blank_runs(id_bs, clip_bs, _of_clip(steps_bg, clip_bs))
    weight_bs = jnp.where(unread_bs, 1.0, posterior_bs)
    posterior_bs = jnp.where(unread_bs, 1 - jnp.exp(log_probs_bsv[..., 0]), posterior_bs)
    id_bs = jnp.where(unread_bs, log_probs_bsv.shape[-1], id_bs)
    return id_bs, begins_bs | first_bs, posterior_bs, weight_bs


def _blank_runs(id_bs, clip_bs, steps_bs):
    """Runs of blanks in equal parts of about `steps_bs` steps: which steps are in one, and which
    begin one."""
    s = jnp.broadcast_to(jnp.arange(id_bs.shape[1]), id_bs.shape)
    blank_bs = (id_bs == 0) & (clip_bs >= 0)
    joins_bs = blank_bs & _delayed(blank_bs, False) & (clip_bs == _delayed(clip_bs, -1))
    first_bs = jax.lax.cummax(jnp.where(joins_bs, 0, s), axis=1)
    ends_bs = jnp.pad(~joins_bs[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    last_bs = jax.lax.cummin(jnp.where(ends_bs, s, s.shape[1]), axis=1, reverse=True)
    length_bs, place_bs = last_bs - first_bs + 1, s - first_bs
    parts_bs = jnp.round(length_bs / jnp.maximum(steps_bs, 1.0)).astype(jnp.int32)
    part_bs = place_bs * parts_bs // length_bs
    inside_bs = blank_bs & (parts_bs > 0)
    before_bs = jnp.where(place_bs > 0, (place_bs - 1) * parts_bs // length_bs, -1)
    return inside_bs, inside_bs & (part_bs != before_bs)


def _delayed(x_bs, first):
    return jnp.pad(x_bs, ((0, 0), (1, 0)), constant_values=first)[:, :-1]


def _middle(log_probs_bsv, clip_bs, ids_bn, clip_bn, at_bsn):
    """Where the middle of each token lies, in steps of its row; the middle of step s is s + 0.5.

    Posteriors are all but one in the two or three steps of a token; its odds still differ
    there. To the power of 0.3 they found the moments of synthetic letters best
    (docs/develop/decisions.md).
    """
    padded = jnp.pad(at_bsn, ((0, 0), (1, 1), (0, 0)))
    near_bsn = at_bsn | padded[:, 2:] | padded[:, :-2]
    near_bsn &= clip_bs[..., None] == clip_bn[:, None]
    v = log_probs_bsv.shape[-1]
    known_bn = jnp.minimum(ids_bn, v - 1)
    posterior_bsn = jnp.exp(jnp.take_along_axis(log_probs_bsv, known_bn[:, None], axis=2))
    odds_bsn = posterior_bsn / jnp.maximum(1.0 - posterior_bsn, 1e-6)
    weight_bsn = jnp.where(near_bsn, odds_bsn**0.3, 0.0)
    weight_bsn = jnp.where(ids_bn[:, None] < v, weight_bsn, at_bsn)  # an unread run has no odds
    total_bn = jnp.maximum(weight_bsn.sum(axis=1), 1e-9)
    return jnp.einsum("bsn,s->bn", weight_bsn, jnp.arange(at_bsn.shape[1]) + 0.5) / total_bn
