"""The loop that greedy decoding, sampling and beam search share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from signbind_jax.models.llm.language_model import LanguageModel


def is_eos(ids, eos):
    """Says of each of `ids` whether it is one of the ids that end a sentence."""
    return (ids[..., None] == eos).any(-1)


def search(
    model: LanguageModel, prefix_bpd, mask_bp, hypotheses: Any, advance: Callable, n_tokens: int
):
    """Reads the prefix, then chooses a token of every hypothesis in turn until no row is open.

    Keys and values stay where they were written; only `mask_bju` follows the hypotheses as they
    are re-ordered.

    Args:
      hypotheses: a dataclass, j of them a row, with token_bj (the newest tokens), mask_bju (the
        cache slots of their prefix and their own past) and open_b (whether a row goes on).
      advance: (hypotheses, t, logits_bjv) -> hypotheses with token t.
      n_tokens: the most tokens of one.
    """
    (b, p), j = mask_bp.shape, hypotheses.token_bj.shape[1]
    logits_bv, cache = model.prefill(prefix_bpd, mask_bp, p + j * (n_tokens - 1))
    n_prefix_b = mask_bp.sum(axis=1, dtype=jnp.int32)
    own_bjj = jnp.eye(j, dtype=bool)[None].repeat(b, axis=0)

    def unfinished(carry):
        t, hypotheses, _ = carry
        return (t < n_tokens) & hypotheses.open_b.any()

    def body(carry):
        t, hypotheses, cache = carry
        start = (0, 0, p + (t - 1) * j)
        mask_bju = jax.lax.dynamic_update_slice(hypotheses.mask_bju, own_bjj, start)
        position_bj = jnp.tile((n_prefix_b + t - 1)[:, None], (1, j))
        x_bjd = model.embed(hypotheses.token_bj)
        logits_bjv, cache = model.step(x_bjd, cache, position_bj, mask_bju)
        return t + 1, advance(replace(hypotheses, mask_bju=mask_bju), t, logits_bjv), cache

    logits_bjv = jnp.broadcast_to(logits_bv[:, None], (b, j, logits_bv.shape[-1]))
    first = (jnp.int32(1), advance(hypotheses, 0, logits_bjv), cache)
    return jax.lax.while_loop(unfinished, body, first)[1]


def without_repeats(logits_bjv, ids_bjl, t, n: int):
    """Puts -inf for the tokens at place t with which a hypothesis would have n tokens in a row for
    the second time.

    n: 0 leaves all as they are.
    """
    (b, j, length), w = ids_bjl.shape, ids_bjl.shape[-1] - n + 1
    if not n or w < 1:
        return logits_bjv
    start = jnp.maximum(t - n + 1, 0)
    newest_bjn = jax.lax.dynamic_slice(ids_bjl, (0, 0, start), (b, j, n - 1))
    again_bjw = jnp.broadcast_to(jnp.arange(n - 1, length) < t, (b, j, w))
    for i in range(n - 1):
        again_bjw &= ids_bjl[..., i : i + w] == newest_bjn[..., i : i + 1]
    rows, own = jnp.arange(b)[:, None, None], jnp.arange(j)[None, :, None]
    forbidden_bjv = jnp.zeros(logits_bjv.shape, bool)
    forbidden_bjv = forbidden_bjv.at[rows, own, ids_bjl[..., n - 1 :]].max(again_bjw)
    return jnp.where(forbidden_bjv, -jnp.inf, logits_bjv)


def prefix_slots(mask_bp, j: int, n_tokens: int):
    """Makes the mask_bju of hypotheses that have read their prefix alone."""
    mask_bu = jnp.pad(mask_bp, ((0, 0), (0, j * (n_tokens - 1))))
    return jnp.tile(mask_bu[:, None], (1, j, 1))
