"""Beam search over a cache that all beams of a row share."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from signbind_jax.generation.config import GenerationConfig
from signbind_jax.generation.search import is_eos, prefix_slots, search, without_repeats
from signbind_jax.models.llm.language_model import LanguageModel

# What a hypothesis that must not win scores; finite, as in transformers, so that dividing
# it by a length stays defined.
IMPOSSIBLE = -1e9


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Beams:
    """Running and finished hypotheses of each row, j of each; see `search`.

    Attributes:
      ids_bjl, log_p_bj: the running ones and their summed log-probabilities.
      token_bj, mask_bju: their newest tokens and the cache slots they see.
      done_ids_bjl, done_score_bj: the best finished ones, best first.
      open_b: False once no running beam is expected to improve on them.
    """

    ids_bjl: jax.Array
    log_p_bj: jax.Array
    token_bj: jax.Array
    mask_bju: jax.Array
    done_ids_bjl: jax.Array
    done_score_bj: jax.Array
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
    """Finds the best finished hypothesis of each row: (ids_bl, score_b)."""
    b, n, j = len(mask_bp), config.max_new_tokens, config.beam_size
    start = Beams(
        ids_bjl=jnp.full((b, j, n), pad_id),
        # The beams are equal at the start: all but one must not be chosen from.
        log_p_bj=jnp.tile(jnp.where(jnp.arange(j) == 0, 0.0, IMPOSSIBLE), (b, 1)),
        token_bj=jnp.zeros((b, j), jnp.int32),
        mask_bju=prefix_slots(mask_bp, j, n),
        done_ids_bjl=jnp.full((b, j, n), pad_id),
        done_score_bj=jnp.full((b, j), IMPOSSIBLE),
        open_b=mask_bp.any(axis=1),
    )
    advance = partial(_advance, eos=eos, length_penalty=length_penalty, config=config)
    beams = search(model, prefix_bpd, mask_bp, start, advance, n)
    return beams.done_ids_bjl[:, 0], jnp.where(start.open_b, beams.done_score_bj[:, 0], 0.0)


def _advance(
    beams: Beams, t, logits_bjv, *, eos, length_penalty, config: GenerationConfig
) -> Beams:
    """Chooses token t of every row: which beams run on and which are finished."""
    b, j, v = logits_bjv.shape
    n = beams.ids_bjl.shape[-1]
    # Enough candidates a that j of them run on even if every beam could end in every way.
    n_candidates = max(2, 1 + eos.size) * j
    # They are among each beam's own o best tokens: only these need log-probabilities.
    own = min(n_candidates, v)
    allowed_bjv = without_repeats(logits_bjv, beams.ids_bjl, t, config.no_repeat_ngram_size)
    logits_bjo, token_bjo = jax.lax.top_k(allowed_bjv, own)
    log_p_bjo = logits_bjo - jax.nn.logsumexp(logits_bjv, axis=-1, keepdims=True)
    log_p_bjo = log_p_bjo + beams.log_p_bj[..., None]
    log_p_ba, flat_ba = jax.lax.top_k(log_p_bjo.reshape(b, j * own), n_candidates)
    parent_ba = flat_ba // own
    token_ba = jnp.take_along_axis(token_bjo.reshape(b, j * own), flat_ba, axis=1)
    ids_bal = jnp.take_along_axis(beams.ids_bjl, parent_ba[..., None], axis=1)
    ids_bal = jax.lax.dynamic_update_slice(ids_bal, token_ba[..., None], (0, 0, t))
    ended_ba = is_eos(token_ba, eos) | (t + 1 == n)

    may_finish_ba = ended_ba & (jnp.arange(n_candidates) < j) & beams.open_b[:, None]
    score_ba = jnp.where(may_finish_ba, log_p_ba / (t + 1.0) ** length_penalty, IMPOSSIBLE)
    done_score_bj, best_bj = jax.lax.top_k(
        jnp.concatenate([beams.done_score_bj, score_ba], axis=1), j
    )
    done_ids_bjl = jnp.take_along_axis(
        jnp.concatenate([beams.done_ids_bjl, ids_bal], axis=1), best_bj[..., None], axis=1
    )

    log_p_bj, keep_bj = jax.lax.top_k(log_p_ba + jnp.where(ended_ba, IMPOSSIBLE, 0.0), j)
    parent_bj = jnp.take_along_axis(parent_ba, keep_bj, axis=1)
    length = t + 1.0
    if config.early_stopping == "never":
        # The sum only falls, so that over the greatest length it is the best that can come.
        length = jnp.where(length_penalty > 0, n, length)
    open_b = beams.open_b & (log_p_bj[:, 0] / length**length_penalty > done_score_bj[:, -1])
    if config.early_stopping is True:
        open_b &= ~(done_score_bj > IMPOSSIBLE).all(axis=1)
    return Beams(
        ids_bjl=jnp.take_along_axis(ids_bal, keep_bj[..., None], axis=1),
        log_p_bj=log_p_bj,
        token_bj=jnp.take_along_axis(token_ba, keep_bj, axis=1),
        mask_bju=jnp.take_along_axis(beams.mask_bju, parent_bj[..., None], axis=1),
        done_ids_bjl=done_ids_bjl,
        done_score_bj=done_score_bj,
        open_b=open_b,
    )
