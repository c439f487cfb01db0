"""Decoding with one hypothesis a row, whose tokens are the most probable ones or drawn."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from signbind_jax.generation.config import GenerationConfig
from signbind_jax.generation.endings import is_eos
from signbind_jax.generation.sampling import draw, warp
from signbind_jax.models.llm.language_model import LanguageModel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Running:
    """The running hypotheses: what is chosen, how long it is, what it scores."""

    ids_bn: jax.Array
    token_b: jax.Array
    length_b: jax.Array
    log_p_b: jax.Array
    ended_b: jax.Array


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
    """Greedy decoding, or sampling with one key a row: (ids_bn, score_b)."""
    (b, p), n = mask_bp.shape, config.max_new_tokens
    logits_bv, cache = model.prefill(prefix_bpd, mask_bp, p + n - 1)
    n_real_b = mask_bp.sum(axis=1, dtype=jnp.int32)
    see_prefix_bs = jnp.pad(mask_bp, ((0, 0), (0, n - 1)))
    slot_s = jnp.arange(p + n - 1)

    def choose(r: Running, t, logits_bv) -> Running:
        if not config.do_sample:
            token_b = jnp.argmax(logits_bv, axis=-1).astype(jnp.int32)
            chosen_b = logits_bv.max(axis=-1)
        else:
            token_b = draw(key_b, t, warp(logits_bv, config))
            chosen_b = jnp.take_along_axis(logits_bv, token_b[:, None], axis=-1)[:, 0]
        token_b = jnp.where(r.ended_b, pad_id, token_b)
        # One token's log-probability needs no log-softmax over the vocabulary.
        log_p_b = chosen_b - jax.nn.logsumexp(logits_bv, axis=-1)
        return Running(
            ids_bn=jax.lax.dynamic_update_slice(r.ids_bn, token_b[:, None], (0, t)),
            token_b=token_b,
            length_b=r.length_b + ~r.ended_b,
            log_p_b=r.log_p_b + jnp.where(r.ended_b, 0.0, log_p_b),
            ended_b=r.ended_b | is_eos(token_b, eos),
        )

    def unfinished(carry):
        t, r, _ = carry
        return (t < n) & ~r.ended_b.all()

    def body(carry):
        t, r, cache = carry
        see_bs = see_prefix_bs | ((slot_s >= p) & (slot_s < p + t))
        x_b1d, position_b1 = model.embed(r.token_b[:, None]), (n_real_b + t - 1)[:, None]
        logits_b1v, cache = model.step(x_b1d, cache, position_b1, see_bs[:, None])
        return t + 1, choose(r, t, logits_b1v[:, 0]), cache

    r = Running(
        jnp.full((b, n), pad_id),
        jnp.zeros(b, jnp.int32),
        jnp.zeros(b, jnp.int32),
        jnp.zeros(b),
        ended_b=n_real_b == 0,
    )
    _, r, _ = jax.lax.while_loop(unfinished, body, (jnp.int32(1), choose(r, 0, logits_bv), cache))
    return r.ids_bn, r.log_p_b / jnp.maximum(r.length_b, 1) ** length_penalty
