"""A Llama-style decoder that reads embeddings, so that a soft prefix can come first."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.llm.attention import chunked
from signbind_jax.models.llm.block import Block, DropoutKeys
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.kv_cache import KVCache
from signbind_jax.models.llm.lora import TARGETS
from signbind_jax.models.llm.positions import (
    AttentionInputs,
    attention_inputs,
    causal,
    pick,
    positions,
)
from signbind_jax.models.llm.unstacked import UnstackedDecoder


class Decoder(nnx.Module):
    """Decoder-only transformer (Llama layout: Touvron et al., 2023) over embeddings.

    Layers are stacked and scanned, also where they differ in what they see or how they are
    turned: those differences are arrays with one entry a layer.

    A caller embeds its token ids with `embed`, concatenates them with any soft prefix and
    calls the decoder on the result. Padding may stand anywhere (left, right, between): no token
    sees it and it takes no position.
    """

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.embedding = layers.Embed(config.vocab_size, config.d_model, rngs=rngs)
        self.layers = layers.stack(lambda r: Block(config, rngs=r), config.n_layers, rngs)
        self.norm = layers.RMSNorm(
            config.d_model, rngs=rngs, eps=config.norm_eps, plus_one=config.norm_plus_one
        )
        d, v = config.d_model, config.vocab_size
        self.head = (
            None
            if config.tie_embeddings
            else layers.Linear((d,), (v,), ("model",), ("vocab",), rngs=rngs)
        )

    def embed(self, ids_bl):
        """Embeds token ids: x_bld in the compute dtype."""
        x_bld = self.embedding(ids_bl).astype(self.config.compute_dtype)
        # Rounded to the compute dtype first, as the reference does.
        return x_bld * jnp.asarray(self.config.embed_scale, x_bld.dtype)

    def __call__(self, x_bld, mask_bl, key=None):
        """Gives float32 next-token logits_blv at every position; see `hidden_states`."""
        return self.logits(self.hidden_states(x_bld, mask_bl, key))

    def hidden_states(self, x_bld, mask_bl, key=None):
        """Runs the layers: x_bld before the output layer.

        With `logits` on a slice of it, a loss pays for the vocabulary only where it has targets.

        Args:
          x_bld: embeddings.
          mask_bl: bool, False at padding.
          key: dropout key; None switches dropout off.
        """
        position_bl = positions(mask_bl)
        inputs_of_kinds = attention_inputs(self.config, position_bl, position_bl, causal(mask_bl))
        key_embed, keys = None, None
        if key is not None:
            key_embed, key_layers = jax.random.split(key)
            keys = jax.random.split(key_layers, self.config.n_layers)

        def call(block, x_bqd, own):
            kind, layer_key = own
            inputs, keys = pick(inputs_of_kinds, kind), DropoutKeys.split(layer_key)
            q_bqhe, k_bhue, v_bhue = block.project(x_bqd, inputs, keys)
            attended_bqhe = chunked(block.attend, q_bqhe, k_bhue, v_bhue, inputs)
            return block.finish(x_bqd, attended_bqhe, keys)

        x_bld = x_bld.astype(self.config.compute_dtype)
        x_bld = layers.dropout(x_bld, self.config.dropout, key_embed)
        return layers.scan_layers(
            self.layers,
            x_bld,
            call,
            keys=(self._kinds(), keys),
            remat=self.config.remat,
            keep_linear=self.config.remat_keeps_linear,
        )

    def logits(self, x_bld):
        """Applies the output layer to hidden states x_bld: float32 logits_blv."""
        x_bld = self.norm(x_bld)
        if self.head is None:
            kernel_vd = self.embedding.table[...].astype(x_bld.dtype)
            logits_blv = jnp.einsum(
                "bld,vd->blv", x_bld, kernel_vd, preferred_element_type=jnp.float32
            )
        else:
            logits_blv = self.head(x_bld).astype(jnp.float32)
        cap = self.config.logit_cap
        return cap * jnp.tanh(logits_blv / cap) if cap else logits_blv

    def prefill(self, x_bpd, mask_bp, capacity: int):
        """Reads a prefix: (logits_bv, cache), see `LanguageModel`.

        Rows of nothing but padding give finite logits without a meaning.
        """
        p = x_bpd.shape[1]
        if capacity < p:
            raise ValueError(f"prefill: capacity {capacity} is less than the prefix, {p}")
        position_bp = positions(mask_bp)
        inputs_of_kinds = attention_inputs(self.config, position_bp, position_bp, causal(mask_bp))
        graphdef, state = nnx.split(self.layers)

        def body(x_bqd, layer):
            kind, layer_state = layer
            block, inputs = nnx.merge(graphdef, layer_state), pick(inputs_of_kinds, kind)
            q_bqhe, k_bhue, v_bhue = block.project(x_bqd, inputs)
            attended_bqhe = block.attend(q_bqhe, k_bhue, v_bhue, inputs)
            return block.finish(x_bqd, attended_bqhe), (k_bhue, v_bhue)

        x_bpd = x_bpd.astype(self.config.compute_dtype)
        x_bpd, (k_ibhue, v_ibhue) = jax.lax.scan(body, x_bpd, (self._kinds(), state))
        last_b = jnp.max(jnp.where(mask_bp, jnp.arange(p), 0), axis=1)
        logits_b1v = self.logits(jnp.take_along_axis(x_bpd, last_b[:, None, None], axis=1))
        return logits_b1v[:, 0], KVCache.of_prefix(k_ibhue, v_ibhue, position_bp, capacity)

    def loss(
        self,
        prefix_bpd,
        prefix_mask_bp,
        text_ids_bl,
        text_mask_bl,
        key=None,
        *,
        smoothing: float = 0.0,
        room: int = 0,
    ):
        """Gives the cross-entropy of a text behind a prefix, see `LanguageModel`."""
        p, n = prefix_mask_bp.shape[1], text_ids_bl.shape[1]
        x_bld = jnp.concatenate([prefix_bpd, self.embed(text_ids_bl[:, :-1])], axis=1)
        mask_bl = jnp.concatenate([prefix_mask_bp, text_mask_bl[:, :-1]], axis=1)
        if 0 < room < mask_bl.shape[1]:
            order_bl = jnp.argsort(~mask_bl, axis=1, stable=True)[:, :room]
            x_bld = jnp.take_along_axis(x_bld, order_bl[..., None], axis=1)
            mask_bl = jnp.take_along_axis(mask_bl, order_bl, axis=1)
            n_prefix_b1 = prefix_mask_bp.sum(axis=1, keepdims=True)
            at_bl = jnp.minimum(n_prefix_b1 - 1 + jnp.arange(n), room - 1)
            x_bld = self.hidden_states(x_bld, mask_bl, key)
            x_bld = jnp.take_along_axis(x_bld, at_bl[..., None], axis=1)
        else:
            x_bld = self.hidden_states(x_bld, mask_bl, key)[:, p - 1 :]
        logits_blv = self.logits(x_bld).astype(jnp.float32)
        log_probs_blv = jax.nn.log_softmax(logits_blv)
        picked_bl = jnp.take_along_axis(log_probs_blv, text_ids_bl[..., None], axis=-1)[..., 0]
        correct_bl = (jnp.argmax(logits_blv, axis=-1) == text_ids_bl) & text_mask_bl
        if smoothing:
            picked_bl += smoothing * (jnp.mean(log_probs_blv, axis=-1) - picked_bl)
        return -picked_bl * text_mask_bl, correct_bl

    def linears(self) -> dict[str, layers.Linear]:
        """Lists the stacked linear layers that may carry adapters, by name."""
        return {name: getattr(self.layers, name) for name in TARGETS}

    def unstacked(self) -> "UnstackedDecoder":
        """Gives the same decoder with its layers run one by one instead of scanned."""
        return UnstackedDecoder(self)

    def step(self, x_bqd, cache: KVCache, position_bq, mask_bqu):
        """Reads q more tokens a row: (logits_bqv, cache), see `LanguageModel`.

        At least q slots of the cache have to be free: the length is not known when the program is
        compiled, so it is not checked.
        """
        return self.step_by(self._step_scanned, x_bqd, cache, position_bq, mask_bqu)

    def step_by(self, run: Callable, x_bqd, cache: KVCache, position_bq, mask_bqu):
        """Does `step` with `run` for the layers: (x_bqd, cache, inputs of kinds) -> x_bqd, k, v."""
        position_bu = jax.lax.dynamic_update_slice(
            cache.position_bu, position_bq.astype(jnp.int32), (0, cache.length)
        )
        inputs_of_kinds = attention_inputs(self.config, position_bq, position_bu, mask_bqu)
        x_bqd = x_bqd.astype(self.config.compute_dtype)
        x_bqd, k_ibhue, v_ibhue = run(x_bqd, cache, inputs_of_kinds)
        length = cache.length + x_bqd.shape[1]
        return self.logits(x_bqd), KVCache(k_ibhue, v_ibhue, position_bu, length)

    def _step_scanned(self, x_bqd, cache: KVCache, inputs_of_kinds: list[AttentionInputs]):
        graphdef, state = nnx.split(self.layers)

        def body(carry, layer):
            x_bqd, k_ibhue, v_ibhue = carry
            index, kind, layer_state = layer
            block, inputs = nnx.merge(graphdef, layer_state), pick(inputs_of_kinds, kind)
            q_bqhe, k_bhqe, v_bhqe = block.project(x_bqd, inputs)
            start = (index, 0, 0, cache.length, 0)
            k_ibhue = jax.lax.dynamic_update_slice(k_ibhue, k_bhqe[None], start)
            v_ibhue = jax.lax.dynamic_update_slice(v_ibhue, v_bhqe[None], start)
            k_bhue = jax.lax.dynamic_index_in_dim(k_ibhue, index, keepdims=False)
            v_bhue = jax.lax.dynamic_index_in_dim(v_ibhue, index, keepdims=False)
            attended_bqhe = block.attend(q_bqhe, k_bhue, v_bhue, inputs)
            return (block.finish(x_bqd, attended_bqhe), k_ibhue, v_ibhue), None

        return jax.lax.scan(
            body,
            (x_bqd, cache.k_ibhue, cache.v_ibhue),
            (jnp.arange(self.config.n_layers), self._kinds(), state),
        )[0]

    def _kinds(self):
        """Says which of the config's `layer_kinds` each layer is."""
        kinds = self.config.layer_kinds
        return jnp.array([kinds.index(kind) for kind in self.config.kind_of_layer])
