"""Temporal encoder: strided convolution subsampling, then Conformer blocks."""

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models.layers import (
    Linear,
    RMSNorm,
    attend,
    dropout,
    normal_init,
    param,
    rotate,
    scan_layers,
    stack,
)
from signbind_jax.models.time_shift import time_shift

zeros = jax.nn.initializers.zeros


def n_steps(n_frames, subsample: int):
    """Counts the steps of a clip of `n_frames` (number or array): ceil(frames / subsample)."""
    return -(-n_frames // subsample)


class ConvSubsample(nnx.Module):
    """Convolution over time of kernel 3 and stride 2; step s is centred on frame 2s."""

    def __init__(self, d: int, rngs: nnx.Rngs):
        self.linear = Linear((3 * d,), (d,), ("input",), ("model",), bias=True, rngs=rngs)
        self.norm = RMSNorm(d, rngs=rngs)

    def __call__(self, x_btd, clip_bt):
        b, t, d = x_btd.shape
        x_btd = jnp.pad(x_btd * (clip_bt >= 0)[..., None], ((0, 0), (0, t % 2), (0, 0)))
        clip_bt = jnp.pad(clip_bt, ((0, 0), (0, t % 2)), constant_values=-1)
        clip_bs = clip_bt.reshape(b, -1, 2).max(axis=-1)
        x_bsd = x_btd.reshape(b, -1, 2 * d)
        before_bsd = time_shift(x_bsd[..., d:], 1, clip_bs)
        x_bsd = self.linear(jnp.concatenate([before_bsd, x_bsd], axis=-1))
        return self.norm(jax.nn.silu(x_bsd)), clip_bs


def depthwise(x_bsd, kernel_wd, clip_bs):
    """Convolves over time channel by channel, centred, zeros beyond the ends of a clip."""
    n = kernel_wd.shape[0]
    return sum(time_shift(x_bsd, n // 2 - i, clip_bs) * kernel_wd[i] for i in range(n))


class FeedForward(nnx.Module):
    """Norm, two linear layers with SiLU between."""

    def __init__(self, d: int, d_mlp: int, rngs: nnx.Rngs):
        self.norm = RMSNorm(d, rngs=rngs)
        self.inner = Linear((d,), (d_mlp,), ("model",), ("mlp",), bias=True, rngs=rngs)
        self.outer = Linear((d_mlp,), (d,), ("mlp",), ("model",), rngs=rngs)

    def __call__(self, x_bsd):
        return self.outer(jax.nn.silu(self.inner(self.norm(x_bsd))))


class SelfAttention(nnx.Module):
    """Norm, multi-head self-attention with rotary positions counted in steps.

    reach: steps before and behind a step that it attends to; 0: all of its clip.
    """

    def __init__(self, d: int, n_heads: int, rngs: nnx.Rngs, reach: int = 0):
        self.reach = reach
        self.norm = RMSNorm(d, rngs=rngs)
        e = d // n_heads
        self.qkv = Linear(
            (d,), (3, n_heads, e), ("model",), ("kernel", "heads", "head_size"), rngs=rngs
        )
        self.out = Linear((n_heads, e), (d,), ("heads", "head_size"), ("model",), rngs=rngs)

    def __call__(self, x_bsd, clip_bs):
        q_bshe, k_bshe, v_bshe = jnp.moveaxis(self.qkv(self.norm(x_bsd)), 2, 0)
        position_bs = jnp.arange(x_bsd.shape[1])[None]
        mask_bqu = (clip_bs[:, None, :] == clip_bs[:, :, None]) & (clip_bs >= 0)[:, None, :]
        if self.reach:
            far_bqu = jnp.abs(position_bs[:, :, None] - position_bs[:, None])
            mask_bqu &= far_bqu <= self.reach
        q_bshe, k_bshe = rotate(q_bshe, position_bs), rotate(k_bshe, position_bs)
        return self.out(attend(q_bshe, k_bshe, v_bshe, mask_bqu))


class GatedConvolution(nnx.Module):
    """Norm, gated linear unit, depthwise convolution over time, norm, SiLU, linear."""

    def __init__(self, d: int, kernel: int, rngs: nnx.Rngs):
        self.norm = RMSNorm(d, rngs=rngs)
        self.gate = Linear((d,), (2, d), ("model",), ("kernel", "mlp"), bias=True, rngs=rngs)
        self.depthwise = param(rngs, normal_init(kernel**-0.5), (kernel, d), ("kernel", "mlp"))
        self.inner_norm = RMSNorm(d, rngs=rngs, dim="mlp")
        self.out = Linear((d,), (d,), ("mlp",), ("model",), rngs=rngs)

    def __call__(self, x_bsd, clip_bs):
        gated = self.gate(self.norm(x_bsd))
        x_bsd = gated[:, :, 0] * jax.nn.sigmoid(gated[:, :, 1]) * (clip_bs >= 0)[..., None]
        x_bsd = depthwise(x_bsd, self.depthwise[...].astype(x_bsd.dtype), clip_bs)
        return self.out(jax.nn.silu(self.inner_norm(x_bsd)))


class ConformerBlock(nnx.Module):
    """Half-step feed-forward, attention, convolution, half-step feed-forward, norm.

    Gulati et al. (2020), "Conformer", with root-mean-square norms in place of layer and
    batch norms, so that neither padding nor the rest of the batch reaches a step.
    """

    def __init__(self, config, rngs: nnx.Rngs, reach: int = 0):
        d = config.d_model
        self.feed_in = FeedForward(d, config.d_mlp, rngs)
        self.attention = SelfAttention(d, config.n_heads, rngs, reach)
        self.convolution = GatedConvolution(d, config.conv_kernel, rngs)
        self.feed_out = FeedForward(d, config.d_mlp, rngs)
        self.norm = RMSNorm(d, rngs=rngs)
        self.rate = config.dropout

    def __call__(self, x_bsd, clip_bs, key=None):
        keys = (None,) * 4 if key is None else jax.random.split(key, 4)
        x_bsd = x_bsd + 0.5 * dropout(self.feed_in(x_bsd), self.rate, keys[0])
        x_bsd = x_bsd + dropout(self.attention(x_bsd, clip_bs), self.rate, keys[1])
        x_bsd = x_bsd + dropout(self.convolution(x_bsd, clip_bs), self.rate, keys[2])
        x_bsd = x_bsd + 0.5 * dropout(self.feed_out(x_bsd), self.rate, keys[3])
        return self.norm(x_bsd)


class TemporalEncoder(nnx.Module):
    """Frames to steps: log2(subsample) halvings, then n_layers stacked Conformer blocks.

    reach: as of `SelfAttention`.
    """

    def __init__(self, config, rngs: nnx.Rngs, reach: int = 0):
        self.halvings = nnx.List(
            [ConvSubsample(config.d_model, rngs) for _ in range(config.subsample.bit_length() - 1)]
        )
        self.blocks = stack(lambda r: ConformerBlock(config, r, reach), config.n_layers, rngs)
        self.n_layers, self.remat = config.n_layers, config.remat

    def __call__(self, x_btd, clip_bt, key=None):
        """Encodes x_btd, clip_bt: (x_bsd, clip_bs) with s = n_steps(t, subsample).

        `clip_bt` says which clip of its row a frame belongs to (-1: none). Clips do not see each
        other; each has to begin at a multiple of `subsample`.
        """
        for halving in self.halvings:
            x_btd, clip_bt = halving(x_btd, clip_bt)
        keys = None if key is None else jax.random.split(key, self.n_layers)
        x_bsd = scan_layers(
            self.blocks,
            x_btd,
            lambda block, x, k: block(x, clip_bt, k),
            keys=keys,
            remat=self.remat,
        )
        return x_bsd, clip_bt
