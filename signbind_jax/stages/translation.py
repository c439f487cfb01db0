"""Stages 3 and 4: fused tokens become a soft prefix of the LLM, which writes the sentence."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from signbind_jax import streams
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.language_names import language_name
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.generation.config import GenerationConfig, read_options
from signbind_jax.generation.sentences import generate_sentences, lower_writing
from signbind_jax.hf import published
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.models.fused_text import piece_table
from signbind_jax.models.fusion import FusionConfig, keep_streams
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.lora import TARGETS, LoRAConfig, Rank, Targets
from signbind_jax.models.signbind import (
    PromptParts,
    SignBind,
    SignBindConfig,
    SoftPrefix,
    TextRoom,
)
from signbind_jax.models.spelled_text import SpelledText, letter_table
from signbind_jax.models.token_noise import add_noise
from signbind_jax.ranges import (
    Checked,
    DTypeName,
    OneOf,
    Positive,
    Range,
    Rate,
    Share,
    Text,
)
from signbind_jax.stages.fusion import FusionShapes, FusionStage, ctc_sums
from signbind_jax.stages.previous_sentence import PreviousSentence
from signbind_jax.stages.read_streams import StreamReader


@dataclass(frozen=True)
class TranslationOptions(Checked):
    """What is special to alignment and translation.

    Attributes:
      ctc_weight: weight of the CTC loss on the fused tokens beside the sentence's loss.
      fused_text: whether what fusion read also stands behind the soft prefix as text.
      spelled_text: how sure the fingerspelling stream has to be of a run of letters, their mean
        confidence, for these to stand behind that as text; 0: none do. It needs no labels.
      soft_prefix: which fused tokens the LLM sees as embeddings: "every", each in a place of its
        own in front of the text; "read", those that fusion read, added to the embeddings of their
        text, which needs `fused_text`: a shorter prompt, but what fusion did not read is not there.
      text_room: how many of the LLM's tokens of that text there is room for, for each token of the
        streams; what does not fit is counted. Less where most streams have no text saves time.
      instruction: what a pretrained LLM is asked to do; {language} stands for the languages of
        the training texts.
      previous_sentence: the most tokens of the LLM that the sentence of the clip before in the same
        recording takes in the prompt; 0: it is not there. Training reads that of the dataset,
        evaluation what was just written.
      drop_previous: share of the training samples from which it is left out.
      previous_words: what stands in front of it where the tokenizer has no token that separates.
      frozen_dtype: of a pretrained LLM's frozen weights, "float32" or "bfloat16".
      compute_dtype: of the LLM's computation, "float32" or "bfloat16"; empty: as it was trained
        here, float32 for a pretrained one.
      remat: what the backward pass computes again in the LLM: "nothing", "elementwise" (what
        linear layers gave is kept) or "everything".
      smoothing: share of each token of a sentence that the loss spreads evenly over all tokens
        (label smoothing: Szegedy et al., 2016).
      lora_rank: adapters of this rank are tuned instead of the whole LLM; 0 tunes all of it
        (translation alone).
      lora_alpha, lora_dropout, lora_targets: see `LoRAConfig`.
      generation: how sentences are written, in evaluation and wherever nothing else is asked for.
    """

    ctc_weight: Annotated[float, Range(0, 1000)] = 0.3
    fused_text: bool = True
    spelled_text: Share = 0.0
    soft_prefix: SoftPrefix = "every"
    text_room: TextRoom = 1.0
    instruction: Text = "Write the {language} sentence that these signs, in order, say."
    previous_sentence: Annotated[int, Range(0, 4096)] = 0
    drop_previous: Share = 0.3
    previous_words: Text = "\nThe sentence before: "
    frozen_dtype: DTypeName = "float32"
    compute_dtype: Annotated[str, OneOf("", "float32", "bfloat16")] = ""
    remat: Annotated[str, OneOf("nothing", "elementwise", "everything")] = "nothing"
    smoothing: Rate = 0.0
    lora_rank: Rank = 0
    lora_alpha: Positive = 16.0
    lora_dropout: Rate = 0.0
    lora_targets: Targets = TARGETS
    generation: GenerationConfig = GenerationConfig()

    def conflicts(self):
        if self.soft_prefix == "read" and not self.fused_text:
            yield "soft_prefix", "'every' without fused_text"

    def previous(self, tokenizer: TextTokenizer) -> PreviousSentence | None:
        """How the sentence before stands in the prompt; None: it does not."""
        return PreviousSentence.of(tokenizer, self.previous_sentence, self.previous_words)

    @property
    def lora(self) -> LoRAConfig:
        """The LLM's adapters."""
        return LoRAConfig(self.lora_rank, self.lora_alpha, self.lora_dropout, self.lora_targets)

    def instruction_in(self, languages: Iterable[str]) -> str:
        """The instruction for texts of these languages, as BCP-47 tags; where none is known, it
        names none."""
        names = sorted({language_name(tag) for tag in languages if tag})
        if not names:
            return self.instruction.replace("{language} ", "").replace("{language}", "")
        return self.instruction.replace("{language}", " or ".join(names))

    def set_up(self, decoder: DecoderConfig) -> DecoderConfig:
        """The LLM as these options run it."""
        return dataclasses.replace(
            decoder,
            compute_dtype=self.compute_dtype or decoder.compute_dtype,
            remat=self.remat != "nothing",
            remat_keeps_linear=self.remat == "elementwise",
        )


