"""Writer: batches in, sentences out; generation inside one compiled call a batch shape."""

from collections.abc import Callable, Iterable

import jax
import numpy as np
from flax import nnx

from signbind_jax import generation
from signbind_jax.data.sentence_batch import SentenceBatch
from signbind_jax.hf.tokenizer import TextTokenizer

MAX_NEW_TOKENS = 96


class Writer:
    """Writes the sentence behind each row's prefix.

    Args:
      graphdef: of the module whose parameters `write` is given.
      prefix: (module, batch, *given) -> prefix_bpd, mask_bp; `write` passes `given` on.
      decoder_of: module -> its decoder.
      beam_size: 1 is greedy.
      max_new_tokens: longest sentence.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        prefix: Callable,
        decoder_of: Callable,
        tokenizer: TextTokenizer,
        beam_size: int,
        max_new_tokens: int,
    ):
        self.tokenizer = tokenizer

        @jax.jit
        def write(params, batch, *given):
            module = nnx.merge(graphdef, params)
            prefix_bpd, mask_bp = prefix(module, batch, *given)
            ids_bl, _ = generation.generate(
                decoder_of(module), prefix_bpd, mask_bp & batch.valid_b[:, None],
                max_new_tokens=max_new_tokens, eos_id=tokenizer.eos_id,
                pad_id=tokenizer.pad_id, beam_size=beam_size,
            )  # fmt: skip
            return ids_bl

        self._write = write

    def write(self, params, batches: Iterable[SentenceBatch], n: int, *given) -> list[str]:
        """Sentences of n clips, in the order of their indices."""
        sentences = [""] * n
        for batch in batches:
            ids_bl = np.asarray(self._write(params, batch, *given))
            for row, index in enumerate(batch.index_b):
                if index >= 0:
                    sentences[index] = self.tokenizer.decode(ids_bl[row]).strip()
        return sentences
