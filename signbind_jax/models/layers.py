"""Building blocks that every model shares: parameters with named dimensions, linear
layers with optional LoRA, norms, rotary positions, attention, stacked layers."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from signbind_jax.models import random_bits

OF_LINEAR = "of a linear layer"  # the name under which a remat policy finds its results

ROW_AXES = ("data", "fsdp")  # mesh axes over which the rows of a batch are spread

# Logical dimension names; `signbind_jax.distributed.sharding` maps them to mesh axes.
DIMENSIONS = (
    "model",
    "heads",
    "kv_heads",
    "head_size",
    "mlp",
    "vocab",
    "ctc_vocab",
    "input",
    "kernel",
    "rank",
    "layers",
    "channels",
)


class NoValues(nnx.Rngs):
    """In place of random numbers for a model that is made for its shapes; see `abstract`."""


def abstract(make: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    """The module that `make` makes, with shapes in place of values.

    How the values would be drawn is not traced, which would take longer than all the rest.
    """
    return nnx.eval_shape(lambda: make(NoValues(params=0)))


def param(rngs: nnx.Rngs, init: Callable, shape: Sequence[int], dims: Sequence[str]) -> nnx.Param:
    """Makes a float32 parameter whose dimensions carry logical names (`param.dims`)."""
    unknown = [d for d in dims if d not in DIMENSIONS]
    if len(shape) != len(dims) or unknown:
        raise ValueError(f"parameter of shape {tuple(shape)} with dimension names {dims}")
    shape = tuple(shape)
    if isinstance(rngs, NoValues):
        value = jnp.zeros(shape)
    else:
        value = init(rngs.params(), shape, jnp.float32)
    return nnx.Param(value, dims=tuple(dims))


def fan_in_init(fan_in: int) -> Callable:
    """Makes an initialiser: truncated normal with variance 1/fan_in."""
    return normal_init(1.0 / math.sqrt(max(fan_in, 1)))


def normal_init(stddev: float) -> Callable:
    """Makes an initialiser: truncated normal of the given standard deviation."""

    def init(key, shape, dtype):
        return (stddev * random_bits.truncated_normal(key, shape)).astype(dtype)

    return init


class LoRA(nnx.Module):
    """Low-rank update of one linear layer: (alpha / rank) * dropout(x) A B (Hu et al., 2021).

    B starts at zero, so a fresh adapter changes nothing. The arithmetic is float32 whatever
    x and the kernel are, as in PEFT: A and B learn from small differences.
    """

    def __init__(
        self, linear: "Linear", *, rank: int, alpha: float, rngs: nnx.Rngs, dropout: float = 0.0
    ):
        """Makes an adapter that fits `linear`, which is not kept.

        dropout: rate on the adapter's input, where a call brings a key.
        """
        in_shape, out_shape = linear.in_shape, linear.out_shape
        init = fan_in_init(math.prod(in_shape))
        self.a = param(rngs, init, (*in_shape, rank), (*linear.in_dims, "rank"))
        zeros = jax.nn.initializers.zeros
        self.b = param(rngs, zeros, (rank, *out_shape), ("rank", *linear.out_dims))
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.scale = alpha / rank
        self.n_in = len(in_shape)

    def __call__(self, x, key=None):
        """Gives the update in float32; `key` switches dropout on."""
        x = dropout(x.astype(jnp.float32), self.dropout, key)
        a, b = self.a[...].astype(jnp.float32), self.b[...].astype(jnp.float32)
        return _low_rank(self.n_in, self.scale, x, a, b)

    def merged(self):
        """Gives the dense update in float32, shaped like the kernel."""
        a, b = self.a[...].astype(jnp.float32), self.b[...].astype(jnp.float32)
        # An accelerator would multiply in bfloat16 unless told otherwise.
        return jnp.tensordot(a, b, axes=1, precision=jax.lax.Precision.HIGHEST) * self.scale


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _low_rank(n_in: int, scale: float, x, a, b):
    """Computes scale * x A B, contracting the last `n_in` dimensions of x.

    Both gradients are formed with the few numbers a token on the left and row by row. XLA's own
    choice on a CPU turns the large operand instead and takes up to six times as long (2.0 against
    0.3 ms for 572 tokens of 1,536 and rank 16; docs/develop/training_speed.md). Those few numbers
    are what is scaled, for the same reason.
    """
    return _low_rank_forward(n_in, scale, x, a, b)[0]


def _low_rank_forward(n_in, scale, x, a, b):
    low = scale * jnp.tensordot(x, a, axes=n_in)
    low = checkpoint_name(low, OF_LINEAR)  # a few numbers a token; x need not be read again
    return jnp.tensordot(low, b, axes=1), (x, low, a, b)


def _low_rank_backward(n_in, scale, saved, d_y):
    x, low, a, b = saved
    tokens, outputs = tuple(range(low.ndim - 1)), tuple(range(low.ndim - 1, d_y.ndim))
    # Barriers, or the compiler turns the other operand after all.
    low_turned = jax.lax.optimization_barrier(jnp.moveaxis(low, -1, 0))
    d_b = jnp.tensordot(low_turned, d_y, axes=(tuple(t + 1 for t in tokens), tokens))
    d_low = scale * jnp.tensordot(d_y, b, axes=(outputs, tuple(range(1, b.ndim))))
    d_a_turned = jax.lax.optimization_barrier(jnp.tensordot(d_low, x, axes=(tokens, tokens)))
    d_x = jnp.tensordot(d_low, a, axes=(-1, -1))
    return d_x, jnp.moveaxis(d_a_turned, 0, -1), d_b


_low_rank.defvjp(_low_rank_forward, _low_rank_backward)


class Linear(nnx.Module):
    """y = x W (+ bias), contracting the last `len(in_shape)` dimensions of x.

    `Linear((d,), (h, e), ("model",), ("heads", "head_size"))` maps x_bqd to y_bqhe. A kernel
    may be stored in another dtype than x; y has that of x.
    """

    def __init__(
        self,
        in_shape,
        out_shape,
        in_dims,
        out_dims,
        *,
        rngs: nnx.Rngs,
        bias: bool = False,
        init: Callable | None = None,
    ):
        in_shape, out_shape = tuple(in_shape), tuple(out_shape)
        self.in_shape, self.out_shape = in_shape, out_shape
        self.in_dims, self.out_dims = tuple(in_dims), tuple(out_dims)
        self.kernel = param(
            rngs,
            init or fan_in_init(math.prod(in_shape)),
            in_shape + out_shape,
            self.in_dims + self.out_dims,
        )
        self.bias = (
            param(rngs, jax.nn.initializers.zeros, out_shape, self.out_dims) if bias else None
        )
        self.lora = nnx.data(None)  # data, so that an adapter may take its place

    def __call__(self, x, key=None):
        """Computes y; key: of the adapter's dropout, None switches it off."""
        y = jnp.tensordot(x, self.kernel[...].astype(x.dtype), axes=len(self.in_shape))
        if self.bias is not None:
            y = y + self.bias[...].astype(x.dtype)
        if self.lora is not None:
            # Rounded before the sum, or bfloat16 layers hold their update in float32 (6 GiB a chip
            # of a 3 B model on v6e, docs/develop/decisions.md).
            y = y + self.lora(x, key).astype(y.dtype)
        return checkpoint_name(y, OF_LINEAR)

    def merged_kernel(self, dtype=None):
        """Gives the kernel with its adapter's update, in `dtype` (default: the kernel's own).

        The sum is formed in float32 and rounded once: of a bfloat16 kernel it is the nearest
        bfloat16 to the exact sum, from which it differs by up to 2**-8 of each weight.
        """
        kernel = self.kernel[...]
        if self.lora is None:
            return kernel.astype(dtype or kernel.dtype)
        merged = kernel.astype(jnp.float32) + self.lora.merged()
        return merged.astype(dtype or kernel.dtype)


