"""LoRA on the decoder: attach, select for training, merge."""

from collections.abc import Sequence

import jax
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.models import layers
from signbind_jax.models.llm.decoder import Decoder

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")


def is_lora(path, value) -> bool:
    """NNX filter: the adapters' parameters and nothing else.

    Works in any module that holds a decoder, as in `nnx.split(model, is_lora, ...)`.
    """
    return "lora" in path and isinstance(value, nnx.Variable)


def add_lora(decoder: Decoder, *, rank: int, alpha: float, targets: Sequence[str] = TARGETS,
             rngs: nnx.Rngs) -> None:  # fmt: skip
    """Attaches fresh adapters to linear layers of every block, in place.

    The decoder's output is unchanged until the adapters are trained.

    Args:
      decoder: without adapters.
      rank: inner size of the adapters.
      alpha: the update is scaled by alpha / rank.
      targets: which linear layers, from TARGETS.
      rngs: source of the initial values.

    Raises:
      SignBindError: an unknown target, a rank below 1, or a layer that has an adapter.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown or not targets:
        raise SignBindError(
            f"lora: targets: found {list(unknown or targets)}, wanted some of {list(TARGETS)}"
        )
    if rank < 1:
        raise SignBindError(f"lora: rank: found {rank}, wanted at least 1")
    for target in targets:
        linear = getattr(decoder.layers, target)
        if linear.lora is not None:
            raise SignBindError(f"lora: targets: {target} has an adapter already; merge it first")

    for target in targets:
        linear = getattr(decoder.layers, target)

        def adapter(r, linear=linear):
            return layers.LoRA(linear.in_shape, linear.out_shape, linear.in_dims, linear.out_dims,
                               rank=rank, alpha=alpha, rngs=r)  # fmt: skip

        linear.lora = layers.stack(adapter, decoder.config.n_layers, rngs)


def merge_lora(decoder: Decoder) -> Decoder:
    """A decoder without adapters that computes the same, to float32 rounding.

    The decoder given is left as it is.
    """
    graphdef, state = nnx.split(decoder)
    # The map makes new variables around the same arrays: nothing is copied.
    merged = nnx.merge(graphdef, jax.tree.map(lambda x: x, state))
    for target in TARGETS:
        linear = getattr(merged.layers, target)
        if linear.lora is None:
            continue
        graphdef, state = nnx.split(linear.lora)
        update = jax.vmap(lambda s, graphdef=graphdef: nnx.merge(graphdef, s).merged())(state)
        linear.kernel[...] = linear.kernel[...] + update
        linear.lora = nnx.data(None)
    return merged
