"""System: experts, fusion and LLM as one, from clips to streams to sentences."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from signbind_jax.data.clip import TimedToken
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.models.signbind import PromptParts
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.previous_sentence import PreviousSentence
from signbind_jax.stages.read_streams import Clips, StreamReader, Weights
from signbind_jax.stages.translation import write_translations


@dataclass(frozen=True, eq=False)
class System:
    """What alignment and translation train and the experts in front of it.

    Attributes:
      reader: the experts.
      weights: what gives graph definition and parameters of SignBind.
      fusion_targets: the fused vocabulary.
      tokenizer, prompt_parts: the LLM's.
      generation: how sentences are written.
      previous: how the sentence of the clip before stands in the prompt; None: it does not.
    """

    reader: StreamReader
    weights: Weights
    fusion_targets: Vocabulary
    tokenizer: TextTokenizer
    prompt_parts: PromptParts
    generation: GenerationConfig
    previous: PreviousSentence | None = None

    @property
    def streams(self) -> tuple[str, ...]:
        """Its streams, in order."""
        return self.reader.streams

    def read(self, clips: Clips) -> SplitStreams:
        """The streams of a split (kept on disk) or of loose clips."""
        return self.reader.read(clips)

    def tokens(
        self, streams: SplitStreams, clip: int, unread: bool = False
    ) -> dict[str, list[TimedToken]]:
        """The streams of one clip as readable tokens, by stream name; see `readable`."""
        return self.reader.tokens(streams, clip, unread)

    def write(
        self,
        streams: SplitStreams,
        keep: Collection[str] | None = None,
        generation: GenerationConfig | None = None,
        previous: np.ndarray | None = None,
    ) -> list[str]:
        """The sentence of each clip with the streams named in `keep` present; None: all.

        Args:
          generation: in place of the system's own.
          previous: the clip before each in its recording (`previous_clips`); None: not known.
        """

        def write(sentences: Sentences) -> list[str]:
            return write_translations(
                *self.weights(),
                sentences,
                self.tokenizer,
                self.prompt_parts,
                self.streams if keep is None else keep,
                generation or self.generation,
            )

        sentences = self._sentences(streams)
        if self.previous is None or previous is None:
            return write(sentences)
        return self.previous.write(sentences, previous, write)

    def fused(self, streams: SplitStreams) -> list[list[str]]:
        """What fusion made of the streams: sense lemmas and letters, clip by clip."""
        return read_fused(*self.weights(), self._sentences(streams), self.fusion_targets)

    def _sentences(self, streams: SplitStreams) -> Sentences:
        return Sentences.unlabelled(streams, self.tokenizer.tail)