class RMSNorm(nnx.Module):
    """Root-mean-square norm over the last dimension (Zhang & Sennrich, 2019), in float32."""

    def __init__(
        self,
        d: int,
        *,
        rngs: nnx.Rngs,
        eps: float = 1e-6,
        dim: str = "model",
        plus_one: bool = False,
    ):
        """Makes the scale, with `plus_one` stored as its difference from one."""
        init = jax.nn.initializers.zeros if plus_one else jax.nn.initializers.ones
        self.scale = param(rngs, init, (d,), (dim,))
        self.eps, self.plus_one = eps, plus_one

    def __call__(self, x):
        x32 = x.astype(jnp.float32)
        x32 = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + self.eps)
        scale = self.scale[...].astype(jnp.float32)
        return (x32 * (scale + 1.0 if self.plus_one else scale)).astype(x.dtype)


class Embed(nnx.Module):
    """A table of v vectors of size d."""

    def __init__(self, v: int, d: int, *, rngs: nnx.Rngs, dim: str = "vocab"):
        self.table = param(rngs, normal_init(d**-0.5), (v, d), (dim, "model"))

    def __call__(self, ids):
        return jnp.take(self.table[...], ids, axis=0)


def rotate(x_bqhe, position_bq):
    """Applies rotary position embedding (Su et al., 2021), half-split layout, base 10,000."""
    e = x_bqhe.shape[-1]
    frequency_e = 10_000.0 ** (-jnp.arange(0, e // 2, dtype=jnp.float32) * 2.0 / e)
    angle_bqe = position_bq[..., None].astype(jnp.float32) * frequency_e
    return apply_rotation(x_bqhe, jnp.cos(angle_bqe), jnp.sin(angle_bqe))


def apply_rotation(x_bqhe, cos_bqe, sin_bqe):
    """Rotates the two halves of the last dimension by the given angles."""
    x1, x2 = jnp.split(x_bqhe.astype(jnp.float32), 2, axis=-1)
    cos, sin = cos_bqe[:, :, None, :], sin_bqe[:, :, None, :]
    rotated = jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1)
    return rotated.astype(x_bqhe.dtype)


def attend(q_bqhe, k_buhe, v_buhe, mask_bqu, bias_bhqu=None):
    """Attends with a softmax in float32; rows with nothing to attend to give zeros."""
    score = jnp.einsum("bqhe,buhe->bhqu", q_bqhe, k_buhe).astype(jnp.float32)
    score = score / math.sqrt(q_bqhe.shape[-1])
    if bias_bhqu is not None:
        score = score + bias_bhqu
    mask = mask_bqu[:, None]
    score = jnp.where(mask, score, -1e30)
    weight = jax.nn.softmax(score, axis=-1) * mask
    return jnp.einsum("bhqu,buhe->bqhe", weight.astype(v_buhe.dtype), v_buhe)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def gated(activation: Callable, gate, up):
    """Computes activation(gate) * up (gated linear unit: Shazeer, 2020).

    The backward pass computes both gradients once and keeps them. Left to itself a compiler
    computes them again in each product that reads them, from three arrays each time, which is
    what limits the adapters of a large decoder (docs/develop/decisions.md).
    """
    return _gated(activation, gate, up)


def _gated(activation, gate, up):
    return activation(gate) * up


def _gated_forward(activation, gate, up):
    return _gated(activation, gate, up), (gate, up)


def _gated_backward(activation, saved, d_inner):
    _, pull = jax.vjp(partial(_gated, activation), *saved)
    return jax.lax.optimization_barrier(pull(d_inner))


gated.defvjp(_gated_forward, _gated_backward)


def dropout(x, rate: float, key):
    """Drops and rescales; the identity where `key` is None or the rate is 0."""
    if key is None or rate == 0.0:
        return x
    keep = random_bits.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)