@dataclass(frozen=True)
class SignBindShapes:
    """What data and parents decide of fusion, projector and LLM together.

    Attributes:
      fusion, decoder: the parents' configs.
      imported: whether the decoder comes from others and not from a language_model stage.
      prompt_parts: what of the prompt is the same for all clips.
      capacities: length of a batch -> its room for (target, prompt, text) tokens.
    """

    fusion: FusionConfig
    decoder: DecoderConfig
    imported: bool
    prompt_parts: PromptParts
    capacities: Mapping[int, tuple[int, int, int]]

    @classmethod
    def assumed(cls, config: RunConfig) -> "SignBindShapes":
        """As `config.assumed` states them; a pretrained LLM's as it is published."""
        sizes, name = config.assumed, config.parents["language_model"]
        parts = FusionShapes.assumed(config)
        fusion = from_mapping(FusionConfig, sizes.fusion | parts.sizes, "config.assumed.fusion")
        if name:
            decoder = published.find(name)
        else:
            given = sizes.decoder | {"vocab_size": sizes.vocabulary}
            decoder = from_mapping(DecoderConfig, given, "config.assumed.decoder")
        options = read_options(TranslationOptions, config.options)
        fused_text = options.fused_text
        pieces = np.zeros((sizes.fusion_targets, sizes.pieces), np.int32) if fused_text else None
        spelled = None
        if options.spelled_text:
            stream = spelling_stream(config.streams)
            table = np.zeros((2 * parts.n_ids[stream], 2), np.int32)
            spelled = SpelledText(table, stream, options.spelled_text)
        prompt_parts = PromptParts(np.zeros(sizes.prompt_head, np.int32), pieces, spelled)
        capacities = {
            length: (target, prompt + options.previous_sentence, text)
            for length, (target, prompt, text) in parts.capacities.items()
        }
        return cls(fusion, decoder, bool(name), prompt_parts, capacities)


