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
        """Embeddings x_bld of token ids."""

    def loss(self, prefix_bpd, prefix_mask_bp, text_ids_bl, text_mask_bl, key=None) -> tuple:
        """Next-token cross-entropy of a text behind a prefix.

        Args:
          prefix_bpd: embeddings, the last of them at a real place: its output predicts the
            first text token.
          prefix_mask_bp, text_mask_bl: bool, True at real places.
          text_ids_bl: ids that end in the end-of-sentence token.
          key: dropout key; None switches dropout off.

        Returns:
          loss_bl (0 where padded) and correct_bl (bool).
        """

    def prefill(self, x_bpd, mask_bp, capacity: int) -> tuple[Any, Any]:
        """Reads a prefix: (float32 logits_bv after its last real place, a cache).

        capacity: slots of the cache, at least p; slot i < p holds prefix place i.
        """

    def step(self, x_bqd, cache, position_bq, mask_bqs) -> tuple[Any, Any]:
        """Reads q more tokens a row into the next q slots: (float32 logits_bqv, the cache).

        Args:
          x_bqd: embeddings, which may follow one another or be rival continuations (beams).
          cache: from `prefill` or `step`.
          position_bq: how many real places of its sentence stand before each token.
          mask_bqs: bool over all slots, its own included: what each token may see.
        """

    def unstacked(self) -> "LanguageModel":
        """The same model as a loop runs it fastest where a scan over stacked layers copies
        their weights at every step (XLA on the CPU); itself where it has no such form."""

    def linears(self) -> Mapping[str, Linear]:
        """The linear layers that may carry adapters, stacked over layers, by `lora.TARGETS`."""