def over_rows(x):
    """Spreads the rows of x over `ROW_AXES` of the mesh that surrounds the trace, if any.

    Left to itself the partitioner takes activations apart along the dimension in which weights
    are stored apart (`fsdp`): every device then computes with all rows and sums up after every
    product, where it should gather the weights and keep its rows.
    """
    axes = tuple(a for a in ROW_AXES if a in jax.sharding.get_abstract_mesh().axis_names)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(axes)) if axes else x


def stack(make_layer: Callable[[nnx.Rngs], nnx.Module], n: int, rngs: nnx.Rngs) -> nnx.Module:
    """Makes n layers in one module whose parameters have a leading `layers` dimension."""
    graphdefs = []

    @jax.vmap
    def init(key):
        # The structure is noted while tracing; a layer made for it alone would be compiled
        # for nothing.
        graphdef, state = nnx.split(make_layer(type(rngs)(params=key)))
        graphdefs.append(graphdef)
        return state

    states = init(jax.random.split(rngs.params(), n))
    stacked = nnx.merge(graphdefs[0], states)
    for _, variable in nnx.iter_graph(stacked):
        if isinstance(variable, nnx.Param):
            variable.set_metadata(dims=("layers", *variable.dims))
    return stacked


def scan_layers(
    stacked: nnx.Module,
    x,
    call: Callable,
    *,
    keys=None,
    remat: bool = False,
    keep_linear: bool = False,
):
    """Runs stacked layers in turn: x = call(layer, x, key).

    keys: a pytree of arrays (layers, ...), of which each layer gets its own, or None.
    remat: the backward pass computes the inside of each layer again, but for the results of
      linear layers where `keep_linear`.
    """
    graphdef, state = nnx.split(stacked)

    def body(x, step):
        layer_state, key = step
        return over_rows(call(nnx.merge(graphdef, layer_state), over_rows(x), key)), None

    if remat:
        # Named results, not every matrix product: those of adapters are float32 and their sum
        # with the frozen layer's is all that the rest of the block reads.
        keep = jax.checkpoint_policies.save_only_these_names(OF_LINEAR) if keep_linear else None
        body = jax.checkpoint(body, policy=keep)
    x, _ = jax.lax.scan(body, x, (state, keys))
    return x
