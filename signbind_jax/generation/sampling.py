"""What a token may be drawn from, and the draw."""

import jax
import jax.numpy as jnp

from signbind_jax.errors import SignBindError
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.models import random_bits


def warp(logits_bv, config: GenerationConfig):
    """Puts -inf for what may not be drawn, in the order of `transformers`.

    Where several tokens are as probable as the last one that stays, all of them stay.
    """
    logits_bv = logits_bv / config.temperature
    n = logits_bv.shape[-1]
    k = min(config.top_k or n, n)
    if k == n and config.top_p == 1.0:
        return logits_bv
    best_ba = jax.lax.top_k(logits_bv, k)[0]
    if config.top_p < 1.0:
        p_ba = jax.nn.softmax(best_ba)
        # A token stays if those before it have not reached top_p yet.
        stays_ba = (jnp.cumsum(p_ba, axis=-1) - p_ba < config.top_p).at[:, 0].set(True)
        best_ba = jnp.where(stays_ba, best_ba, jnp.inf)
    return jnp.where(logits_bv >= best_ba.min(axis=-1, keepdims=True), logits_bv, -jnp.inf)


def draw(key_b, t, logits_bv):
    """Draws int32 token_b with the probabilities softmax(logits_bv).

    The draw depends on the row's own key and on t alone (Gumbel-max; the noise is the integer
    hash that dropout uses, for the same reasons).
    """
    shape = logits_bv.shape[1:]
    bits_bv = jax.vmap(lambda key: random_bits.bits(jax.random.fold_in(key, t), shape))(key_b)
    uniform_bv = ((bits_bv >> 8).astype(jnp.float32) + 0.5) / 2.0**24  # never 0 or 1
    gumbel_bv = -jnp.log(-jnp.log(uniform_bv))
    return jnp.argmax(logits_bv + gumbel_bv, axis=-1).astype(jnp.int32)


def row_keys(key, b: int):
    """Gives one key a row: those given, or one folded from a single key for each.

    Raises:
      SignBindError: neither one key nor b.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if key.shape == ():
        return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(b))
    if key.shape != (b,):
        raise SignBindError(
            f"generation: key: found shape {key.shape}, wanted one key or one for "
            f"each of the {b} rows"
        )
    return key
