"""An expert learns from sentences too: the loss of a trained translator, through its fusion,
projector and LLM, which stay as they are, into the expert.

What the expert reads of a clip takes its place among the other streams, which are read once and
kept. The gradient comes by the hidden vectors and the confidences of its tokens: which tokens they
are, and when, has none. Its CTC loss holds the tokens.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.batch import RowBatch
from signbind_jax.data.sentence_batch import SentenceBatch
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import Expert, ExpertConfig
from signbind_jax.models.fusion import StreamTokens
from signbind_jax.models.signbind import PromptParts, SignBind, SignBindConfig
from signbind_jax.models.token_stream import TokenStream
from signbind_jax.ranges import Checked, Range
from signbind_jax.stages.expert import ExpertShapes, ExpertStage, read_output


@dataclass(frozen=True)
class EndToEndOptions(Checked):
    """What is special to an expert that learns from sentences.

    Attributes:
      sentence_weight: weight of the sentences' loss beside the CTC loss, both summed over tokens;
        read where `parents.translation` names a translator.
    """

    sentence_weight: Annotated[float, Range(0, 1000)] = 0.3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EndToEndBatch:
    """Clips, one a row.

    Attributes:
      rows: what the expert reads.
      sentences: the same rows' other streams, prompts and sentences.
    """

    rows: RowBatch
    sentences: SentenceBatch


@dataclass(frozen=True, kw_only=True)
class EndToEndShapes(ExpertShapes):
    """What data and parents decide, beside the expert's shapes.

    Attributes:
      translator: of fusion, projector and LLM.
      stream: the number of the expert's stream among the translator's.
      room: the most tokens of it that a clip may have; those behind them are left out.
      unread_s: see `ctc.greedy_stream`.
      prompt_parts: what of the prompt is the same for all clips.
      sentence: a host batch of one row without a clip, as sentences are collated.
    """

    translator: SignBindConfig
    stream: int
    room: int
    unread_s: float
    prompt_parts: PromptParts
    sentence: SentenceBatch

    @classmethod
    def assumed(cls, config: RunConfig) -> "EndToEndShapes":
        """Refuses: nothing is assumed of a translator.

        Raises:
          SignBindError: always.
        """
        raise SignBindError(
            f"config.parents.translation: found {config.parents['translation']}, wanted nothing: "
            "preflight has no trained translator"
        )


class EndToEndExpert(Expert):
    """An expert and the translator behind it."""

    def __init__(self, config: ExpertConfig, translator: SignBindConfig, rngs: nnx.Rngs):
        super().__init__(config, rngs)
        self.translator = SignBind(translator, rngs)


class EndToEndExpertStage(ExpertStage):
    """Trains the expert of the stream that `config.stage` names; see the module."""

    Shapes = EndToEndShapes

    def __init__(self, config: RunConfig, shapes: EndToEndShapes):
        super().__init__(config, shapes)
        self.options = from_mapping(EndToEndOptions, config.options, "config.options")
        # The other streams' times are those of the clip as it is.
        self.augment = replace(self.augment, speed=0.0)

    def make_model(self, rngs):
        return EndToEndExpert(self.model_config, self.shapes.translator, rngs)

    def trains(self, path):
        return path[0] != "translator"

    def stores(self, path):
        return path[0] != "translator"

    def _one_row(self, length):
        return EndToEndBatch(super()._one_row(length), self.shapes.sentence)

    def loss(self, model: EndToEndExpert, batch: EndToEndBatch, key):
        shapes, sentences = self.shapes, batch.sentences
        ctc_loss, weight, metrics, output = self.ctc_loss(model, batch.rows, key)
        read = read_output(model, output, batch.rows, shapes.unread_s)
        # Tokens stand in the first places of a row.
        kept = jax.tree.map(lambda x: x[:, : shapes.room], read)
        tokens = joined(kept, sentences.tokens, shapes.stream)
        prefix = model.translator.prefix(
            tokens, sentences.prompt_ids_bp, sentences.prompt_mask_bp, shapes.prompt_parts
        )
        loss_bl, correct_bl = model.translator.decoder.loss(
            prefix.x_bpd, prefix.mask_bp, sentences.text_ids_bl, sentences.text_mask_bl
        )
        sentence_loss = jnp.sum(loss_bl)
        metrics |= {
            "ctc_loss": ctc_loss,
            "sentence_loss": sentence_loss,
            "sentence_accuracy": jnp.sum(correct_bl),
            "tokens_left_out": jnp.sum(read.mask_bn) - jnp.sum(kept.mask_bn),
            "fused_text_lost": jnp.sum(prefix.lost_b),
        }
        return ctc_loss + self.options.sentence_weight * sentence_loss, weight, metrics


def joined(read: TokenStream, others: StreamTokens, stream: int) -> StreamTokens:
    """The tokens that an expert reads beside those of the other streams; gradients go into its
    hidden vectors and confidences.

    Args:
      read: of rows of one clip.
      stream: its number.
    """
    missing = others.hidden_bmd.shape[-1] - read.hidden_bnd.shape[-1]
    hidden_bnd = jnp.pad(read.hidden_bnd, ((0, 0), (0, 0), (0, missing)))
    own = StreamTokens(
        ids_bm=read.ids_bn,
        stream_bm=jnp.full_like(read.ids_bn, stream),
        hidden_bmd=hidden_bnd.astype(jnp.float32),
        start_bm=jax.lax.stop_gradient(read.start_bn),
        end_bm=jax.lax.stop_gradient(read.end_bn),
        confidence_bm=read.confidence_bn,
        mask_bm=read.mask_bn,
    )
    return jax.tree.map(
        lambda x, y: jnp.concatenate([x, jnp.asarray(y, x.dtype)], axis=1), own, others
    )
