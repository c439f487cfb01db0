"""Where tokens stand: positions, what each of them sees, and the angles they are turned by."""

import jax.numpy as jnp
import numpy as np

from signbind_jax.models.llm.config import DecoderConfig


def rotary_frequencies(config: DecoderConfig, local: bool):
    """Angular frequency_e of each rotated pair, float32, e = head_size / 2.

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
    """int32 position_bl: how many real places stand before each place."""
    return jnp.maximum(jnp.cumsum(mask_bl.astype(jnp.int32), axis=1) - 1, 0)


def causal(mask_bl):
    """mask_bts: place t sees the real places s up to and including its own."""
    size = mask_bl.shape[1]
    return jnp.tril(jnp.ones((size, size), bool)) & mask_bl[:, None, :].astype(bool)
