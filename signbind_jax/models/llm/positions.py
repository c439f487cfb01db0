"""Positions of tokens, what each of them sees, and the angles they are turned by."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from signbind_jax.models.llm.config import DecoderConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AttentionInputs:
    """What attention of a layer needs to know beside queries, keys and values.

    Attributes:
      cos_bqe, sin_bqe: rotary angles of the queries and of the new keys.
      mask_bqu: bool, which keys each query sees.
    """

    cos_bqe: jax.Array
    sin_bqe: jax.Array
    mask_bqu: jax.Array


def attention_inputs(
    config: DecoderConfig, position_bq, position_bu, mask_bqu
) -> list[AttentionInputs]:
    """Makes the inputs of each of the config's `layer_kinds`.

    position_bq, position_bu: of the queries and of the keys; mask_bqu: which keys a query may see
    where the layer itself hides none.
    """
    inputs = []
    for local, unrotated in config.layer_kinds:
        seen_bqu = mask_bqu
        if local:
            back_bqu = position_bq[:, :, None] - position_bu[:, None, :]
            seen_bqu = seen_bqu & (back_bqu < config.sliding_window)
        angle_bqe = position_bq[..., None].astype(jnp.float32)
        angle_bqe = angle_bqe * rotary_frequencies(config, local)
        if unrotated:
            angle_bqe = jnp.zeros_like(angle_bqe)
        inputs.append(AttentionInputs(jnp.cos(angle_bqe), jnp.sin(angle_bqe), seen_bqu))
    return inputs


def pick(inputs_of_kinds: list[AttentionInputs], kind) -> AttentionInputs:
    """Selects those of a layer whose kind is known only inside the scan."""
    if len(inputs_of_kinds) == 1:
        return inputs_of_kinds[0]
    return jax.tree.map(lambda *x: jax.lax.select_n(kind, *x), *inputs_of_kinds)


def rotary_frequencies(config: DecoderConfig, local: bool):
    """Gives the angular frequency_e of each rotated pair, float32, e = head_size / 2.

    Llama 3's scaling is that of its reference implementation (Dubey et al., 2024).
    """
    half = config.head_size // 2
    base = (local and config.local_rope_base) or config.rope_base
    frequency_e = base ** (-np.arange(half, dtype=np.float64) / half)
    if local and config.local_rope_base:
        return jnp.asarray(frequency_e, jnp.float32)
    if config.rope_llama3:
        factor, low, high, original = config.rope_llama3
        turns_e = original * frequency_e / (2 * np.pi)  # turns within the original length
        smooth_e = np.clip((turns_e - low) / (high - low), 0.0, 1.0)
        frequency_e = (1 - smooth_e) * frequency_e / factor + smooth_e * frequency_e
    return jnp.asarray(frequency_e / config.rope_divisor, jnp.float32)


def positions(mask_bl):
    """Counts the tokens before each one: int32 position_bl; mask_bl is False at padding."""
    return jnp.maximum(jnp.cumsum(mask_bl.astype(jnp.int32), axis=1) - 1, 0)


def causal(mask_bl):
    """Lets each position see the tokens up to and including its own: mask_bqu."""
    size = mask_bl.shape[1]
    return jnp.tril(jnp.ones((size, size), bool)) & mask_bl[:, None, :].astype(bool)
