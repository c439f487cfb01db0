"""A Llama-style decoder that reads embeddings, so that a soft prefix can come first."""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.llm.attention import attention, chunked
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.lora import TARGETS
from signbind_jax.models.llm.positions import causal, positions, rotary_frequencies


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
        """A key for each, or none for any where `key` is None."""
        if key is None:
            return NO_DROPOUT
        of_adapters = jax.random.split(jax.random.fold_in(key, 2), len(cls._fields) - 2)
        return cls(*jax.random.split(key), *of_adapters)


NO_DROPOUT = DropoutKeys()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVCache:
    """Keys (already rotated) and values of every layer, in `slots` s of fixed number.

    A slot has no place of its own in the sentence: position and visibility are given with
    each query. That lets several beams share one cache without ever moving a key.

    Attributes:
      k_lbhse, v_lbhse: (layers, batch, kv heads, slots, head size); or, unstacked, a tuple of
        one array a layer.
      position_bs: int32, where in its sentence each slot's token stands.
      length: int32 scalar, how many slots are written; `step` writes the next ones.
    """

    k_lbhse: jax.Array | tuple[jax.Array, ...]
    v_lbhse: jax.Array | tuple[jax.Array, ...]
    position_bs: jax.Array
    length: jax.Array

    def unstacked(self) -> "KVCache":
        """The same with one array a layer, as `UnstackedDecoder` has it."""
        return dataclasses.replace(self, k_lbhse=tuple(self.k_lbhse), v_lbhse=tuple(self.v_lbhse))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AttentionInputs:
    """What a layer knows about where its queries and keys stand.

    Attributes:
      cos_bte, sin_bte: rotary angles of the queries and of the new keys.
      mask_bts: bool, which keys each query sees.
    """

    cos_bte: jax.Array
    sin_bte: jax.Array
    mask_bts: jax.Array


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

    def project(self, x_btd, inputs: AttentionInputs, keys=NO_DROPOUT):
        """Rotated, scaled queries q_bthe, rotated keys k_bhte and values v_bhte."""
        config = self.config
        x_btd = self.attention_norm(x_btd)
        q_bthe, k_bthe = self.q(x_btd, keys.q), self.k(x_btd, keys.k)
        if config.qk_norm:
            q_bthe, k_bthe = self.q_norm(q_bthe), self.k_norm(k_bthe)
        q_bthe = layers.apply_rotation(q_bthe, inputs.cos_bte, inputs.sin_bte)
        k_bthe = layers.apply_rotation(k_bthe, inputs.cos_bte, inputs.sin_bte)
        q_bthe = q_bthe * (config.query_scale or config.head_size**-0.5)
        return q_bthe, k_bthe.swapaxes(1, 2), self.v(x_btd, keys.v).swapaxes(1, 2)

    def attend(self, q_bthe, k_bhse, v_bhse, inputs: AttentionInputs):
        """What the queries gather from the values they see."""
        return attention(q_bthe, k_bhse, v_bhse, inputs.mask_bts, self.config.attention_cap)

    def finish(self, x_btd, attended_bthe, keys=NO_DROPOUT):
        """The rest of the block, once attention has been computed."""
        config = self.config
        branch_btd = self.o(attended_bthe, keys.o)
        if config.post_norms:
            branch_btd = self.attention_post_norm(branch_btd)
        x_btd = x_btd + layers.dropout(branch_btd, config.dropout, keys.attention_branch)
        inner_btd = self.mlp_norm(x_btd)
        activation = jax.nn.silu if config.activation == "silu" else jax.nn.gelu
        gate, up = self.gate(inner_btd, keys.gate), self.up(inner_btd, keys.up)
        branch_btd = self.down(layers.gated(activation, gate, up), keys.down)
        if config.post_norms:
            branch_btd = self.mlp_post_norm(branch_btd)
        return x_btd + layers.dropout(branch_btd, config.dropout, keys.mlp_branch)


