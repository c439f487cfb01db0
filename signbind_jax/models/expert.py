"""Expert: a frontend, a temporal encoder and a CTC head for one modality."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.data.batch import MODALITIES
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.models import temporal_encoder
from signbind_jax.models.frontends import (
    PARTS,
    HandShapeFrontend,
    LipFrontend,
    MouthLandmarkFrontend,
    PoseFrontend,
    lip_cell,
)
from signbind_jax.models.layers import Linear
from signbind_jax.models.temporal_encoder import TemporalEncoder
from signbind_jax.ranges import (
    LARGEST,
    Checked,
    DTypeName,
    Layers,
    Matching,
    NonEmpty,
    OneOf,
    Range,
    Rate,
    Size,
    Whole,
)

FRONTENDS = {
    "pose": PoseFrontend,
    "lips": LipFrontend,
    "mouth_landmarks": MouthLandmarkFrontend,
    "hand_shape": HandShapeFrontend,
}
_SHIPPED_FRONTENDS = tuple(FRONTENDS)


def register_frontend(name: str, frontend: Callable, modality: str = "pose") -> None:
    """Adds a frontend, or replaces one that was added before.

    Args:
      name: what `model.frontend` calls it.
      frontend: (ExpertConfig, nnx.Rngs) -> a module that is called as those of
        `models/frontends.py`: (x, key, clip_bt) -> (b, t, d_model).
      modality: what it reads of a clip: "pose", (b, t, 91, 3) keypoints in shoulder widths, or
        "lips", (b, f, size, size) crops.

    Raises:
      SignBindError: a shipped frontend has the name; another modality.
    """
    if name in _SHIPPED_FRONTENDS or modality not in ("pose", "lips"):
        raise SignBindError(
            f"frontend: found {shorten(name)} of {shorten(modality)}, wanted pose or lips, and "
            f"another name than the shipped {', '.join(_SHIPPED_FRONTENDS)}"
        )
    FRONTENDS[name], MODALITIES[name] = frontend, modality


Channels = Annotated[tuple[Size, ...], Matching(lambda c: 2 <= len(c) <= 20, "2 to 20 long")]


@dataclass(frozen=True)
class ExpertConfig(Checked):
    """Shape of one expert.

    Attributes:
      frontend: "pose", "lips", "mouth_landmarks", "hand_shape" or one that `register_frontend`
        added.
      n_tokens: size of the vocabulary, the blank (id 0) included.
      d_model, n_layers, n_heads, conv_kernel, d_mlp: the Conformer; the kernel in steps.
      subsample: frames a step, 1, 2 or 4; a run halves it where that is too few steps for more of
        its corpus's targets than `data.max_impossible`.
      dropout: rate within the frontend and on every residual branch.
      d_part: size of one part's embedding (pose, hand_shape; twice this inside mouth_landmarks).
      parts: which parts the pose frontend reads.
      lip_size: height and width of a mouth crop in pixels; where a run's config does not say,
        those of its dataset.
      lip_margin: pixels along every edge of it that are not looked at: a mouth fills the middle.
      lip_patch: side in pixels of the patches the lip stem reads; its stride.
      channels: channels of the lip frontend's stages; each but the first halves the image.
      dtype: of the computation; parameters, norms' sums and log posteriors are float32.
      remat: recompute each block in the backward pass instead of keeping it.
    """

    frontend: Annotated[str, OneOf(more=FRONTENDS.keys)]
    n_tokens: Annotated[int, Range(2, LARGEST)]  # the blank and at least one token
    d_model: Size = 128
    n_layers: Layers = 3
    n_heads: Size = 4
    conv_kernel: Annotated[Size, Matching(lambda n: n % 2, "odd, so that it is centred")] = 9
    d_mlp: Size = 256
    subsample: Annotated[int, Matching(lambda n: n in (1, 2, 4), "1, 2 or 4")] = 2
    dropout: Rate = 0.1
    d_part: Size = 64
    parts: Annotated[tuple[Annotated[str, OneOf(*PARTS)], ...], NonEmpty] = tuple(PARTS)
    lip_size: Size = 32
    lip_margin: Whole = 0
    lip_patch: Size = 4
    channels: Channels = (16, 32, 64)
    dtype: DTypeName = "float32"
    remat: bool = False

    def conflicts(self):
        if self.d_model % (2 * self.n_heads):
            yield "n_heads", f"a number for which d_model {self.d_model} gives heads of even size"
        cell = lip_cell(self.lip_patch, self.channels)
        if self.lip_side <= 0 or self.lip_side % cell:
            less = " behind the margins" if self.lip_margin else ""
            yield "lip_size", f"a multiple of {cell}{less}, which channels {self.channels} ask for"

    @property
    def lip_side(self) -> int:
        """Height and width in pixels of what is looked at of a mouth crop."""
        return self.lip_size - 2 * self.lip_margin

    def n_steps(self, n_frames):
        """Counts the output steps of a clip of `n_frames` frames; a number or an array."""
        return temporal_encoder.n_steps(n_frames, self.subsample)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExpertOutput:
    """What an expert says about a batch: s steps of `subsample` frames each.

    Attributes:
      log_probs_bsv: float32 log posteriors, the blank at 0.
      hidden_bsd: the states under the CTC head, 0 at padding.
      clip_bs: int32 which clip of its row a step belongs to, -1 at padding.
    """

    log_probs_bsv: jax.Array
    hidden_bsd: jax.Array
    clip_bs: jax.Array


class Expert(nnx.Module):
    """One modality to CTC posteriors over its own tokens."""

    def __init__(self, config: ExpertConfig, rngs: nnx.Rngs):
        self.config = config
        self.frontend = FRONTENDS[config.frontend](config, rngs)
        self.encoder = TemporalEncoder(config, rngs)
        self.head = Linear(
            (config.d_model,), (config.n_tokens,), ("model",), ("ctc_vocab",), bias=True, rngs=rngs
        )

    def __call__(self, x, clip_bt, key=None) -> ExpertOutput:
        """Reads a batch; `key` switches dropout on.

        x is (b, t, 91, 3) keypoints in shoulder widths for "pose", "hand_shape" and
        "mouth_landmarks" (for the last also the mouth alone, (b, t, 20, 3)), (b, f, size, size)
        crops for "lips". `clip_bt` says which clip of its row a frame belongs to (-1: none); each
        begins at a multiple of `subsample`. Every clip is read as if it were alone, and frames of
        none have no influence.
        """
        keys = (None, None) if key is None else jax.random.split(key)
        x = jnp.where((clip_bt >= 0)[(..., *(None,) * (x.ndim - 2))], x, 0)
        x_btd = self.frontend(x, keys[0], clip_bt)
        hidden_bsd, clip_bs = self.encoder(x_btd, clip_bt, keys[1])
        logits_bsv = self.head(hidden_bsd).astype(jnp.float32)
        return ExpertOutput(
            log_probs_bsv=jax.nn.log_softmax(logits_bsv),
            hidden_bsd=hidden_bsd * (clip_bs >= 0)[..., None],
            clip_bs=clip_bs,
        )

    def seconds_per_step(self, fps):
        """Gives the duration of one output step, in seconds."""
        return self.config.subsample / fps
