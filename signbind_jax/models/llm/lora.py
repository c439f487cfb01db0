"""LoRA on a language model: which adapters, attach, select for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

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
    """Filters for NNX: the adapters' parameters and nothing else.

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
            raise field_error("lora", "targets", target, "a layer without an adapter")

    for target in config.targets:
        adapter = partial(layers.LoRA, linears[target], rank=rank, alpha=alpha, dropout=dropout)
        linears[target].lora = layers.stack(
            lambda rngs, make=adapter: make(rngs=rngs), model.config.n_layers, rngs
        )


def lora_config(model: LanguageModel) -> LoRAConfig:
    """Says what a model's adapters are; rank 0 where it has none.

    Raises:
      SignBindError: they are not alike.
    """
    linears = model.linears()
    found = {t: linears[t].lora for t in TARGETS if linears[t].lora is not None}
    kinds = {(lora.rank, lora.alpha, lora.dropout) for lora in found.values()}
    if len(kinds) > 1:
        raise field_error("lora", "rank, alpha, dropout", sorted(kinds), "the same in every layer")
    return LoRAConfig(*kinds.pop(), tuple(found)) if kinds else LoRAConfig()
