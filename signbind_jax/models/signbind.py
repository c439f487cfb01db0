"""The translator behind the experts: fusion, projector and LLM decoder as one module."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.fused_text import fused_text
from signbind_jax.models.fusion import Fusion, FusionConfig, StreamTokens, read_ctc
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.language_model import LanguageModel
from signbind_jax.models.llm.lora import LoRAConfig, add_lora
from signbind_jax.models.spelled_text import SpelledText, spelled_text
from signbind_jax.ranges import Checked, OneOf, Range

TextRoom = Annotated[float, Range(0, 100)]
SoftPrefix = Annotated[str, OneOf("every", "read")]


@dataclass(frozen=True)
class SignBindConfig(Checked):
    """Sizes of the whole: of fusion, of the LLM, and of the LLM's adapters.

    soft_prefix: which fused tokens the LLM sees as embeddings: "every", each in a place of its own
      in front of the text; "read", those that fusion read, added to the embeddings of their text.
    text_room: see `text_capacity`.
    """

    fusion: FusionConfig
    decoder: DecoderConfig
    lora: LoRAConfig = LoRAConfig()
    soft_prefix: SoftPrefix = "every"
    text_room: TextRoom = 1.0


class Projector(nnx.Module):
    """Two-layer perceptron from fused tokens to the LLM's embedding space.

    from_zero: whether it says nothing before it is trained.
    """

    def __init__(self, d_in: int, d_out: int, rngs: nnx.Rngs, from_zero: bool = False):
        self.norm = layers.RMSNorm(d_in, rngs=rngs)
        self.up = layers.Linear((d_in,), (d_out,), ("model",), ("mlp",), rngs=rngs)
        init = jax.nn.initializers.zeros if from_zero else None
        self.down = layers.Linear((d_out,), (d_out,), ("mlp",), ("model",), rngs=rngs, init=init)

    def __call__(self, x_bmd):
        return self.down(jax.nn.gelu(self.up(self.norm(x_bmd))))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PromptParts:
    """What of the LLM's prompt is the same for all clips.

    Attributes:
      head_ids_p: int32 ids in front of the soft prefix; may be empty.
      pieces_vr: the `fused_text.piece_table`, or None where the soft prefix is alone.
      spelled: how letters become text beside what fusion read; None: they do not.
    """

    head_ids_p: np.ndarray
    pieces_vr: np.ndarray | None
    spelled: SpelledText | None = None


@dataclass(frozen=True)
class Prefix:
    """The LLM's input in front of the sentence.

    Attributes:
      x_bpd, mask_bp: embeddings; the last is no padding.
      fused_mask_bm, log_probs_bsv: fusion's, for its CTC loss.
      lost_b: tokens of the fused and of the spelled text beyond its capacity.
    """

    x_bpd: jax.Array
    mask_bp: jax.Array
    fused_mask_bm: jax.Array
    log_probs_bsv: jax.Array
    lost_b: jax.Array


def text_capacity(n_tokens: int, room: float = 1.0) -> int:
    """Gives the capacity for the fused text of a batch of `n_tokens` stream tokens a row: `room`
    of the LLM's for each, and 8.

    A sign is one token and its lemma one or two of the LLM's, a letter is one of each, and
    phonemes have no text.
    """
    return math.ceil(room * n_tokens) + 8


class SignBind(nnx.Module):
    """Stream tokens in, a sentence out: fusion -> projector -> soft prefix -> LLM.

    Where the soft prefix is added to text, it is 0 at first: the LLM begins with what it makes of
    the text alone. With adapters of a rank above 0 the decoder's linear layers carry them.
    """

    def __init__(self, config: SignBindConfig, rngs: nnx.Rngs):
        self.fusion = Fusion(config.fusion, rngs)
        self.adds = config.soft_prefix == "read"
        sizes = config.fusion.d_model, config.decoder.d_model
        self.projector = Projector(*sizes, rngs, from_zero=self.adds)
        self.text_room = config.text_room
        self.decoder: LanguageModel = Decoder(config.decoder, rngs)
        if config.lora.rank:
            add_lora(self.decoder, **dataclasses.asdict(config.lora), rngs=rngs)

    def prefix(
        self, tokens: StreamTokens, prompt_ids_bp, prompt_mask_bp, parts: PromptParts, key=None
    ) -> Prefix:
        """Makes what the sentence is written from: the prompt's head, m fused tokens as embeddings,
        what fusion read and the letters that were read, as text, where `parts` asks for it, and the
        rest of the prompt."""
        tokens = self.fusion.in_order(tokens)
        fused_bmd, mask_bm, log_probs_bsv = fused = self.fusion.fuse(tokens, key)
        b = mask_bm.shape[0]
        head_ids_bp = jnp.broadcast_to(parts.head_ids_p, (b, *parts.head_ids_p.shape))
        x, mask = [self.decoder.embed(head_ids_bp)], [jnp.ones(head_ids_bp.shape, bool)]
        if not self.adds:
            x.append(self.projector(fused_bmd) * mask_bm[..., None])
            mask.append(mask_bm)
        lost_b = jnp.zeros(b, jnp.int32)
        capacity = text_capacity(mask_bm.shape[1], self.text_room)
        if parts.pieces_vr is not None:
            ids_bn, read_bn, read_bnd = read_ctc(*fused)
            ids_bp, text_mask_bp, place_bp, lost_b = fused_text(
                ids_bn, read_bn, parts.pieces_vr, capacity
            )
            x.append(self.decoder.embed(ids_bp))
            if self.adds:
                read_bpd = jnp.take_along_axis(read_bnd, place_bp[..., None], axis=1)
                x[-1] += self.projector(read_bpd)
            mask.append(text_mask_bp)
        if parts.spelled is not None:
            ids_bp, text_mask_bp, _, own_lost_b = spelled_text(tokens, parts.spelled, capacity)
            x.append(self.decoder.embed(ids_bp))
            mask.append(text_mask_bp)
            lost_b += own_lost_b
        x.append(self.decoder.embed(prompt_ids_bp))
        mask.append(prompt_mask_bp)
        return Prefix(
            jnp.concatenate(x, axis=1),
            jnp.concatenate(mask, axis=1),
            mask_bm,
            log_probs_bsv,
            lost_b,
        )
