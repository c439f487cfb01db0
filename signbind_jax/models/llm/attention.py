"""Attention of the decoder, whole or some rows at a time."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from signbind_jax.models import layers

# Bytes of float32 scores of a part, by kind of device: a fraction of its 128 MiB of fast memory.
# A v5p ("TPU v5") is not here: its compiler leaves the scores of a single row in HBM.
CHUNK_BYTES = {"TPU v5 lite": 2**25, "TPU v6 lite": 2**25}


def attention(q_bqhe, k_bhue, v_bhue, mask_bqu, cap: float = 0.0):
    """Attends by grouped queries (Ainslie et al., 2023), softmax in float32.

    x query heads in a row share one key head, which is read once for all of them. Rows that
    see nothing give zeros. Keys are head-major, the layout of the cache, because a cache
    that has to be transposed is a cache that is copied at every step.

    q_bqhe: scaled already. cap: squashes scores to cap * tanh(score / cap); 0: not.
    """
    b, q, n_heads, e = q_bqhe.shape
    h = k_bhue.shape[1]
    q_bqhxe = q_bqhe.reshape(b, q, h, n_heads // h, e)
    score = jnp.einsum("bqhxe,bhue->bhxqu", q_bqhxe, k_bhue, preferred_element_type=jnp.float32)
    if cap:
        score = cap * jnp.tanh(score / cap)
    see = mask_bqu[:, None, None]
    weight = jax.nn.softmax(jnp.where(see, score, -1e30), axis=-1) * see
    attended = jnp.einsum("bhxqu,bhue->bqhxe", weight.astype(v_bhue.dtype), v_bhue)
    return attended.reshape(b, q, n_heads, e)


def chunked(attend: Callable, q_bqhe, k_bhue, v_bhue, inputs):
    """Calls `attend` for some rows at a time, so that their scores need not leave the chip.

    The scores of a layer are several times its activations; written to and read from an
    accelerator's memory at each of their steps they take as long as a third of the products.
    Of a part of at most CHUNK_BYTES a compiler keeps them in fast memory. The backward pass
    computes each part's scores again. On devices that are not in CHUNK_BYTES, and without a mesh
    around the trace, all rows are one part.

    attend: (q, k, v, inputs) -> attended, of any number of rows.
    inputs: a pytree of arrays (b, ...).
    """
    b, q, h, _ = q_bqhe.shape
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    ways = math.prod(sizes.get(axis, 1) for axis in layers.ROW_AXES)
    own = b // ways if b % ways == 0 else b
    a_row = 4 * q * k_bhue.shape[2] * -(-h // sizes.get("tensor", 1))
    limit = CHUNK_BYTES.get(_device_kind())
    fitting = (n for n in range(1, own + 1) if own % n == 0 and n * a_row <= (limit or math.inf))
    part = max(fitting, default=1)
    if part == own:
        return attend(q_bqhe, k_bhue, v_bhue, inputs)

    def split(x):  # every n-th row, so that each device has its share of every part
        return jnp.swapaxes(x.reshape(b // (own // part), own // part, *x.shape[1:]), 0, 1)

    parts = jax.tree.map(split, (q_bqhe, k_bhue, v_bhue, inputs))
    out = jax.lax.map(jax.checkpoint(lambda part: attend(*part)), parts)
    attended_bqhe = jnp.swapaxes(out, 0, 1).reshape(b, *out.shape[2:])
    # Kept by remat as the results of linear layers are: to compute it again takes all parts.
    return checkpoint_name(attended_bqhe, layers.OF_LINEAR)


def _device_kind() -> str:
    """Names the devices of the mesh around the trace; empty where there is none."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.device_kind if device is not None else ""
