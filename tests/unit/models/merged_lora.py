"""A decoder with its adapters merged, for comparison with what is exported or trained."""

import jax
from flax import nnx


def merge_lora(model: nnx.Module) -> nnx.Module:
    """The model without adapters that computes the same; the one given is left as it is."""
    graphdef, state = nnx.split(model)
    # The map makes new variables around the same arrays: nothing is copied.
    merged = nnx.merge(graphdef, jax.tree.map(lambda x: x, state))
    for linear in merged.linears().values():
        if linear.lora is None:
            continue
        graphdef, state = nnx.split(linear)

        def one(layer, graphdef=graphdef):
            return nnx.merge(graphdef, layer).merged_kernel()

        # Layer by layer, so that no float32 copy of the whole stack exists.
        linear.kernel[...] = jax.lax.map(one, state)
        linear.lora = nnx.data(None)
    return merged
