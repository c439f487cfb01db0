"""A Llama-style decoder that reads embeddings, so that a soft prefix can come first."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.llm.config import DecoderConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVCache:
    """Keys (already rotated) and values of every layer, in `slots` s of fixed number.

    A slot has no place of its own in the sentence: position and visibility are given with
    each query. That lets several beams share one cache without ever moving a key.

    Attributes:
      k_lbhse, v_lbhse: (layers, batch, kv heads, slots, head size).
      length: int32 scalar, how many slots are written; `step` writes the next ones.
    """

    k_lbhse: jax.Array
    v_lbhse: jax.Array
    length: jax.Array


class Block(nnx.Module):
    """One pre-norm layer: grouped-query attention, then a SwiGLU feed-forward layer."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        d, e, d_mlp = config.d_model, config.head_size, config.d_mlp
        h, kv = config.n_heads, config.n_kv_heads
        # Branch outputs start smaller the deeper the stack, so that the residual stream
        # keeps its scale (GPT-2's rule).
        depth = 2 * config.n_layers
        self.attention_norm = layers.RMSNorm(d, rngs=rngs, eps=config.norm_eps)
        self.q = layers.Linear((d,), (h, e), ("model",), ("heads", "head_size"), rngs=rngs)
        self.k = layers.Linear((d,), (kv, e), ("model",), ("kv_heads", "head_size"), rngs=rngs)
        self.v = layers.Linear((d,), (kv, e), ("model",), ("kv_heads", "head_size"), rngs=rngs)
        self.o = layers.Linear((h, e), (d,), ("heads", "head_size"), ("model",), rngs=rngs,
                               init=layers.fan_in_init(h * e * depth))  # fmt: skip
        self.mlp_norm = layers.RMSNorm(d, rngs=rngs, eps=config.norm_eps)
        self.gate = layers.Linear((d,), (d_mlp,), ("model",), ("mlp",), rngs=rngs)
        self.up = layers.Linear((d,), (d_mlp,), ("model",), ("mlp",), rngs=rngs)
        self.down = layers.Linear((d_mlp,), (d,), ("mlp",), ("model",), rngs=rngs,
                                  init=layers.fan_in_init(d_mlp * depth))  # fmt: skip
        self.dropout = config.dropout

    def project(self, x_btd, rotation):
        """Rotated queries q_bthe, rotated keys k_bhte and values v_bhte."""
        x_btd = self.attention_norm(x_btd)
        q_bthe = layers.apply_rotation(self.q(x_btd), *rotation)
        k_bthe = layers.apply_rotation(self.k(x_btd), *rotation)
        return q_bthe, k_bthe.swapaxes(1, 2), self.v(x_btd).swapaxes(1, 2)

    def finish(self, x_btd, attended_bthe, key=None):
        """The rest of the block, once attention has been computed."""
        keys = (None, None) if key is None else jax.random.split(key)
        x_btd = x_btd + layers.dropout(self.o(attended_bthe), self.dropout, keys[0])
        inner_btd = self.mlp_norm(x_btd)
        hidden = jax.nn.silu(self.gate(inner_btd)) * self.up(inner_btd)
        return x_btd + layers.dropout(self.down(hidden), self.dropout, keys[1])


