"""Segmenter: a pose frontend, a temporal encoder and one logit a step: does a sentence end here?"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models.frontends import PARTS, PoseFrontend
from signbind_jax.models.layers import Linear
from signbind_jax.models.temporal_encoder import TemporalEncoder
from signbind_jax.ranges import (
    Checked,
    Count,
    DTypeName,
    Layers,
    Matching,
    NonEmpty,
    OneOf,
    Rate,
    Size,
)


@dataclass(frozen=True)
class SegmenterConfig(Checked):
    """Shape of a segmenter; its fields mean what those of `ExpertConfig` do.

    Attributes:
      reach: steps before and behind a step that a layer attends to. So what is said of a moment
        follows from what is near it, however long the recording.
    """

    d_model: Size = 128
    n_layers: Layers = 2
    n_heads: Size = 4
    conv_kernel: Annotated[Size, Matching(lambda n: n % 2, "odd, so that it is centred")] = 9
    d_mlp: Size = 256
    subsample: Annotated[int, Matching(lambda n: n in (1, 2, 4), "1, 2 or 4")] = 4
    dropout: Rate = 0.1
    d_part: Size = 64
    reach: Count = 12
    parts: Annotated[tuple[Annotated[str, OneOf(*PARTS)], ...], NonEmpty] = tuple(PARTS)
    dtype: DTypeName = "float32"
    remat: bool = False

    def conflicts(self):
        if self.d_model % (2 * self.n_heads):
            yield "n_heads", f"a number for which d_model {self.d_model} gives heads of even size"

    @property
    def context_frames(self) -> int:
        """Frames before and behind a frame that what is said of it depends on at most; a multiple
        of `subsample`."""
        steps = self.n_layers * (self.reach + self.conv_kernel // 2)
        # Two for halvings and for how points move; one, as a frame lies between two steps.
        return self.subsample * (steps + 3)


class Segmenter(nnx.Module):
    """A recording to the log odds that a sentence ends and the next begins, step by step."""

    def __init__(self, config: SegmenterConfig, rngs: nnx.Rngs):
        self.config = config
        self.frontend = PoseFrontend(config, rngs)
        self.encoder = TemporalEncoder(config, rngs, config.reach)
        self.head = Linear((config.d_model,), (1,), ("model",), ("kernel",), bias=True, rngs=rngs)

    def __call__(self, x_btkc, real_bt, key=None) -> tuple[jax.Array, jax.Array]:
        """Reads rows as one sequence each; `key` switches dropout on.

        Args:
          x_btkc: (b, t, 91, 3) keypoints in shoulder widths.
          real_bt: bool, False in padding, which stands behind all else and has no influence.

        Returns:
          float32 log odds logits_bs of steps of `subsample` frames, and which steps are real.
        """
        keys = (None, None) if key is None else jax.random.split(key)
        row_bt = jnp.where(real_bt, 0, -1)  # one clip: joints are no borders
        x_btd = self.frontend(jnp.where(real_bt[..., None, None], x_btkc, 0), keys[0], row_bt)
        hidden_bsd, row_bs = self.encoder(x_btd, row_bt, keys[1])
        return self.head(hidden_bsd)[..., 0].astype(jnp.float32), row_bs >= 0
