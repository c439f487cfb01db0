"""What the rest of the system knows of a language model."""

from collections.abc import Mapping
from typing import Any, Protocol

from signbind_jax.models.layers import Linear


class Sizes(Protocol):
    """A language model's config, as far as others read it.

    Attributes:
      vocab_size: ids it knows, v.
      d_model: size of its embeddings, d.
      n_layers: how many layers are stacked in each of its `linears`.
    """

    vocab_size: int
    d_model: int
    n_layers: int


class LanguageModel(Protocol):
    """Writes text behind a prefix of embeddings; an `nnx.Module`.

    `models.llm.decoder.Decoder` is one, which Hugging Face's files are read into. What a cache
    holds is the model's own affair: others hand it from `prefill` to `step` and from step to
    step, through `jax.lax.while_loop`.
    """

    config: Sizes

    def embed(self, ids_bl):
        """Embeds token ids: x_bld."""

    def loss(
        self,
        prefix_bpd,
        prefix_mask_bp,
        text_ids_bl,
        text_mask_bl,
        key=None,
        *,
        smoothing: float = 0.0,
        room: int = 0,
    ) -> tuple:
        """Gives the next-token cross-entropy of a text behind a prefix.

        Args:
          prefix_bpd: embeddings; the last is no padding: its output predicts the first text token.
          prefix_mask_bp, text_mask_bl: bool, False at padding.
          text_ids_bl: ids that end in the end-of-sentence token.
          key: dropout key; None switches dropout off.
          smoothing: share of each target that is spread evenly over the vocabulary.
          room: the most positions that prefix and text of a row take together; the padding
            between them is closed up to it, which saves its computation. 0: not known.

        Returns:
          loss_bl (0 where padded) and correct_bl (bool).
        """

    def prefill(self, x_bpd, mask_bp, capacity: int) -> tuple[Any, Any]:
        """Reads a prefix: (float32 logits_bv after its last token, a cache).

        Args:
          x_bpd, mask_bp: embeddings, and a bool that is False at padding.
          capacity: slots u of the cache, at least p; the first p hold the prefix, padding too.
        """

    def step(self, x_bqd, cache, position_bq, mask_bqu) -> tuple[Any, Any]:
        """Reads q more tokens a row into the next q slots: (float32 logits_bqv, the cache).

        Args:
          x_bqd: embeddings, which may follow one another or be rival continuations (beams).
          cache: from `prefill` or `step`.
          position_bq: how many tokens of its sentence, prefix included, are before each.
          mask_bqu: bool over all slots, its own included: which of them each token may see.
        """

    def unstacked(self) -> "LanguageModel":
        """Gives the same model as a loop runs it fastest where a scan over stacked layers copies
        their weights at every step (XLA on the CPU); itself where it has no such form."""

    def linears(self) -> Mapping[str, Linear]:
        """Lists the linear layers that may carry adapters, stacked, by `lora.TARGETS`."""
