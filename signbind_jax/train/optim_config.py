"""OptimConfig: the `optim` section of a run's config."""

from dataclasses import dataclass, field
from typing import Annotated

from signbind_jax.ranges import Checked, Count, Positive, Range, Rate, Share, Strength, Text, Whole


@dataclass(frozen=True)
class OptimConfig(Checked):
    """AdamW with linear warm-up and cosine decay to `final_share` of the peak.

    Attributes:
      warmup_share: the warm-up as a share of all steps, in place of `warmup_steps`; 0: those.
      average: share of the steps so far over which weights are averaged, see
        `train.optim.average_weights`; the averages are what is scored, kept and handed on.
        0: the weights themselves are.
      factors: part of the model (`fusion`, `projector`, `decoder` of alignment and translation)
        -> factor of its learning rate and weight decay; 1 where a part is not named.
    """

    learning_rate: Annotated[float, Range(above=0, most=10)] = 1e-3
    warmup_steps: Whole = 100
    warmup_share: Rate = 0.0
    final_share: Share = 0.02
    weight_decay: Strength = 0.01
    b1: Rate = 0.9
    b2: Rate = 0.98
    clip_norm: Positive = 1.0
    accumulate: Count = 1
    average: Share = 0.0
    factors: dict[Text, Annotated[float, Range(0, 1000)]] = field(default_factory=dict)
