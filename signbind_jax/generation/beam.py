"""Beam search over a cache that all beams of a row share."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp

from signbind_jax.generation.config import GenerationConfig
from signbind_jax.generation.endings import is_eos
from signbind_jax.models.llm.language_model import LanguageModel

# What a hypothesis that must not win scores; finite, as in transformers, so that dividing
# it by a length stays defined.
IMPOSSIBLE = -1e9


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Beams:
    """Running and finished hypotheses of each row, k of each.

    Attributes:
      ids_bkn, log_p_bk: the running ones and their summed log-probabilities.
      token_bk: their newest tokens.
      see_bks: the cache slots that hold their prefix and their own past. Keys and values
        stay where they were written; only this table follows the beams as they are re-ordered.
      done_ids_bkn, done_score_bk: the best finished ones, best first.
      open_b: False once no running beam is expected to improve on them.
    """

    ids_bkn: jax.Array
    log_p_bk: jax.Array
    token_bk: jax.Array
    see_bks: jax.Array
    done_ids_bkn: jax.Array
    done_score_bk: jax.Array
    open_b: jax.Array


def beam_search(
    model: LanguageModel,
    prefix_bpd,
    mask_bp,
    eos,
    pad_id,
    length_penalty,
    *,
    config: GenerationConfig,
):
    """The best finished hypothesis of each row: (ids_bn, score_b)."""
    (b, p), n, k = mask_bp.shape, config.max_new_tokens, config.beam_size
    capacity = p + k * (n - 1)
    logits_bv, cache = model.prefill(prefix_bpd, mask_bp, capacity)
    n_real_b = mask_bp.sum(axis=1, dtype=jnp.int32)
    see_bs = jnp.pad(mask_bp, ((0, 0), (0, capacity - p)))
    beams = Beams(
        ids_bkn=jnp.full((b, k, n), pad_id),
        # The beams are equal at the start: all but one must not be chosen from.
        log_p_bk=jnp.tile(jnp.where(jnp.arange(k) == 0, 0.0, IMPOSSIBLE), (b, 1)),
        token_bk=jnp.zeros((b, k), jnp.int32),
        see_bks=jnp.tile(see_bs[:, None], (1, k, 1)),
        done_ids_bkn=jnp.full((b, k, n), pad_id),
        done_score_bk=jnp.full((b, k), IMPOSSIBLE),
        open_b=n_real_b > 0,
    )
    advance = partial(
        _advance, eos=eos, length_penalty=length_penalty, early_stopping=config.early_stopping
    )

    def unfinished(carry):
        t, beams, _ = carry
        return (t < n) & beams.open_b.any()

    def body(carry):
        t, beams, cache = carry
        own_kk = jnp.eye(k, dtype=bool)[None].repeat(b, axis=0)
        see_bks = jax.lax.dynamic_update_slice(beams.see_bks, own_kk, (0, 0, p + (t - 1) * k))
        position_bk = jnp.tile((n_real_b + t - 1)[:, None], (1, k))
        logits_bkv, cache = model.step(model.embed(beams.token_bk), cache, position_bk, see_bks)
        return t + 1, advance(replace(beams, see_bks=see_bks), t, logits_bkv), cache

    logits_bkv = jnp.broadcast_to(logits_bv[:, None], (b, k, logits_bv.shape[-1]))
    first = (jnp.int32(1), advance(beams, 0, logits_bkv), cache)
    _, beams, _ = jax.lax.while_loop(unfinished, body, first)
    score_b = jnp.where(n_real_b > 0, beams.done_score_bk[:, 0], 0.0)
    return beams.done_ids_bkn[:, 0], score_b


def _advance(beams: Beams, t, logits_bkv, *, eos, length_penalty, early_stopping) -> Beams:
    """Chooses token t of every row: which beams run on and which are finished."""
    b, k, v = logits_bkv.shape
    n = beams.ids_bkn.shape[-1]
    # Enough candidates c that k of them run on even if every beam could end in every way.
    n_candidates = max(2, 1 + eos.size) * k
    # They are among each beam's own best: only these need log-probabilities.
    own = min(n_candidates, v)
    logits_bko, token_bko = jax.lax.top_k(logits_bkv, own)
    log_p_bko = logits_bko - jax.nn.logsumexp(logits_bkv, axis=-1, keepdims=True)
    log_p_bko = log_p_bko + beams.log_p_bk[..., None]
    log_p_bc, flat_bc = jax.lax.top_k(log_p_bko.reshape(b, k * own), n_candidates)
    parent_bc = flat_bc // own
    token_bc = jnp.take_along_axis(token_bko.reshape(b, k * own), flat_bc, axis=1)
    ids_bcn = jnp.take_along_axis(beams.ids_bkn, parent_bc[..., None], axis=1)
    ids_bcn = jax.lax.dynamic_update_slice(ids_bcn, token_bc[..., None], (0, 0, t))
    ended_bc = is_eos(token_bc, eos) | (t + 1 == n)

    may_finish_bc = ended_bc & (jnp.arange(n_candidates) < k) & beams.open_b[:, None]
    score_bc = jnp.where(may_finish_bc, log_p_bc / (t + 1.0) ** length_penalty, IMPOSSIBLE)
    done_score_bk, best_bk = jax.lax.top_k(
        jnp.concatenate([beams.done_score_bk, score_bc], axis=1), k
    )
    done_ids_bkn = jnp.take_along_axis(
        jnp.concatenate([beams.done_ids_bkn, ids_bcn], axis=1), best_bk[..., None], axis=1
    )

    log_p_bk, keep_bk = jax.lax.top_k(log_p_bc + jnp.where(ended_bc, IMPOSSIBLE, 0.0), k)
    parent_bk = jnp.take_along_axis(parent_bc, keep_bk, axis=1)
    length = t + 1.0
    if early_stopping == "never":
        # The sum only falls, so that over the greatest length it is the best that can come.
        length = jnp.where(length_penalty > 0, n, length)
    open_b = beams.open_b & (log_p_bk[:, 0] / length**length_penalty > done_score_bk[:, -1])
    if early_stopping is True:
        open_b &= ~(done_score_bk > IMPOSSIBLE).all(axis=1)
    return Beams(
        ids_bkn=jnp.take_along_axis(ids_bcn, keep_bk[..., None], axis=1),
        log_p_bk=log_p_bk,
        token_bk=jnp.take_along_axis(token_bc, keep_bk, axis=1),
        see_bks=jnp.take_along_axis(beams.see_bks, parent_bk[..., None], axis=1),
        done_ids_bkn=done_ids_bkn,
        done_score_bk=done_score_bk,
        open_b=open_b,
    )
