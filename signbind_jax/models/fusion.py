"""The fusion transformer: tokens of all streams in one sequence, positions in seconds."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax import ctc
from signbind_jax.models import layers
from signbind_jax.ranges import (
    LARGEST,
    Checked,
    Count,
    Layers,
    NonEmpty,
    Positive,
    Range,
    Rate,
    Size,
)

SHORTEST_GAP_S = 0.04  # gaps are measured in median gaps of at least this
N_BASIS = 17  # on the scale of gaps in median gaps


@dataclass(frozen=True)
class FusionConfig(Checked):
    """Sizes of the fusion transformer.

    Attributes:
      n_ids: vocabulary size of each stream, in stream order, blanks included.
      d_hidden: size of the experts' hidden vectors (the largest, if they differ).
      n_targets: size of the fused (sense and letter) vocabulary, blank included.
      d_model, n_layers, n_heads, d_mlp, dropout: the transformer's.
      time: whether fusion knows when each token happened. False gives the streams end to
        end with their indices.
      hidden: whether fusion sees the experts' hidden vectors. They tell of time too: an
        expert's state at a sign knows what came before and after it. The ablation
        `all_without_time` has neither. Those of tokens that came with the clips are 0.
      ctc_frames: CTC frames a fused token, which a spelled word's marker, doubled letters and
        tokens that fusion has to move take up.
      unread: by stream, whether the last of its ids is a while in which nothing was read; empty: of
        none. Gaps are those between tokens that were read.
      shortest_s, longest_s: wavelengths in seconds of the fastest and slowest rotary pair.
    """

    n_ids: Annotated[tuple[Count, ...], NonEmpty]
    d_hidden: Size
    n_targets: Annotated[int, Range(1, LARGEST)]
    d_model: Size = 128
    n_layers: Layers = 2
    n_heads: Size = 4
    d_mlp: Size = 384
    dropout: Rate = 0.1
    time: bool = True
    hidden: bool = True
    ctc_frames: Annotated[int, Range(1, 100)] = 2
    unread: tuple[bool, ...] = ()
    shortest_s: Positive = 0.25
    longest_s: Positive = 60.0

    def conflicts(self):
        if self.d_model % (2 * self.n_heads):
            yield "n_heads", f"a number for which d_model {self.d_model} gives heads of even size"
        if len(self.unread) not in (0, len(self.n_ids)):
            yield "unread", "one a stream"
        if self.longest_s <= self.shortest_s:
            yield "longest_s", f"more than shortest_s={self.shortest_s:g}"


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

    @property
    def middle_bm(self) -> jax.Array:
        """When each token is half over, in seconds."""
        return (self.start_bm + self.end_bm) / 2


def sort_tokens(tokens: StreamTokens, by_time: bool) -> StreamTokens:
    """Puts tokens in order of start time, or stream after stream; absent ones go last."""
    if by_time:
        order_key = tokens.start_bm
    else:
        order_key = tokens.stream_bm * 1e4 + tokens.start_bm
    order_bm = jnp.argsort(jnp.where(tokens.mask_bm, order_key, jnp.inf), axis=1, stable=True)

    def reorder(x):
        index = order_bm.reshape(order_bm.shape + (1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1)

    return jax.tree.map(reorder, tokens)


def intervals(tokens: StreamTokens, n_streams: int):
    """Measures the time between neighbours of the same stream, middle to middle.

    `tokens` are in order of time.

    Returns:
      before_bm and after_bm, seconds from the token before and to the token after, 0 where
      there is none, and median_bm, the median gap of the token's stream in its row.
    """
    middle_bm = tokens.middle_bm
    before_bm = after_bm = median_bm = jnp.zeros_like(middle_bm)
    for stream in range(n_streams):
        mine = tokens.mask_bm & (tokens.stream_bm == stream)
        latest = jax.lax.cummax(jnp.where(mine, middle_bm, -jnp.inf), axis=1)
        last = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-jnp.inf)
        earliest = jax.lax.cummin(jnp.where(mine, middle_bm, jnp.inf), axis=1, reverse=True)
        following = jnp.pad(earliest[:, 1:], ((0, 0), (0, 1)), constant_values=jnp.inf)
        has_last, has_following = mine & jnp.isfinite(last), mine & jnp.isfinite(following)
        # Sorted by start: middles may be out of order by a little.
        before = jnp.where(has_last, jnp.maximum(middle_bm - last, 0.0), 0.0)
        after = jnp.where(has_following, jnp.maximum(following - middle_bm, 0.0), 0.0)
        # Not nanmedian: its sort is the same, its handling of rows without numbers is not.
        n_b1 = has_last.sum(axis=1, keepdims=True)
        ordered = jnp.sort(jnp.where(has_last, before, jnp.inf), axis=1)
        median_b1 = jnp.take_along_axis(ordered, n_b1 // 2, axis=1)
        before_bm = jnp.where(mine, before, before_bm)
        after_bm = jnp.where(mine, after, after_bm)
        median_bm = jnp.where(mine & (n_b1 > 0), median_b1, median_bm)
    return before_bm, after_bm, median_bm


def _radial_basis(ratio_bm):
    """Says how near a gap, in median gaps, is to each of 0.5, 0.625, ... 2.5, from 0 to 1.

    A gap half as long again as the median parts two names: as one number among the features of a
    token it is hardly heard.
    """
    step = 0.125
    return [jnp.exp(-jnp.square((ratio_bm - 0.5 - i * step) / step)) for i in range(N_BASIS)]


def _geometric_decay(key, shape, dtype):
    """Gives log rates from 0.125 to 8 a second, one a head, each as many times the one before it.

    A head that fades faster sees itself alone: it has no gradient and never learns another rate.
    """
    del key
    (n,) = shape
    spread = jnp.arange(n, dtype=dtype) * (3 / max(n - 1, 1))
    return jnp.log(0.125 * 4.0**spread)


class FusionLayer(nnx.Module):
    """Pre-norm self-attention with rotary positions, then a gated MLP.

    Given the tokens' distances in seconds, attention fades with them, in each head at a rate
    of its own that is learnt: which mouthing belongs to which sign is a matter of nearness.
    """

    def __init__(self, config: FusionConfig, rngs: nnx.Rngs):
        d, h = config.d_model, config.n_heads
        e = d // h
        heads = ("heads", "head_size")
        self.norm_attention = layers.RMSNorm(d, rngs=rngs)
        self.q = layers.Linear((d,), (h, e), ("model",), heads, rngs=rngs)
        self.k = layers.Linear((d,), (h, e), ("model",), heads, rngs=rngs)
        self.v = layers.Linear((d,), (h, e), ("model",), heads, rngs=rngs)
        self.out = layers.Linear((h, e), (d,), heads, ("model",), rngs=rngs)
        if config.time:
            self.log_decay = layers.param(rngs, _geometric_decay, (h,), ("heads",))
        self.norm_mlp = layers.RMSNorm(d, rngs=rngs)
        self.gate = layers.Linear((d,), (config.d_mlp,), ("model",), ("mlp",), rngs=rngs)
        self.up = layers.Linear((d,), (config.d_mlp,), ("model",), ("mlp",), rngs=rngs)
        self.down = layers.Linear((config.d_mlp,), (d,), ("mlp",), ("model",), rngs=rngs)
        self.dropout = config.dropout

    def __call__(self, x_bmd, cos_bme, sin_bme, distance_bmm, mask_bm, key):
        key_attention, key_mlp = (None, None) if key is None else jax.random.split(key)
        y = self.norm_attention(x_bmd)
        q = layers.apply_rotation(self.q(y), cos_bme, sin_bme)
        k = layers.apply_rotation(self.k(y), cos_bme, sin_bme)
        mask_bmm = mask_bm[:, None, :] & mask_bm[:, :, None]
        bias_bhmm = None
        if distance_bmm is not None:
            decay_h11 = jnp.exp(self.log_decay[...])[:, None, None]
            bias_bhmm = -decay_h11 * distance_bmm[:, None]
        y = self.out(layers.attend(q, k, self.v(y), mask_bmm, bias_bhmm))
        x_bmd = x_bmd + layers.dropout(y, self.dropout, key_attention)
        y = self.norm_mlp(x_bmd)
        y = self.down(jax.nn.silu(self.gate(y)) * self.up(y))
        return x_bmd + layers.dropout(y, self.dropout, key_mlp)


class Fusion(nnx.Module):
    """Resolves what the streams say, and when, into one sequence of fused tokens.

    A token enters as the sum of its id's embedding, its stream's embedding, its confidence
    and, with `config.hidden`, its projected hidden vector; with `config.time` also its
    duration and its gaps to the tokens around it in the same stream. CTC runs on several
    frames a fused token, so that doubled letters fit.
    """

    def __init__(self, config: FusionConfig, rngs: nnx.Rngs):
        d = config.d_model
        n_streams = len(config.n_ids)
        self.config = config
        if config.hidden:
            self.hidden = layers.Linear(
                (config.d_hidden,), (n_streams, d), ("input",), ("kernel", "model"), rngs=rngs
            )
        self.id_embed = layers.Embed(sum(config.n_ids), d, rngs=rngs, dim="ctc_vocab")
        self.stream_embed = layers.Embed(n_streams, d, rngs=rngs, dim="kernel")
        n_features = 1 + (4 + 2 * N_BASIS if config.time else 0)
        self.features = layers.Linear((n_features,), (d,), ("input",), ("model",), rngs=rngs)
        self.layers = layers.stack(lambda r: FusionLayer(config, r), config.n_layers, rngs)
        self.norm = layers.RMSNorm(d, rngs=rngs)
        self.ctc_frames = layers.Linear(
            (d,), (config.ctc_frames, d), ("model",), ("kernel", "channels"), rngs=rngs
        )
        self.ctc_head = layers.Linear(
            (d,), (config.n_targets,), ("channels",), ("ctc_vocab",), rngs=rngs, bias=True
        )

    def __call__(self, tokens: StreamTokens, key=None):
        """Puts tokens in order and fuses them, see `fuse`."""
        return self.fuse(self.in_order(tokens), key)

    def in_order(self, tokens: StreamTokens) -> StreamTokens:
        """The tokens in the order in which they are fused, those of a stream by time."""
        return sort_tokens(tokens, by_time=self.config.time)

    def fuse(self, tokens: StreamTokens, key=None):
        """Fuses tokens that stand in order.

        Returns:
          fused_bmd, its mask_bm, and log_probs_bsv with s = ctc_frames * m.
        """
        config = self.config
        mask_bm = tokens.mask_bm
        keys = None
        if key is not None:
            key, layers_key = jax.random.split(key)
            keys = jax.random.split(layers_key, config.n_layers)
        x_bmd = layers.dropout(self._embed(tokens), config.dropout, key)
        cos_bme, sin_bme = self._angles(tokens)
        distance_bmm = None
        if config.time:
            middle_bm = tokens.middle_bm
            distance_bmm = jnp.abs(middle_bm[:, :, None] - middle_bm[:, None])

        def call(layer, x, key):
            return layer(x, cos_bme, sin_bme, distance_bmm, mask_bm, key)

        x_bmd = self.norm(layers.scan_layers(self.layers, x_bmd, call, keys=keys))
        frames = jax.nn.silu(self.ctc_frames(x_bmd))
        logits_bsv = self.ctc_head(frames.reshape(frames.shape[0], -1, frames.shape[-1]))
        return x_bmd, mask_bm, jax.nn.log_softmax(logits_bsv.astype(jnp.float32))

    def _embed(self, tokens: StreamTokens):
        config = self.config
        first_id = jnp.cumsum(jnp.array((0, *config.n_ids[:-1])))
        x_bmd = self.id_embed(tokens.ids_bm + first_id[tokens.stream_bm])
        x_bmd = x_bmd + self.stream_embed(tokens.stream_bm)
        if config.hidden:
            projected = self.hidden(tokens.hidden_bmd.astype(jnp.float32))
            own = tokens.stream_bm[..., None, None]
            x_bmd = x_bmd + jnp.take_along_axis(projected, own, axis=2)[..., 0, :]
        features = [tokens.confidence_bm]
        if config.time:
            gap_bm, after_bm, median_bm = intervals(self._read(tokens), len(config.n_ids))
            median_bm = jnp.maximum(median_bm, SHORTEST_GAP_S)
            duration_bm = tokens.end_bm - tokens.start_bm
            features += [
                jnp.log1p(10 * duration_bm),
                jnp.log1p(10 * gap_bm),
                jnp.minimum(gap_bm, 2.0),
                (gap_bm > 0).astype(jnp.float32),
                *_radial_basis(gap_bm / median_bm),
                *_radial_basis(after_bm / median_bm),
            ]
        x_bmd = x_bmd + self.features(jnp.stack(features, axis=-1))
        return x_bmd * tokens.mask_bm[..., None]

    def _read(self, tokens: StreamTokens) -> StreamTokens:
        """Those of them that were read."""
        config = self.config
        if not any(config.unread):
            return tokens
        ids = [n - 1 if unread else -1 for n, unread in zip(config.n_ids, config.unread)]
        unread_bm = tokens.ids_bm == jnp.array(ids)[tokens.stream_bm]
        return dataclasses.replace(tokens, mask_bm=tokens.mask_bm & ~unread_bm)

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


def frame_mask(mask_bm, log_probs_bsv):
    """Gives the mask_bs of CTC frames from that of fused tokens."""
    return jnp.repeat(mask_bm, log_probs_bsv.shape[1] // mask_bm.shape[1], axis=1)


def read_ctc(fused_bmd, mask_bm, log_probs_bsv):
    """Reads what fusion says, by greedy CTC: ids_bn, mask_bn and x_bnd, a place for every frame.

    x_bnd is the mean of the fused tokens in whose frames it was read.
    """
    fused_bsd = jnp.repeat(fused_bmd, log_probs_bsv.shape[1] // mask_bm.shape[1], axis=1)
    clip_bs = jnp.where(frame_mask(mask_bm, log_probs_bsv), 0, -1)
    no_times_b1 = jnp.ones((len(mask_bm), 1))
    stream = ctc.greedy_stream(log_probs_bsv, fused_bsd, clip_bs, no_times_b1)
    return stream.ids_bn, stream.mask_bn, stream.hidden_bnd


def keep_streams(tokens: StreamTokens, keep_by) -> StreamTokens:
    """Masks the tokens of the streams for which `keep_by` is False, a bool for each stream y."""
    kept_bm = jnp.take_along_axis(keep_by, tokens.stream_bm, axis=1)
    return dataclasses.replace(tokens, mask_bm=tokens.mask_bm & kept_bm)