class Decoder(nnx.Module):
    """Decoder-only transformer (Llama layout: Touvron et al., 2023) over embeddings.

    Layers are stacked and scanned, also where they differ in what they see or how they are
    turned: those differences are arrays with one entry a layer.

    A caller embeds its token ids with `embed`, concatenates them with any soft prefix and
    calls the decoder on the result. Masked places may stand anywhere (left or right
    padding): they are seen by nobody and take no position.
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
        """Embeddings x_bld of token ids, in the compute dtype."""
        x_bld = self.embedding(ids_bl).astype(self.config.compute_dtype)
        # Rounded to the compute dtype first, as the reference does.
        return x_bld * jnp.asarray(self.config.embed_scale, x_bld.dtype)

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
        position_bl = positions(mask_bl) if position_bl is None else position_bl
        inputs_of_kinds = self._attention_inputs(position_bl, position_bl, causal(mask_bl))
        key_embed, keys = None, None
        if key is not None:
            key_embed, key_layers = jax.random.split(key)
            keys = jax.random.split(key_layers, self.config.n_layers)

        def call(block, x_btd, own):
            kind, layer_key = own
            inputs, keys = _pick(inputs_of_kinds, kind), DropoutKeys.split(layer_key)
            q_bthe, k_bhse, v_bhse = block.project(x_btd, inputs, keys)
            attended_bthe = chunked(block.attend, q_bthe, k_bhse, v_bhse, inputs)
            return block.finish(x_btd, attended_bthe, keys)

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
        """Float32 logits_blv of hidden states x_bld."""
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
        position_bp = positions(mask_bp)
        inputs_of_kinds = self._attention_inputs(position_bp, position_bp, causal(mask_bp))
        graphdef, state = nnx.split(self.layers)

        def body(x_btd, layer):
            kind, layer_state = layer
            block, inputs = nnx.merge(graphdef, layer_state), _pick(inputs_of_kinds, kind)
            q_bthe, k_bhse, v_bhse = block.project(x_btd, inputs)
            attended_bthe = block.attend(q_bthe, k_bhse, v_bhse, inputs)
            return block.finish(x_btd, attended_bthe), (k_bhse, v_bhse)

        x_bpd = x_bpd.astype(self.config.compute_dtype)
        x_bpd, (k_lbhse, v_lbhse) = jax.lax.scan(body, x_bpd, (self._kinds(), state))
        last_b = jnp.max(jnp.where(mask_bp, jnp.arange(p), 0), axis=1)
        logits_b1v = self.logits(jnp.take_along_axis(x_bpd, last_b[:, None, None], axis=1))
        room = [(0, 0)] * 3 + [(0, capacity - p), (0, 0)]
        position_bs = jnp.pad(position_bp, [(0, 0), (0, capacity - p)])
        cache = KVCache(jnp.pad(k_lbhse, room), jnp.pad(v_lbhse, room), position_bs, jnp.int32(p))
        return logits_b1v[:, 0], cache

    def loss(self, prefix_bpd, prefix_mask_bp, text_ids_bl, text_mask_bl, key=None):
        """Cross-entropy of a text behind a prefix: loss_bl and correct_bl, see `LanguageModel`."""
        p = prefix_bpd.shape[1]
        x_bld = jnp.concatenate([prefix_bpd, self.embed(text_ids_bl[:, :-1])], axis=1)
        mask_bl = jnp.concatenate([prefix_mask_bp, text_mask_bl[:, :-1]], axis=1)
        x_bld = self.hidden_states(x_bld, mask_bl, key=key)
        logits_blv = self.logits(x_bld[:, p - 1 :]).astype(jnp.float32)
        log_probs_blv = jax.nn.log_softmax(logits_blv)
        picked_bl = jnp.take_along_axis(log_probs_blv, text_ids_bl[..., None], axis=-1)[..., 0]
        correct_bl = (jnp.argmax(logits_blv, axis=-1) == text_ids_bl) & text_mask_bl
        return -picked_bl * text_mask_bl, correct_bl

    def linears(self) -> dict[str, layers.Linear]:
        """The stacked linear layers that may carry adapters, by name."""
        return {name: getattr(self.layers, name) for name in TARGETS}

    def unstacked(self) -> "UnstackedDecoder":
        """The same decoder with its layers run one by one instead of scanned."""
        return UnstackedDecoder(self)

    def step(self, x_bqd, cache: KVCache, position_bq, mask_bqs):
        """Reads q more tokens a row, which go to the next q slots of the cache.

        The q tokens may follow one another or be rival continuations (beams): what each
        may see, its own slot included, stands in `mask_bqs`.

        Args:
          x_bqd: embeddings.
          cache: from `prefill` or `step`, with at least q free slots (unchecked: the
            length is not known when the program is compiled).
          position_bq: positions of the tokens.
          mask_bqs: bool over all slots.

        Returns:
          (logits_bqv, cache).
        """
        return self._step(self._step_scanned, x_bqd, cache, position_bq, mask_bqs)

    def _step(self, run, x_bqd, cache: KVCache, position_bq, mask_bqs):
        position_bs = jax.lax.dynamic_update_slice(
            cache.position_bs, position_bq.astype(jnp.int32), (0, cache.length)
        )
        inputs_of_kinds = self._attention_inputs(position_bq, position_bs, mask_bqs)
        x_bqd = x_bqd.astype(self.config.compute_dtype)
        x_bqd, k_lbhse, v_lbhse = run(x_bqd, cache, inputs_of_kinds)
        length = cache.length + x_bqd.shape[1]
        return self.logits(x_bqd), KVCache(k_lbhse, v_lbhse, position_bs, length)

    def _step_scanned(self, x_bqd, cache: KVCache, inputs_of_kinds: list[AttentionInputs]):
        graphdef, state = nnx.split(self.layers)

        def body(carry, layer):
            x_bqd, k_lbhse, v_lbhse = carry
            index, kind, layer_state = layer
            block, inputs = nnx.merge(graphdef, layer_state), _pick(inputs_of_kinds, kind)
            q_bqhe, k_bhqe, v_bhqe = block.project(x_bqd, inputs)
            start = (index, 0, 0, cache.length, 0)
            k_lbhse = jax.lax.dynamic_update_slice(k_lbhse, k_bhqe[None], start)
            v_lbhse = jax.lax.dynamic_update_slice(v_lbhse, v_bhqe[None], start)
            k_bhse = jax.lax.dynamic_index_in_dim(k_lbhse, index, keepdims=False)
            v_bhse = jax.lax.dynamic_index_in_dim(v_lbhse, index, keepdims=False)
            attended_bqhe = block.attend(q_bqhe, k_bhse, v_bhse, inputs)
            return (block.finish(x_bqd, attended_bqhe), k_lbhse, v_lbhse), None

        return jax.lax.scan(
            body,
            (x_bqd, cache.k_lbhse, cache.v_lbhse),
            (jnp.arange(self.config.n_layers), self._kinds(), state),
        )[0]

    def _kinds(self):
        """Which of the config's `layer_kinds` each layer is."""
        kinds = self.config.layer_kinds
        return jnp.array([kinds.index(kind) for kind in self.config.kind_of_layer])

    def _attention_inputs(self, position_bt, position_bs, mask_bts) -> list[AttentionInputs]:
        """Angles and visibility for each of the config's kinds of layer."""
        out = []
        for local, unrotated in self.config.layer_kinds:
            see = mask_bts
            if local:
                back_bts = position_bt[:, :, None] - position_bs[:, None, :]
                see = see & (back_bts < self.config.sliding_window)
            angle_bte = position_bt[..., None].astype(jnp.float32)
            angle_bte = angle_bte * rotary_frequencies(self.config, local)
            if unrotated:
                angle_bte = jnp.zeros_like(angle_bte)
            out.append(AttentionInputs(jnp.cos(angle_bte), jnp.sin(angle_bte), see))
        return out