class AlignmentStage(FusionStage):
    """Stage 3: fusion and projector learn to speak to the frozen LLM."""

    Shapes = SignBindShapes
    main_metric = "bleu4"

    def _model_config(self):
        """That of the parents, as this run's config changes it."""
        self.options = read_options(TranslationOptions, self.config.options)
        fusion, decoder = self.shapes.fusion, self.shapes.decoder
        changes = {k: v for k, v in self.config.model.items() if k == "dropout"}
        if not self.shapes.imported:  # dropout inside is how a pretrained model was not trained
            decoder = dataclasses.replace(decoder, **changes)
        fusion = dataclasses.replace(fusion, **changes)
        decoder = self.options.set_up(decoder)
        options = self.options
        return SignBindConfig(fusion, decoder, options.lora, options.soft_prefix, options.text_room)

    @property
    def fusion_config(self):
        return self.model_config.fusion

    def trains(self, path):
        return path[0] != "decoder"

    def stores(self, path):
        base = path[0] == "decoder" and "lora" not in path
        return not (base and self.shapes.imported) or self.trains(path)

    def stored_dtype(self, path):
        base = path[0] == "decoder" and self.shapes.imported and not self.trains(path)
        return self.options.frozen_dtype if base else "float32"

    def loss(self, model: SignBind, batch, key):
        noise_key, fusion_key, decoder_key = jax.random.split(key, 3)
        tokens = add_noise(batch.tokens, batch.index_b, noise_key, self.noise, self.config.streams)
        prefix = model.prefix(
            tokens, batch.prompt_ids_bp, batch.prompt_mask_bp, self.shapes.prompt_parts, fusion_key
        )
        loss_bl, correct_bl = model.decoder.loss(
            prefix.x_bpd,
            prefix.mask_bp,
            batch.text_ids_bl,
            batch.text_mask_bl,
            decoder_key,
            smoothing=self.options.smoothing,
        )
        keep_empty = self.config.data.keep_empty
        ctc_loss, _ = ctc_sums(prefix.log_probs_bsv, prefix.fused_mask_bm, batch, keep_empty)
        loss = jnp.sum(loss_bl)
        metrics = {
            "accuracy": jnp.sum(correct_bl),
            "sentence_loss": loss,
            "ctc_loss": ctc_loss,
            "fused_text_lost": jnp.sum(prefix.lost_b),
        }
        total = loss + self.options.ctc_weight * ctc_loss
        return total, jnp.sum(batch.text_mask_bl), metrics

    def lower_writing(self, graphdef, params, batch):
        return lower_writing(
            graphdef,
            params,
            batch,
            np.ones(len(self.config.streams), bool),
            self.shapes.prompt_parts,
            prefix=_prefix,
            config=self.options.generation,
        )


class TranslationStage(AlignmentStage):
    """Stage 4: the LLM is tuned together with fusion and projector."""

    def trains(self, path):
        return path[0] != "decoder" or not self.options.lora_rank or "lora" in path


def make_prompt_parts(
    fusion_targets: Vocabulary,
    tokenizer: TextTokenizer,
    options: TranslationOptions,
    reader: StreamReader,
) -> PromptParts:
    """The prompt's head and what makes the texts that `options` ask for.

    Raises:
      SignBindError: letters are asked for, and nothing reads any.
    """
    encode, spelled = tokenizer.encode, None
    pieces_vr = piece_table(fusion_targets, encode) if options.fused_text else None
    if options.spelled_text:
        stream = spelling_stream(reader.streams)
        name = reader.streams[stream]
        if name not in reader.readers:
            raise SignBindError(
                f"config.options.spelled_text: found {options.spelled_text:g} and nothing that "
                f"reads {name}, wanted config.parents.{name} or 0"
            )
        table = letter_table(reader.vocabulary(name), encode)
        spelled = SpelledText(table, stream, options.spelled_text)
    return PromptParts(np.array(tokenizer.head, np.int32), pieces_vr, spelled)


def spelling_stream(names: Sequence[str]) -> int:
    """The number of the stream of letters among those of a run.

    Raises:
      SignBindError: there is none.
    """
    for i, name in enumerate(names):
        if streams.get(name).spells:
            return i
    raise SignBindError(
        f"config.options.spelled_text: found the streams {', '.join(names)}, wanted one of letters"
    )


def write_translations(
    graphdef,
    params,
    sentences: Sentences,
    tokenizer: TextTokenizer,
    parts: PromptParts,
    keep: Collection[str],
    config: GenerationConfig,
) -> list[str]:
    """The sentence SignBind writes for each clip with the streams named in `keep` present."""
    keep_s = np.array([name in keep for name in sentences.streams.experts])
    return generate_sentences(
        graphdef, params, sentences, tokenizer, keep_s, parts, prefix=_prefix, config=config
    )


def _prefix(model: SignBind, batch, keep_s, parts):
    keep_bs = jnp.broadcast_to(keep_s, (batch.index_b.shape[0], keep_s.shape[0]))
    tokens = keep_streams(batch.tokens, keep_bs)
    prefix = model.prefix(tokens, batch.prompt_ids_bp, batch.prompt_mask_bp, parts)
    return model.decoder, prefix.x_bpd, prefix.mask_bp, prefix.lost_b