class Decoder(nnx.Module):
    """Decoder-only transformer (Llama layout: Touvron et al., 2023) over embeddings.

    A caller embeds its token ids with `embed`, concatenates them with any soft prefix and
    calls the decoder on the result. Masked places may stand anywhere (left or right
    padding): they are seen by nobody and take no position.
    """

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.embedding = layers.Embed(config.vocab_size, config.d_model, rngs=rngs)
        self.layers = layers.stack(lambda r: Block(config, rngs=r), config.n_layers, rngs)
        self.norm = layers.RMSNorm(config.d_model, rngs=rngs, eps=config.norm_eps)
        d, v = config.d_model, config.vocab_size
        self.head = (
            None if config.tie_embeddings
            else layers.Linear((d,), (v,), ("model",), ("vocab",), rngs=rngs)
        )  # fmt: skip

    def embed(self, ids_bl):
        """Embeddings x_bld of token ids, in the compute dtype."""
        return self.embedding(ids_bl).astype(self.config.compute_dtype)

    def __call__(self, x_bld, mask_bl, position_bl=None, key=None):
        """Float32 next-token logits_blv at every place.

        Args:
          x_bld: embeddings.
          mask_bl: bool, True at real places.
          position_bl: positions; by default the count of real places before each.
          key: dropout key; None switches dropout off.
        """
        return self.logits(self.hidden_states(x_bld, mask_bl, position_bl, key))

    def hidden_states(self, x_bld, mask_bl, position_bl=None, key=None):
        """What `__call__` computes before the output layer: x_bld.

        With `logits` on a slice of it, a loss pays for the vocabulary only where it has
        targets.
        """
        rotation = self._rotation(positions(mask_bl) if position_bl is None else position_bl)
        see_bts = causal(mask_bl)
        key_embed, keys = None, None
        if key is not None:
            key_embed, key_layers = jax.random.split(key)
            keys = jax.random.split(key_layers, self.config.n_layers)

        def call(block, x_btd, layer_key):
            q_bthe, k_bhse, v_bhse = block.project(x_btd, rotation)
            return block.finish(x_btd, attention(q_bthe, k_bhse, v_bhse, see_bts), layer_key)

        x_bld = x_bld.astype(self.config.compute_dtype)
        x_bld = layers.dropout(x_bld, self.config.dropout, key_embed)
        return layers.scan_layers(self.layers, x_bld, call, keys=keys, remat=self.config.remat)

    def logits(self, x_bld):
        """Float32 logits_blv of hidden states x_bld."""
        x_bld = self.norm(x_bld)
        if self.head is None:
            kernel_vd = self.embedding.table[...].astype(x_bld.dtype)
            return jnp.einsum("bld,vd->blv", x_bld, kernel_vd, preferred_element_type=jnp.float32)
        return self.head(x_bld).astype(jnp.float32)

    def prefill(self, x_bpd, mask_bp, capacity: int):
        """Reads a prefix and keeps its keys and values.

        Args:
          x_bpd: embeddings of the prefix.
          mask_bp: bool, True at real places.
          capacity: slots of the cache, at least p; slot i < p holds prefix place i.

        Returns:
          (logits_bv after the last real place, cache). Rows without a real place give
          finite logits without a meaning.
        """
        b, p, _ = x_bpd.shape
        if capacity < p:
            raise ValueError(f"prefill: capacity {capacity} is less than the prefix, {p} places")
        rotation, see_bts = self._rotation(positions(mask_bp)), causal(mask_bp)
        graphdef, state = nnx.split(self.layers)

        def body(x_btd, layer_state):
            block = nnx.merge(graphdef, layer_state)
            q_bthe, k_bhse, v_bhse = block.project(x_btd, rotation)
            attended_bthe = attention(q_bthe, k_bhse, v_bhse, see_bts)
            return block.finish(x_btd, attended_bthe), (k_bhse, v_bhse)

        x_bpd = x_bpd.astype(self.config.compute_dtype)
        x_bpd, (k_lbhse, v_lbhse) = jax.lax.scan(body, x_bpd, state)
        last_b = jnp.max(jnp.where(mask_bp, jnp.arange(p), 0), axis=1)
        logits_b1v = self.logits(jnp.take_along_axis(x_bpd, last_b[:, None, None], axis=1))
        room = [(0, 0)] * 3 + [(0, capacity - p), (0, 0)]
        cache = KVCache(jnp.pad(k_lbhse, room), jnp.pad(v_lbhse, room), jnp.int32(p))
        return logits_b1v[:, 0], cache

    def step(self, x_bqd, cache: KVCache, position_bq, see_bqs):
        """Reads q more tokens a row, which go to the next q slots of the cache.

        The q tokens may follow one another or be rival continuations (beams): what each
        may see, its own slot included, stands in `see_bqs`.

        Args:
          x_bqd: embeddings.
          cache: from `prefill` or `step`, with at least q free slots (unchecked: the
            length is not known when the program is compiled).
          position_bq: positions of the tokens.
          see_bqs: bool over all slots.

        Returns:
          (logits_bqv, cache).
        """
        rotation = self._rotation(position_bq)
        graphdef, state = nnx.split(self.layers)

        def body(carry, layer):
            x_bqd, k_lbhse, v_lbhse = carry
            index, layer_state = layer
            block = nnx.merge(graphdef, layer_state)
            q_bqhe, k_bhqe, v_bhqe = block.project(x_bqd, rotation)
            start = (index, 0, 0, cache.length, 0)
            k_lbhse = jax.lax.dynamic_update_slice(k_lbhse, k_bhqe[None], start)
            v_lbhse = jax.lax.dynamic_update_slice(v_lbhse, v_bhqe[None], start)
            k_bhse = jax.lax.dynamic_index_in_dim(k_lbhse, index, keepdims=False)
            v_bhse = jax.lax.dynamic_index_in_dim(v_lbhse, index, keepdims=False)
            attended_bqhe = attention(q_bqhe, k_bhse, v_bhse, see_bqs)
            return (block.finish(x_bqd, attended_bqhe), k_lbhse, v_lbhse), None

        x_bqd = x_bqd.astype(self.config.compute_dtype)
        (x_bqd, k_lbhse, v_lbhse), _ = jax.lax.scan(
            body, (x_bqd, cache.k_lbhse, cache.v_lbhse), (jnp.arange(self.config.n_layers), state)
        )
        return self.logits(x_bqd), KVCache(k_lbhse, v_lbhse, cache.length + x_bqd.shape[1])

    def _rotation(self, position_bt):
        """Cosines and sines (b, t, head_size / 2) of the rotary angles."""
        half = self.config.head_size // 2
        frequency_e = self.config.rope_base ** (-jnp.arange(half, dtype=jnp.float32) / half)
        angle_bte = position_bt[..., None].astype(jnp.float32) * frequency_e
        return jnp.cos(angle_bte), jnp.sin(angle_bte)


def positions(mask_bl):
    """int32 position_bl: how many real places stand before each place."""
    return jnp.maximum(jnp.cumsum(mask_bl.astype(jnp.int32), axis=1) - 1, 0)


def causal(mask_bl):
    """see_bts: place t sees the real places s up to and including its own."""
    size = mask_bl.shape[1]
    return jnp.tril(jnp.ones((size, size), bool)) & mask_bl[:, None, :].astype(bool)


def attention(q_bthe, k_bhse, v_bhse, see_bts):
    """Grouped-query softmax attention (Ainslie et al., 2023) in float32.

    Query heads in a row share one key head, which is read once for all of them. Rows that
    see nothing give zeros. Keys are head-major, the layout of the cache, because a cache
    that has to be transposed is a cache that is copied at every step.
    """
    b, t, h, e = q_bthe.shape
    kv = k_bhse.shape[1]
    q_btkge = q_bthe.reshape(b, t, kv, h // kv, e)
    score = jnp.einsum("btkge,bkse->bkgts", q_btkge, k_bhse, preferred_element_type=jnp.float32)
    see = see_bts[:, None, None]
    weight = jax.nn.softmax(jnp.where(see, score / math.sqrt(e), -1e30), axis=-1) * see
    attended = jnp.einsum("bkgts,bkse->btkge", weight.astype(v_bhse.dtype), v_bhse)
    return attended.reshape(b, t, h, e)