def _pick(inputs_of_kinds: list[AttentionInputs], kind) -> AttentionInputs:
    """The places of a layer whose kind is known only inside the scan."""
    if len(inputs_of_kinds) == 1:
        return inputs_of_kinds[0]
    return jax.tree.map(lambda *x: jax.lax.select_n(kind, *x), *inputs_of_kinds)


class UnstackedDecoder:
    """A decoder for a loop on the CPU, where a scan would copy every layer's weights and cache
    out of their stack at each step; each layer has its own copy of its parameters instead."""

    def __init__(self, decoder: Decoder):
        self.config, self.embed, self.loss = decoder.config, decoder.embed, decoder.loss
        self.decoder, self.linears = decoder, decoder.linears
        graphdef, state = nnx.split(decoder.layers)
        self.blocks = [
            nnx.merge(graphdef, jax.tree.map(lambda x, i=i: x[i], state))
            for i in range(decoder.config.n_layers)
        ]

    def unstacked(self) -> "UnstackedDecoder":
        """Itself."""
        return self

    def prefill(self, x_bpd, mask_bp, capacity: int):
        """As `Decoder.prefill`, with an unstacked cache."""
        logits_bv, cache = self.decoder.prefill(x_bpd, mask_bp, capacity)
        return logits_bv, cache.unstacked()

    def step(self, x_bqd, cache: KVCache, position_bq, mask_bqs):
        """As `Decoder.step`, with a cache from `prefill` here."""
        return self.decoder._step(self._step_blocks, x_bqd, cache, position_bq, mask_bqs)

    def _step_blocks(self, x_bqd, cache: KVCache, inputs_of_kinds: list[AttentionInputs]):
        k_lbhse, v_lbhse, start = [], [], (0, 0, cache.length, 0)
        kinds = [self.config.layer_kinds.index(kind) for kind in self.config.kind_of_layer]
        layers_of_cache = zip(cache.k_lbhse, cache.v_lbhse, strict=True)
        for block, kind, (k_bhse, v_bhse) in zip(self.blocks, kinds, layers_of_cache, strict=True):
            q_bqhe, k_bhqe, v_bhqe = block.project(x_bqd, inputs_of_kinds[kind])
            k_lbhse.append(jax.lax.dynamic_update_slice(k_bhse, k_bhqe, start))
            v_lbhse.append(jax.lax.dynamic_update_slice(v_bhse, v_bhqe, start))
            attended_bqhe = block.attend(q_bqhe, k_lbhse[-1], v_lbhse[-1], inputs_of_kinds[kind])
            x_bqd = block.finish(x_bqd, attended_bqhe)
        return x_bqd, tuple(k_lbhse), tuple(v_lbhse)
