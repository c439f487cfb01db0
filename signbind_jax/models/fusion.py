"""The fusion transformer: tokens of all streams in one sequence, placed in seconds."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.token_stream import TokenStream


@dataclass(frozen=True)
class FusionConfig:
    """Sizes of the fusion transformer.

    Attributes:
      n_ids: vocabulary size of each stream, in stream order, blanks included.
      d_hidden: size of the experts' hidden vectors (the largest, if they differ).
      n_targets: size of the fused (sense and letter) vocabulary, blank included.
      d_model, n_layers, n_heads, d_mlp, dropout: the transformer's.
      time: whether fusion knows when each token happened. False gives the streams end to
        end with their indices: the ablation `all_without_time`.
      shortest_s, longest_s: wavelengths in seconds of the fastest and slowest rotary pair.
    """

    n_ids: tuple[int, ...]
    d_hidden: int
    n_targets: int
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 4
    d_mlp: int = 384
    dropout: float = 0.1
    time: bool = True
    shortest_s: float = 0.25
    longest_s: float = 60.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StreamTokens:
    """Tokens of all streams of a batch side by side, capacity m.

    As `TokenStream`, and `stream_bm` int32 says which stream each token is from.
    """

    ids_bm: jax.Array
    stream_bm: jax.Array
    hidden_bmd: jax.Array
    start_bm: jax.Array
    end_bm: jax.Array
    confidence_bm: jax.Array
    mask_bm: jax.Array


def join_streams(streams: list[TokenStream]) -> StreamTokens:
    """The streams end to end, in the order given; hidden sizes are zero-padded alike."""
    d = max(s.hidden_bnd.shape[-1] for s in streams)

    def wide(x):
        return jnp.pad(x, ((0, 0), (0, 0), (0, d - x.shape[-1])))

    return StreamTokens(
        ids_bm=jnp.concatenate([s.ids_bn for s in streams], axis=1),
        stream_bm=jnp.concatenate(
            [jnp.full_like(s.ids_bn, i) for i, s in enumerate(streams)], axis=1
        ),
        hidden_bmd=jnp.concatenate([wide(s.hidden_bnd) for s in streams], axis=1),
        start_bm=jnp.concatenate([s.start_bn for s in streams], axis=1),
        end_bm=jnp.concatenate([s.end_bn for s in streams], axis=1),
        confidence_bm=jnp.concatenate([s.confidence_bn for s in streams], axis=1),
        mask_bm=jnp.concatenate([s.mask_bn for s in streams], axis=1),
    )


def sort_tokens(tokens: StreamTokens, by_time: bool) -> StreamTokens:
    """Tokens in order of start time, or stream after stream; absent ones go last."""
    if by_time:
        order_key = tokens.start_bm
    else:
        order_key = tokens.stream_bm * 1e4 + tokens.start_bm
    order_bm = jnp.argsort(jnp.where(tokens.mask_bm, order_key, jnp.inf), axis=1, stable=True)

    def reorder(x):
        index = order_bm.reshape(order_bm.shape + (1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1)

    return jax.tree.map(reorder, tokens)


def previous_gap(tokens: StreamTokens, n_streams: int):
    """Seconds from the start of the last token of the same stream to each token's start.

    `tokens` are in order of time. The first token of a stream has gap 0.
    """
    gap_bm = jnp.zeros_like(tokens.start_bm)
    for stream in range(n_streams):
        mine = tokens.mask_bm & (tokens.stream_bm == stream)
        latest = jax.lax.cummax(jnp.where(mine, tokens.start_bm, -jnp.inf), axis=1)
        before = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-jnp.inf)
        gap = jnp.where(jnp.isfinite(before), tokens.start_bm - before, 0.0)
        gap_bm = jnp.where(mine, gap, gap_bm)
    return gap_bm


class FusionLayer(nnx.Module):
    """Pre-norm self-attention with rotary positions, then a gated MLP."""

    def __init__(self, config: FusionConfig, rngs: nnx.Rngs):
        d, h = config.d_model, config.n_heads
        e = d // h
        heads = ("heads", "head_size")
        self.norm_attention = layers.RMSNorm(d, rngs=rngs)
        self.q = layers.Linear((d,), (h, e), ("model",), heads, rngs=rngs)
        self.k = layers.Linear((d,), (h, e), ("model",), heads, rngs=rngs)
        self.v = layers.Linear((d,), (h, e), ("model",), heads, rngs=rngs)
        self.out = layers.Linear((h, e), (d,), heads, ("model",), rngs=rngs)
        self.norm_mlp = layers.RMSNorm(d, rngs=rngs)
        self.gate = layers.Linear((d,), (config.d_mlp,), ("model",), ("mlp",), rngs=rngs)
        self.up = layers.Linear((d,), (config.d_mlp,), ("model",), ("mlp",), rngs=rngs)
        self.down = layers.Linear((config.d_mlp,), (d,), ("mlp",), ("model",), rngs=rngs)
        self.dropout = config.dropout

    def __call__(self, x_bmd, cos_bme, sin_bme, mask_bm, key):
        key_attention, key_mlp = (None, None) if key is None else jax.random.split(key)
        y = self.norm_attention(x_bmd)
        q = layers.apply_rotation(self.q(y), cos_bme, sin_bme)
        k = layers.apply_rotation(self.k(y), cos_bme, sin_bme)
        mask_bms = mask_bm[:, None, :] & mask_bm[:, :, None]
        y = self.out(layers.attend(q, k, self.v(y), mask_bms))
        x_bmd = x_bmd + layers.dropout(y, self.dropout, key_attention)
        y = self.norm_mlp(x_bmd)
        y = self.down(jax.nn.silu(self.gate(y)) * self.up(y))
        return x_bmd + layers.dropout(y, self.dropout, key_mlp)


class Fusion(nnx.Module):
    """Resolves what the streams say, and when, into one sequence of fused tokens.

    A token enters as the sum of its projected hidden vector, its id's embedding, its
    stream's embedding and its confidence; with `config.time` also its duration and its gap
    to the token before it in the same stream. CTC runs on two frames a fused token, so
    that doubled letters fit.
    """

    def __init__(self, config: FusionConfig, rngs: nnx.Rngs):
        d = config.d_model
        n_streams = len(config.n_ids)
        self.config = config
        self.hidden = layers.Linear((config.d_hidden,), (n_streams, d), ("input",),
                                    ("kernel", "model"), rngs=rngs)  # fmt: skip
        self.id_embed = layers.Embed(sum(config.n_ids), d, rngs=rngs, dim="ctc_vocab")
        self.stream_embed = layers.Embed(n_streams, d, rngs=rngs, dim="kernel")
        n_features = 1 + (4 if config.time else 0)
        self.features = layers.Linear((n_features,), (d,), ("input",), ("model",), rngs=rngs)
        self.layers = layers.stack(lambda r: FusionLayer(config, r), config.n_layers, rngs)
        self.norm = layers.RMSNorm(d, rngs=rngs)
        self.ctc_frames = layers.Linear((d,), (2, d), ("model",), ("kernel", "channels"),
                                        rngs=rngs)  # fmt: skip
        self.ctc_head = layers.Linear((d,), (config.n_targets,), ("channels",), ("ctc_vocab",),
                                      rngs=rngs, bias=True)  # fmt: skip

    def __call__(self, tokens: StreamTokens, key=None):
        """Fuses.

        Returns:
          fused_bmd, its mask_bm, and log_probs_bsv with s = 2m CTC frames.
        """
        config = self.config
        tokens = sort_tokens(tokens, by_time=config.time)
        mask_bm = tokens.mask_bm
        keys = None
        if key is not None:
            key, layers_key = jax.random.split(key)
            keys = jax.random.split(layers_key, config.n_layers)
        x_bmd = layers.dropout(self._embed(tokens), config.dropout, key)
        cos_bme, sin_bme = self._angles(tokens)

        def call(layer, x, key):
            return layer(x, cos_bme, sin_bme, mask_bm, key)

        x_bmd = self.norm(layers.scan_layers(self.layers, x_bmd, call, keys=keys))
        frames = jax.nn.silu(self.ctc_frames(x_bmd))
        logits_bsv = self.ctc_head(frames.reshape(frames.shape[0], -1, frames.shape[-1]))
        return x_bmd, mask_bm, jax.nn.log_softmax(logits_bsv.astype(jnp.float32))

    def _embed(self, tokens: StreamTokens):
        config = self.config
        first_id = jnp.cumsum(jnp.array((0, *config.n_ids[:-1])))
        projected = self.hidden(tokens.hidden_bmd.astype(jnp.float32))
        own = tokens.stream_bm[..., None, None]
        x_bmd = jnp.take_along_axis(projected, own, axis=2)[..., 0, :]
        x_bmd = x_bmd + self.id_embed(tokens.ids_bm + first_id[tokens.stream_bm])
        x_bmd = x_bmd + self.stream_embed(tokens.stream_bm)
        features = [tokens.confidence_bm]
        if config.time:
            gap_bm = previous_gap(tokens, len(config.n_ids))
            duration_bm = tokens.end_bm - tokens.start_bm
            features += [jnp.log1p(10 * duration_bm), jnp.log1p(10 * gap_bm),
                         jnp.minimum(gap_bm, 2.0), (gap_bm > 0).astype(jnp.float32)]  # fmt: skip
        x_bmd = x_bmd + self.features(jnp.stack(features, axis=-1))
        return x_bmd * tokens.mask_bm[..., None]

    def _angles(self, tokens: StreamTokens):
        config = self.config
        half = config.d_model // config.n_heads // 2
        if config.time:
            position_bm = tokens.start_bm
            span = config.longest_s / config.shortest_s
            wavelength_e = config.shortest_s * span ** (jnp.arange(half) / max(half - 1, 1))
        else:
            position_bm = jnp.broadcast_to(
                jnp.arange(tokens.ids_bm.shape[1], dtype=jnp.float32), tokens.ids_bm.shape
            )
            wavelength_e = 2 * jnp.pi * 10_000.0 ** (jnp.arange(half) / half)
        angle_bme = position_bm[..., None] * (2 * jnp.pi / wavelength_e)
        return jnp.cos(angle_bme), jnp.sin(angle_bme)


def keep_streams(tokens: StreamTokens, keep_bs) -> StreamTokens:
    """Masks the tokens of the streams for which `keep_bs` (b, streams) bool is False."""
    kept_bm = jnp.take_along_axis(keep_bs, tokens.stream_bm, axis=1)
    return dataclasses.replace(tokens, mask_bm=tokens.mask_bm & kept_bm)
