"""A decoder small enough for tests, filled by NumPy: compiling JAX's random initial values
takes longer than anything the tests do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=9, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, head_size=6, d_mlp=24
)


def tiny_decoder(seed: int = 0, scale: float = 0.3, **changes) -> Decoder:
    """Normal weights of standard deviation `scale`, norms near 1; `changes` to CONFIG."""
    config = dataclasses.replace(CONFIG, **changes)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    random = np.random.default_rng(seed)

    def fill(path, leaf):
        noise = scale * random.normal(size=leaf.shape)
        is_norm = any("norm" in str(key) for key in path)
        return jnp.asarray(noise + is_norm, jnp.float32)

    return nnx.merge(graphdef, jax.tree.map_with_path(fill, state))
