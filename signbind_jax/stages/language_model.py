"""The decoder, where none is pretrained: learns the language, and to copy spelled names.

Each sample is the text of the true streams (sense lemmas, spelled words letter by letter)
as a prompt and the sentence behind it. Spelled words are replaced by fresh ones in most
samples, so that the model learns to copy letters instead of remembering names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
import numpy as np

from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.clip import FINGERSPELLED_PREFIX
from signbind_jax.data.sentences import Sentences, empty_row
from signbind_jax.generation.config import GenerationConfig, read_options
from signbind_jax.generation.sentences import generate_sentences, lower_writing
from signbind_jax.hf.tokenizer import SPECIAL_TOKENS, TextTokenizer
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.ranges import Checked, Range, Rate, Share
from signbind_jax.stages.stage import Stage

_BYTES = 256


@dataclass(frozen=True)
class LanguageModelOptions(Checked):
    """What is special to this stage.

    Attributes:
      bpe_vocabulary: the most tokens of the byte-level BPE fitted to the corpus.
      fresh_names: share of the samples whose spelled words are replaced by fresh ones.
      made_up_names: share of the samples in which a word that prompt and sentence share becomes a
        name nobody has, spelled letter by letter, as far as there is room: names to copy for
        sentences without one. It needs some spelled words, whose letters it imitates.
      drop, substitute: shares of a prompt's lemmas that are left out and replaced by others of the
        corpus, as they will be where experts are often wrong; anew in each epoch.
      smoothing: share of each token of a sentence that the loss spreads evenly over all tokens
        (label smoothing: Szegedy et al., 2016).
      close_up: whether the padding between prompt and sentence is taken out before the layers run,
        a third of the work where both vary in length. Dropout then draws other numbers.
      generation: how the sentences of an evaluation are written.
    """

    bpe_vocabulary: Annotated[int, Range(len(SPECIAL_TOKENS) + _BYTES, 2**20)] = 1024
    fresh_names: Share = 0.9
    made_up_names: Share = 0.0
    drop: Share = 0.0
    substitute: Share = 0.0
    smoothing: Rate = 0.0
    close_up: bool = False
    generation: GenerationConfig = GenerationConfig()

    def conflicts(self):
        if self.drop + self.substitute > 1:
            yield "substitute", f"at most {1 - self.drop:g} beside drop={self.drop:g}"


def stream_words(fusion_targets: Iterable[str]) -> list[str]:
    """Tokens of fusion as the words that `fused_text` makes of them; spelled ones begin with "fs-".

    fusion_targets: see `labels.fusion_tokens`.
    """
    words: list[str] = []
    for token in fusion_targets:
        if len(token) == 1 and words:  # a letter
            words[-1] += token
        else:
            words.append(token[0] if token[1:] == "_" else token)
    return words


def encode_prompt(tokenizer: TextTokenizer, words: Iterable[str]) -> list[int]:
    """Ids of a prompt: its words, a space before each as in `fused_text`, those that are spelled
    letter by letter, then the token that begins a sentence."""
    ids = []
    for word in words:
        bare = word.removeprefix(FINGERSPELLED_PREFIX)
        ids += tokenizer.encode(" " + bare, (bare,) if bare not in ("", word) else ())
    return [*ids, tokenizer.bos_id]


def encode_sentence(tokenizer: TextTokenizer, text: str, spelled=()) -> list[int]:
    """Ids of a sentence, then the token that ends it."""
    return [*tokenizer.encode(text, spelled), tokenizer.eos_id]


@dataclass(frozen=True)
class LanguageModelShapes:
    """What data decide of the decoder.

    Attributes:
      vocab_size: rows of its embedding.
      capacities: length of a batch -> its room for (target, prompt, text) tokens.
    """

    vocab_size: int
    capacities: Mapping[int, tuple[int, int, int]]

    @classmethod
    def assumed(cls, config: RunConfig) -> "LanguageModelShapes":
        """As `config.assumed` states them: a sentence and a prompt that fills the rest."""
        sizes = config.assumed
        capacity = (1, max(sizes.longest - sizes.text, 1), sizes.text)
        return cls(sizes.vocabulary, {sizes.longest: capacity})


class LanguageModelStage(Stage):
    """Trains a small decoder from scratch on the text side of a corpus."""

    Shapes = LanguageModelShapes
    main_metric = "bleu4"

    def __init__(self, config: RunConfig, shapes: LanguageModelShapes):
        super().__init__(config, shapes)
        self.options = read_options(LanguageModelOptions, config.options)
        self.model_config = from_mapping(
            DecoderConfig, config.model | {"vocab_size": shapes.vocab_size}, "config.model"
        )

    def _one_row(self, length):
        return empty_row(None, length, self.shapes.capacities)

    def loss(self, model: Decoder, batch, key):
        loss_bl, correct_bl = model.loss(
            model.embed(batch.prompt_ids_bp),
            batch.prompt_mask_bp,
            batch.text_ids_bl,
            batch.text_mask_bl,
            key,
            smoothing=self.options.smoothing,
            room=self._room(batch) if self.options.close_up else 0,
        )
        weight = jnp.sum(batch.text_mask_bl)
        return jnp.sum(loss_bl), weight, {"accuracy": jnp.sum(correct_bl)}

    def _room(self, batch) -> int:
        """The longest prompt and sentence together that a batch of these shapes may hold."""
        sizes = batch.prompt_ids_bp.shape[1], batch.text_ids_bl.shape[1]
        capacities = self.shapes.capacities.items()
        return max(length for length, (_, *own) in capacities if tuple(own) == sizes)

    def lower_writing(self, graphdef, params, batch):
        return lower_writing(
            graphdef, params, batch, prefix=_prompt_alone, config=self.options.generation
        )


def write_from_text(graphdef, params, tokenizer, clips, config: GenerationConfig) -> list[str]:
    """Sentences a decoder writes for the true streams of each clip, given as text."""
    words = [stream_words(labels["fusion_targets"]) for labels in clips.targets]
    prompts = [encode_prompt(tokenizer, own) for own in words]
    lengths = np.array([len(p) for p in prompts])
    sentences = Sentences(lengths, None, [()] * len(prompts), prompts, [()] * len(prompts))
    return generate_sentences(
        graphdef, params, sentences, tokenizer, prefix=_prompt_alone, config=config
    )


def _prompt_alone(decoder: Decoder, batch):
    return decoder, decoder.embed(batch.prompt_ids_bp), batch.prompt_mask_bp, np.zeros(1, np.int32)
