"""One layer of the decoder, and the dropout keys it takes."""

from typing import NamedTuple

import jax
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.llm.attention import attention
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.positions import AttentionInputs


class DropoutKeys(NamedTuple):
    """Dropout keys of one block: of its residual branches and of its adapters."""

    attention_branch: jax.Array | None = None
    mlp_branch: jax.Array | None = None
    q: jax.Array | None = None
    k: jax.Array | None = None
    v: jax.Array | None = None
    o: jax.Array | None = None
    gate: jax.Array | None = None
    up: jax.Array | None = None
    down: jax.Array | None = None

    @classmethod
    def split(cls, key) -> "DropoutKeys":
        """Makes a key for each, or none for any where `key` is None."""
        if key is None:
            return NO_DROPOUT
        of_adapters = jax.random.split(jax.random.fold_in(key, 2), len(cls._fields) - 2)
        return cls(*jax.random.split(key), *of_adapters)


NO_DROPOUT = DropoutKeys()


class Block(nnx.Module):
    """One pre-norm layer: grouped-query attention, then a gated feed-forward layer."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        d, e, d_mlp = config.d_model, config.head_size, config.d_mlp
        h, kv = config.n_heads, config.n_kv_heads
        # Branch outputs start smaller the deeper the stack, so that the residual stream
        # keeps its scale (GPT-2's rule).
        depth = 2 * config.n_layers

        def norm(size=d, dim="model"):
            return layers.RMSNorm(
                size, rngs=rngs, eps=config.norm_eps, dim=dim, plus_one=config.norm_plus_one
            )

        def linear(in_shape, out_shape, in_dims, out_dims, bias, init=None):
            return layers.Linear(
                in_shape, out_shape, in_dims, out_dims, rngs=rngs, bias=bias, init=init
            )

        heads, kv_heads = ("heads", "head_size"), ("kv_heads", "head_size")
        self.config = config
        self.attention_norm = norm()
        self.q = linear((d,), (h, e), ("model",), heads, config.qkv_bias)
        self.k = linear((d,), (kv, e), ("model",), kv_heads, config.qkv_bias)
        self.v = linear((d,), (kv, e), ("model",), kv_heads, config.qkv_bias)
        self.o = linear(
            (h, e), (d,), heads, ("model",), config.o_bias, layers.fan_in_init(h * e * depth)
        )
        self.mlp_norm = norm()
        self.gate = linear((d,), (d_mlp,), ("model",), ("mlp",), config.mlp_bias)
        self.up = linear((d,), (d_mlp,), ("model",), ("mlp",), config.mlp_bias)
        self.down = linear(
            (d_mlp,), (d,), ("mlp",), ("model",), config.mlp_bias, layers.fan_in_init(d_mlp * depth)
        )
        if config.qk_norm:
            self.q_norm, self.k_norm = norm(e, "head_size"), norm(e, "head_size")
        if config.post_norms:
            self.attention_post_norm, self.mlp_post_norm = norm(), norm()

    def project(self, x_bqd, inputs: AttentionInputs, keys=NO_DROPOUT):
        """Makes rotated, scaled queries q_bqhe, rotated keys k_bhqe and values v_bhqe."""
        config = self.config
        x_bqd = self.attention_norm(x_bqd)
        q_bqhe, k_bqhe = self.q(x_bqd, keys.q), self.k(x_bqd, keys.k)
        if config.qk_norm:
            q_bqhe, k_bqhe = self.q_norm(q_bqhe), self.k_norm(k_bqhe)
        q_bqhe = layers.apply_rotation(q_bqhe, inputs.cos_bqe, inputs.sin_bqe)
        k_bqhe = layers.apply_rotation(k_bqhe, inputs.cos_bqe, inputs.sin_bqe)
        q_bqhe = q_bqhe * (config.query_scale or config.head_size**-0.5)
        return q_bqhe, k_bqhe.swapaxes(1, 2), self.v(x_bqd, keys.v).swapaxes(1, 2)

    def attend(self, q_bqhe, k_bhue, v_bhue, inputs: AttentionInputs):
        """Gathers the values that the queries see."""
        return attention(q_bqhe, k_bhue, v_bhue, inputs.mask_bqu, self.config.attention_cap)

    def finish(self, x_bqd, attended_bqhe, keys=NO_DROPOUT):
        """Does the rest of the block, once attention has been computed."""
        config = self.config
        branch_bqd = self.o(attended_bqhe, keys.o)
        if config.post_norms:
            branch_bqd = self.attention_post_norm(branch_bqd)
        x_bqd = x_bqd + layers.dropout(branch_bqd, config.dropout, keys.attention_branch)
        inner_bqd = self.mlp_norm(x_bqd)
        activation = jax.nn.silu if config.activation == "silu" else jax.nn.gelu
        gate, up = self.gate(inner_bqd, keys.gate), self.up(inner_bqd, keys.up)
        branch_bqd = self.down(layers.gated(activation, gate, up), keys.down)
        if config.post_norms:
            branch_bqd = self.mlp_post_norm(branch_bqd)
        return x_bqd + layers.dropout(branch_bqd, config.dropout, keys.mlp_branch)
