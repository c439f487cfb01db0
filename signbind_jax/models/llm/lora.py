"""LoRA on a language model: which adapters, attach, select for training, merge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.llm.language_model import LanguageModel
from signbind_jax.ranges import Checked, Matching, OneOf, Positive, Range, Rate, field_error

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
Rank = Annotated[int, Range(0, 2**16)]
Targets = Annotated[
    tuple[Annotated[str, OneOf(*TARGETS)], ...],
    Matching(lambda names: 0 < len(names) == len(set(names)), "at least one and each once"),
]


@dataclass(frozen=True)
class LoRAConfig(Checked):
    """Adapters on a language model's linear layers.

    Attributes:
      rank: inner size of the adapters; 0: there are none.
      alpha: an adapter's update is scaled by alpha / rank.
      dropout: rate on the adapters' input while training, 0..1; the frozen layer beside an
        adapter sees all of its input.
      targets: which linear layers of every block, some of TARGETS.
    """

    rank: Rank = 0
    alpha: Positive = 16.0
    dropout: Rate = 0.0
    targets: Targets = TARGETS


def is_lora(path, value) -> bool:
    """NNX filter: the adapters' parameters and nothing else.

    Works in any module that holds a language model, as in `nnx.split(model, is_lora, ...)`.
    """
    return "lora" in path and isinstance(value, nnx.Variable)


def add_lora(
    model: LanguageModel,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets: Sequence[str] = TARGETS,
    rngs: nnx.Rngs,
) -> None:
    """Attaches fresh float32 adapters to linear layers of every block, in place.

    The model's output is unchanged until the adapters are trained.

    Args:
      model: without adapters.
      rank, alpha, dropout, targets: see LoRAConfig; rank at least 1.
      rngs: source of the initial values.

    Raises:
      SignBindError: a value that LoRAConfig refuses, or a layer that has an adapter.
    """
    config = LoRAConfig(rank, alpha, dropout, targets)
    if not config.rank:
        raise field_error("lora", "rank", rank, "at least 1")
    linears = model.linears()
    for target in config.targets:
        if linears[target].lora is not None:
            wanted = "a layer without an adapter (merge_lora first)"
            raise field_error("lora", "targets", target, wanted)

    for target in config.targets:
        linear = linears[target]

        def adapter(r, linear=linear):
            return layers.LoRA(
                linear.in_shape,
                linear.out_shape,
                linear.in_dims,
                linear.out_dims,
                rank=rank,
                alpha=alpha,
                rngs=r,
                dropout=dropout,
            )

        linear.lora = layers.stack(adapter, model.config.n_layers, rngs)


def lora_config(model: LanguageModel) -> LoRAConfig:
    """What a model's adapters are; rank 0 where it has none.

    Raises:
      SignBindError: they are not alike.
    """
    linears = model.linears()
    found = {t: linears[t].lora for t in TARGETS if linears[t].lora is not None}
    kinds = {(lora.rank, lora.alpha, lora.dropout) for lora in found.values()}
    if len(kinds) > 1:
        raise field_error("lora", "rank, alpha, dropout", sorted(kinds), "the same in every layer")
    return LoRAConfig(*kinds.pop(), tuple(found)) if kinds else LoRAConfig()


def merge_lora(model: LanguageModel) -> LanguageModel:
    """A model without adapters that computes the same, to the rounding of its kernels.

    The sum is formed in float32 and rounded once to the kernel's dtype (see
    `layers.Linear.merged_kernel`): float32 kernels stay exact to float32 rounding. The
    model given is left as it is.
    """
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
