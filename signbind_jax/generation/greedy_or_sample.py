"""Decoding with one hypothesis a row, whose tokens are the most probable ones or drawn."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from signbind_jax.generation.config import GenerationConfig
from signbind_jax.generation.sampling import draw, warp
from signbind_jax.generation.search import is_eos, prefix_slots, search, without_repeats
from signbind_jax.models.llm.language_model import LanguageModel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Running:
    """The running hypotheses: what is chosen, how long it is, what it scores; see `search`."""

    ids_bl: jax.Array
    token_bj: jax.Array
    mask_bju: jax.Array
    length_b: jax.Array
    log_p_b: jax.Array
    open_b: jax.Array


def greedy_or_sample(
    model: LanguageModel,
    prefix_bpd,
    mask_bp,
    eos,
    pad_id,
    length_penalty,
    *,
    config: GenerationConfig,
    key_b=None,
):
    """Decodes greedily, or samples with one key a row: (ids_bl, score_b)."""
    b, n = len(mask_bp), config.max_new_tokens

    def choose(r: Running, t, logits_bjv) -> Running:
        logits_bv = logits_bjv[:, 0]
        ids_bjl, repeats = r.ids_bl[:, None], config.no_repeat_ngram_size
        allowed_bv = without_repeats(logits_bjv, ids_bjl, t, repeats)[:, 0]
        if not config.do_sample:
            token_b = jnp.argmax(allowed_bv, axis=-1).astype(jnp.int32)
            chosen_b = allowed_bv.max(axis=-1)
        else:
            token_b = draw(key_b, t, warp(allowed_bv, config))
            chosen_b = jnp.take_along_axis(logits_bv, token_b[:, None], axis=-1)[:, 0]
        token_b = jnp.where(r.open_b, token_b, pad_id)
        # One token's log-probability needs no log-softmax over the vocabulary.
        log_p_b = chosen_b - jax.nn.logsumexp(logits_bv, axis=-1)
        return Running(
            ids_bl=jax.lax.dynamic_update_slice(r.ids_bl, token_b[:, None], (0, t)),
            token_bj=token_b[:, None],
            mask_bju=r.mask_bju,
            length_b=r.length_b + r.open_b,
            log_p_b=r.log_p_b + jnp.where(r.open_b, log_p_b, 0.0),
            open_b=r.open_b & ~is_eos(token_b, eos),
        )

    start = Running(
        ids_bl=jnp.full((b, n), pad_id),
        token_bj=jnp.zeros((b, 1), jnp.int32),
        mask_bju=prefix_slots(mask_bp, 1, n),
        length_b=jnp.zeros(b, jnp.int32),
        log_p_b=jnp.zeros(b),
        open_b=mask_bp.any(axis=1),
    )
    r = search(model, prefix_bpd, mask_bp, start, choose, n)
    return r.ids_bl, r.log_p_b / jnp.maximum(r.length_b, 1) ** length_penalty
