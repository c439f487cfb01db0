"""The sentence of the clip before, in the prompt of alignment and translation."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from signbind_jax.data.previous_clips import NONE, rounds
from signbind_jax.data.sentences import Sentences
from signbind_jax.errors import SignBindError
from signbind_jax.hf.tokenizer import TextTokenizer


@dataclass(frozen=True)
class PreviousSentence:
    """How it stands there: behind the signs and their text, in front of the prompt's tail.

    Attributes:
      tokenizer: the LLM's.
      lead: ids in front of it.
      most: the most ids of both; of a longer sentence its end is taken.
    """

    tokenizer: TextTokenizer
    lead: Sequence[int]
    most: int

    @classmethod
    def of(cls, tokenizer: TextTokenizer, most: int, words: str) -> "PreviousSentence | None":
        """With the tokenizer's separator in front, or `words` where it has none; None: `most` is 0.

        Raises:
          SignBindError: there is no room for a sentence.
        """
        if not most:
            return None
        has_separator = tokenizer.sep_id != tokenizer.eos_id  # which stands in for what is missing
        lead = [tokenizer.sep_id] if has_separator else tokenizer.encode(words)
        if most <= len(lead):
            raise SignBindError(
                f"config.options.previous_sentence: found {most}, wanted more than the {len(lead)} "
                "tokens in front of the sentence (previous_words), or 0"
            )
        return cls(tokenizer, lead, most)

    def prompt(self, sentence: str) -> list[int]:
        """What stands behind the signs where `sentence` is the one before; "": there is none."""
        ids = self.tokenizer.encode(sentence)[len(self.lead) - self.most :]
        return [*self.lead, *ids, *self.tokenizer.tail] if ids else self.tokenizer.tail

    def write(
        self,
        sentences: Sentences,
        previous: np.ndarray,
        write: Callable[[Sentences], list[str]],
    ) -> list[str]:
        """The sentences of clips, each with the one that was just written for the clip before.

        All first clips of their recordings are written, then all second ones, and so on.

        Args:
          previous: as `previous_clips` has it.
          write: gives the sentences of those clips that have a length above 0.
        """
        texts, prompts = [""] * len(sentences), list(sentences.prompts)
        for chosen in rounds(previous):
            places = np.flatnonzero(chosen).tolist()
            for i in places:
                prompts[i] = self.prompt(texts[previous[i]] if previous[i] != NONE else "")
            lengths = np.where(chosen, sentences.lengths, 0)
            if lengths.any():
                written = write(dataclasses.replace(sentences, lengths=lengths, prompts=prompts))
                for i in places:
                    texts[i] = written[i]
        return texts
