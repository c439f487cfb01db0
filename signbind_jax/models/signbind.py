"""The translator behind the experts: fusion, projector and LLM decoder as one module."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax.models import layers
from signbind_jax.models.fusion import Fusion, FusionConfig, StreamTokens
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.lora import add_lora


class Projector(nnx.Module):
    """Two-layer perceptron from fused tokens to the LLM's embedding space."""

    def __init__(self, d_in: int, d_out: int, rngs: nnx.Rngs):
        self.norm = layers.RMSNorm(d_in, rngs=rngs)
        self.up = layers.Linear((d_in,), (d_out,), ("model",), ("mlp",), rngs=rngs)
        self.down = layers.Linear((d_out,), (d_out,), ("mlp",), ("model",), rngs=rngs)

    def __call__(self, x_bmd):
        return self.down(jax.nn.gelu(self.up(self.norm(x_bmd))))


@dataclass(frozen=True)
class LoRAConfig:
    """Adapters on the decoder: their inner size (0: none) and scale alpha / rank."""

    rank: int = 0
    alpha: float = 16.0


class SignBind(nnx.Module):
    """Stream tokens in, a sentence out: fusion -> projector -> soft prefix -> LLM.

    With `lora` the decoder's linear layers carry adapters.
    """

    def __init__(
        self,
        fusion: FusionConfig,
        decoder: DecoderConfig,
        rngs: nnx.Rngs,
        lora: LoRAConfig | None = None,
    ):
        self.fusion = Fusion(fusion, rngs)
        self.projector = Projector(fusion.d_model, decoder.d_model, rngs)
        self.decoder = Decoder(decoder, rngs)
        if lora is not None and lora.rank:
            add_lora(self.decoder, rank=lora.rank, alpha=lora.alpha, rngs=rngs)

    def prefix(self, tokens: StreamTokens, prompt_ids_bp, prompt_mask_bp, key=None):
        """The soft prefix and the embedded prompt behind it.

        Returns:
          x_bpd and mask_bp over m fused tokens and the prompt, and the CTC log_probs_bsv.
        """
        fused_bmd, mask_bm, log_probs_bsv = self.fusion(tokens, key)
        soft_bmd = self.projector(fused_bmd) * mask_bm[..., None]
        x_bpd = jnp.concatenate([soft_bmd, self.decoder.embed(prompt_ids_bp)], axis=1)
        return x_bpd, jnp.concatenate([mask_bm, prompt_mask_bp], axis=1), log_probs_bsv


def sentence_loss(
    decoder: Decoder, prefix_bpd, prefix_mask_bp, text_ids_bl, text_mask_bl, key=None
):
    """Next-token cross-entropy of a sentence behind a prefix.

    The prefix ends in a real place (its prompt is padded on the left), whose output
    predicts the first text token; the text ends in the end-of-sentence token.

    Returns:
      loss_bl (0 where padded) and correct_bl (bool).
    """
    p = prefix_bpd.shape[1]
    x = jnp.concatenate([prefix_bpd, decoder.embed(text_ids_bl[:, :-1])], axis=1)
    mask = jnp.concatenate([prefix_mask_bp, text_mask_bl[:, :-1]], axis=1)
    hidden = decoder.hidden_states(x, mask, key=key)
    logits_blv = decoder.logits(hidden[:, p - 1 :]).astype(jnp.float32)
    log_probs = jax.nn.log_softmax(logits_blv)
    picked_bl = jnp.take_along_axis(log_probs, text_ids_bl[..., None], axis=-1)[..., 0]
    correct_bl = (jnp.argmax(logits_blv, axis=-1) == text_ids_bl) & text_mask_bl
    return -picked_bl * text_mask_bl, correct_bl
