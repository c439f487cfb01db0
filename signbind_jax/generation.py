"""Sentences from a soft prefix: greedy decoding and beam search with a KV cache."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.errors import SignBindError

# What a hypothesis that must not win scores; finite, as in transformers, so that dividing
# it by a length stays defined.
IMPOSSIBLE = -1e9


def generate(decoder, prefix_bpd, prefix_mask_bp, *, max_new_tokens: int,
             eos_id: int | Sequence[int], pad_id: int, beam_size: int = 1,
             length_penalty: float = 1.0):  # fmt: skip
    """The best continuation of each prefix, as one compiled call.

    Beam search follows `transformers` with `early_stopping=False`: of the 2 x beam_size best
    continuations only the first beam_size may finish, and a row is closed for good once its
    best running beam scores no more than its worst finished one.

    Args:
      decoder: a `signbind_jax.models.llm.decoder.Decoder`.
      prefix_bpd: embeddings, in any order of soft prefix, prompt and beginning-of-sentence.
      prefix_mask_bp: bool, True at real places, which may stand anywhere. A row without any
        is a filler of the batch: it gives padding and score 0, and delays nobody.
      max_new_tokens: n, the number of tokens after which a sentence ends in any case.
      eos_id: one id that ends a sentence, or several.
      pad_id: what follows it.
      beam_size: beams a row; 1 is greedy decoding.
      length_penalty: a score is the sum of log-probabilities / tokens ** length_penalty.

    Returns:
      (ids_bn int32, score_b float32). The ending id is part of ids and of the score.

    Raises:
      SignBindError: a size below 1, or more beams than the vocabulary can keep apart.
    """
    eos = jnp.atleast_1d(jnp.asarray(eos_id, jnp.int32))
    vocabulary = decoder.config.vocab_size
    for name, value in (("max_new_tokens", max_new_tokens), ("beam_size", beam_size)):
        if value < 1:
            raise SignBindError(f"generation: {name}: found {value}, wanted at least 1")
    if beam_size > 1 and vocabulary < 1 + eos.size:
        raise SignBindError(f"generation: beam_size: found {beam_size} beams over {vocabulary} "
                            f"tokens, wanted more tokens than eos_id has ({eos.size})")  # fmt: skip
    graphdef, state = nnx.split(decoder)
    return _generate(graphdef, state, prefix_bpd, prefix_mask_bp.astype(bool), eos,
                     jnp.int32(pad_id), jnp.float32(length_penalty),
                     n=max_new_tokens, beam_size=beam_size)  # fmt: skip


@partial(jax.jit, static_argnames=("graphdef", "n", "beam_size"))
def _generate(graphdef, state, prefix_bpd, mask_bp, eos, pad_id, length_penalty, *, n, beam_size):
    decoder = nnx.merge(graphdef, state)
    search = _greedy if beam_size == 1 else partial(_beam_search, beam_size=beam_size)
    return search(decoder, prefix_bpd, mask_bp, eos, pad_id, length_penalty, n=n)


def _is_eos(ids, eos):
    return (ids[..., None] == eos).any(-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Greedy:
    """The running hypotheses: what is chosen, how long it is, what it scores."""

    ids_bn: jax.Array
    token_b: jax.Array
    length_b: jax.Array
    log_p_b: jax.Array
    ended_b: jax.Array


def _greedy(decoder, prefix_bpd, mask_bp, eos, pad_id, length_penalty, *, n):
    b, p = mask_bp.shape
    logits_bv, cache = decoder.prefill(prefix_bpd, mask_bp, p + n - 1)
    n_real_b = mask_bp.sum(axis=1, dtype=jnp.int32)
    see_prefix_bs = jnp.pad(mask_bp, ((0, 0), (0, n - 1)))
    slot_s = jnp.arange(p + n - 1)

    def choose(g: Greedy, t, logits_bv) -> Greedy:
        token_b = jnp.where(g.ended_b, pad_id, jnp.argmax(logits_bv, axis=-1).astype(jnp.int32))
        # The most probable token's log-probability needs no log-softmax over the vocabulary.
        log_p_b = logits_bv.max(axis=-1) - jax.nn.logsumexp(logits_bv, axis=-1)
        return Greedy(
            ids_bn=jax.lax.dynamic_update_slice(g.ids_bn, token_b[:, None], (0, t)),
            token_b=token_b,
            length_b=g.length_b + ~g.ended_b,
            log_p_b=g.log_p_b + jnp.where(g.ended_b, 0.0, log_p_b),
            ended_b=g.ended_b | _is_eos(token_b, eos),
        )

    def unfinished(carry):
        t, g, _ = carry
        return (t < n) & ~g.ended_b.all()

    def body(carry):
        t, g, cache = carry
        see_bs = see_prefix_bs | ((slot_s >= p) & (slot_s < p + t))
        logits_b1v, cache = decoder.step(decoder.embed(g.token_b[:, None]), cache,
                                         (n_real_b + t - 1)[:, None], see_bs[:, None])  # fmt: skip
        return t + 1, choose(g, t, logits_b1v[:, 0]), cache

    g = Greedy(jnp.full((b, n), pad_id), jnp.zeros(b, jnp.int32), jnp.zeros(b, jnp.int32),
               jnp.zeros(b), ended_b=n_real_b == 0)  # fmt: skip
    _, g, _ = jax.lax.while_loop(unfinished, body, (jnp.int32(1), choose(g, 0, logits_bv), cache))
    return g.ids_bn, g.log_p_b / jnp.maximum(g.length_b, 1) ** length_penalty


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


def _beam_search(decoder, prefix_bpd, mask_bp, eos, pad_id, length_penalty, *, n, beam_size):
    b, p = mask_bp.shape
    k = beam_size
    capacity = p + k * (n - 1)
    logits_bv, cache = decoder.prefill(prefix_bpd, mask_bp, capacity)
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
    advance = partial(_advance, eos=eos, length_penalty=length_penalty)

    def unfinished(carry):
        t, beams, _ = carry
        return (t < n) & beams.open_b.any()

    def body(carry):
        t, beams, cache = carry
        own_kk = jnp.eye(k, dtype=bool)[None].repeat(b, axis=0)
        see_bks = jax.lax.dynamic_update_slice(beams.see_bks, own_kk, (0, 0, p + (t - 1) * k))
        position_bk = jnp.tile((n_real_b + t - 1)[:, None], (1, k))
        logits_bkv, cache = decoder.step(decoder.embed(beams.token_bk), cache, position_bk, see_bks)
        return t + 1, advance(replace(beams, see_bks=see_bks), t, logits_bkv), cache

    logits_bkv = jnp.broadcast_to(logits_bv[:, None], (b, k, logits_bv.shape[-1]))
    first = (jnp.int32(1), advance(beams, 0, logits_bkv), cache)
    _, beams, _ = jax.lax.while_loop(unfinished, body, first)
    score_b = jnp.where(n_real_b > 0, beams.done_score_bk[:, 0], 0.0)
    return beams.done_ids_bkn[:, 0], score_b


def _advance(beams: Beams, t, logits_bkv, *, eos, length_penalty) -> Beams:
    """Chooses token t of every row: which beams run on and which are finished."""
    b, k, v = logits_bkv.shape
    n = beams.ids_bkn.shape[-1]
    log_p_bkv = beams.log_p_bk[..., None] + jax.nn.log_softmax(logits_bkv)
    # Enough candidates c that k of them run on even if every beam could end in every way.
    n_candidates = max(2, 1 + eos.size) * k
    log_p_bc, flat_bc = jax.lax.top_k(log_p_bkv.reshape(b, k * v), n_candidates)
    parent_bc, token_bc = flat_bc // v, flat_bc % v
    ids_bcn = jnp.take_along_axis(beams.ids_bkn, parent_bc[..., None], axis=1)
    ids_bcn = jax.lax.dynamic_update_slice(ids_bcn, token_bc[..., None], (0, 0, t))
    ended_bc = _is_eos(token_bc, eos) | (t + 1 == n)

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
    # Both sides are divided by the current length: a longer future is not speculated about.
    hope_b = log_p_bk[:, 0] / (t + 1.0) ** length_penalty
    return Beams(
        ids_bkn=jnp.take_along_axis(ids_bcn, keep_bk[..., None], axis=1),
        log_p_bk=log_p_bk,
        token_bk=jnp.take_along_axis(token_bc, keep_bk, axis=1),
        see_bks=jnp.take_along_axis(beams.see_bks, parent_bk[..., None], axis=1),
        done_ids_bkn=done_ids_bkn,
        done_score_bk=done_score_bk,
        open_b=beams.open_b & (hope_b > done_score_bk[:, -1]),
    )
