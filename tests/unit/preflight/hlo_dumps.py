"""Optimised HLO of small programs, for tests; run as a program: on eight simulated devices.

usage: hlo_dumps.py; prints the HLO of `gathered_in_a_loop`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

LAYERS, ROWS, WIDTH = 5, 16, 64


def optimised(function: Callable, *args) -> str:
    """The HLO that XLA makes of a function."""
    return jax.jit(function).lower(*args).compile().as_text()


def layer(x_bd, w_dd):
    """One product, with something that is not linear behind it."""
    return jnp.tanh(x_bd @ w_dd)


def scanned(x_bd, w_ldd):
    """Layers in a loop."""
    return jax.lax.scan(lambda x, w: (layer(x, w), None), x_bd, w_ldd)[0]


def unrolled(x_bd, w_ldd):
    """The same layers one by one."""
    for w_dd in w_ldd:
        x_bd = layer(x_bd, w_dd)
    return x_bd


def loss(remat: bool) -> Callable:
    """The sum of what two scanned products a layer give; `remat`: nothing of them is kept."""

    def body(x_bd, w):
        up_df, down_fd = w
        return jnp.sin(jnp.sin(x_bd @ up_df) @ down_fd), None

    if remat:
        body = jax.checkpoint(body, policy=jax.checkpoint_policies.nothing_saveable)
    return lambda w, x_bd: jnp.sum(jax.lax.scan(body, x_bd, w)[0])


def gathered_in_a_loop() -> str:
    """Layers whose weights each device holds an eighth of and gathers before use."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))

    def place(shape, *spec):
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, P(*spec)))

    def call(x_bd, w_dd):
        whole = jax.lax.with_sharding_constraint(w_dd, NamedSharding(mesh, P()))
        x_bd = jnp.tanh(x_bd @ whole)
        return jax.lax.with_sharding_constraint(x_bd, NamedSharding(mesh, P("x"))), None

    def run(x_bd, w_ldd):
        return jax.lax.scan(call, x_bd, w_ldd)[0]

    args = place((8 * ROWS, WIDTH), "x"), place((LAYERS, WIDTH, WIDTH), None, "x")
    return jax.jit(run).lower(*args).compile().as_text()


if __name__ == "__main__":
    print(gathered_in_a_loop())
