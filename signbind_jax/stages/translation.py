"""Stages 3 and 4: fused tokens become a soft prefix of the LLM, which writes the sentence."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.generation.config import GenerationConfig, read_options
from signbind_jax.generation.sentences import generate_sentences, lower_writing
from signbind_jax.hf import hub, published
from signbind_jax.hf.pretrained import Pretrained, open_pretrained
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.metrics.translation import translation_scores
from signbind_jax.models.fused_text import piece_table
from signbind_jax.models.fusion import FusionConfig, keep_streams
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.lora import TARGETS, LoRAConfig, Rank, Targets
from signbind_jax.models.signbind import PromptParts, SignBind
from signbind_jax.models.token_noise import add_noise
from signbind_jax.ranges import (
    Checked,
    DTypeName,
    OneOf,
    Positive,
    Range,
    Rate,
    Text,
)
from signbind_jax.stages.fusion import FusionStage, assumed_n_ids, ctc_sums
from signbind_jax.stages.language_model import encode_sentence
from signbind_jax.stages.stage import Evaluation, samples_of


@dataclass(frozen=True)
class TranslationOptions(Checked):
    """What is special to alignment and translation.

    Attributes:
      ctc_weight: weight of the CTC loss on the fused tokens beside the sentence's loss.
      fused_text: whether what fusion read also stands behind the soft prefix as text.
      instruction: what a pretrained LLM is asked to do.
      frozen_dtype: of a pretrained LLM's frozen weights, "float32" or "bfloat16".
      compute_dtype: of the LLM's computation, "float32" or "bfloat16"; empty: as it was trained
        here, float32 for a pretrained one.
      remat: what the backward pass computes again in the LLM: "nothing", "elementwise" (what
        linear layers gave is kept) or "everything".
      lora_rank: adapters of this rank are tuned instead of the whole LLM; 0 tunes all of it
        (translation alone).
      lora_alpha, lora_dropout, lora_targets: see `LoRAConfig`.
      generation: how sentences are written, in evaluation and wherever nothing else is asked for.
    """

    ctc_weight: Annotated[float, Range(0, 1000)] = 0.3
    fused_text: bool = True
    instruction: Text = "Write the English sentence that these signs, in order, say."
    frozen_dtype: DTypeName = "float32"
    compute_dtype: Annotated[str, OneOf("", "float32", "bfloat16")] = ""
    remat: Annotated[str, OneOf("nothing", "elementwise", "everything")] = "nothing"
    lora_rank: Rank = 0
    lora_alpha: Positive = 16.0
    lora_dropout: Rate = 0.0
    lora_targets: Targets = TARGETS
    generation: GenerationConfig = GenerationConfig()

    @property
    def lora(self) -> LoRAConfig:
        """The LLM's adapters."""
        return LoRAConfig(self.lora_rank, self.lora_alpha, self.lora_dropout, self.lora_targets)

    def set_up(self, decoder: DecoderConfig) -> DecoderConfig:
        """The LLM as these options run it."""
        return dataclasses.replace(
            decoder,
            compute_dtype=self.compute_dtype or decoder.compute_dtype,
            remat=self.remat != "nothing",
            remat_keeps_linear=self.remat == "elementwise",
        )


class AlignmentStage(FusionStage):
    """Stage 3: fusion and projector learn to speak to the frozen LLM."""

    name = "alignment"
    main_metric = "bleu4"
    parent = "fusion"

    def __init__(self, config: RunConfig):
        self.options = read_options(TranslationOptions, config.options)
        self.parent_artefact = self._open_parent(config)
        self.decoder_artefact = self._open_decoder(config)
        self.tokenizer = self.decoder_artefact.tokenizer
        super().__init__(config)
        self.parents[self.parent] = self.parent_artefact.digest
        self.parents["language_model"] = self.decoder_artefact.digest
        self._check_vocabularies()
        self.prompt_parts = make_prompt_parts(self.senses, self.tokenizer, self.options.fused_text)

    def _open_parent(self, config: RunConfig) -> artefact.Artefact:
        directory = config.parents[self.parent]
        if not directory:
            raise SignBindError(
                f"config.parents.{self.parent}: found nothing, wanted the "
                f"--workdir of a trained {self.parent} stage"
            )
        parent = artefact.open_artefact(directory)
        if parent.stage != self.parent:
            raise SignBindError(
                f"config.parents.{self.parent}: {directory}: stage: found "
                f"{parent.stage}, wanted {self.parent}"
            )
        return parent

    def _open_decoder(self, config: RunConfig) -> artefact.Artefact | Pretrained:
        if not config.parents["language_model"]:
            raise SignBindError(
                "config.parents.language_model: found nothing, wanted the "
                "--workdir of a trained language_model stage or a pretrained "
                "model: a directory, a fetched name or a hub id"
            )
        name = config.parents["language_model"]
        if (Path(name) / artefact.FILE).exists():
            return artefact.open_artefact(name)
        return open_pretrained(hub.find(name), self.options.instruction)

    @property
    def imported(self) -> bool:
        """Whether the decoder comes from others and not from a language_model stage."""
        return isinstance(self.decoder_artefact, Pretrained)

    def _check_vocabularies(self) -> None:
        """Experts and fusion parent must mean the same by every id."""
        for name, vocabulary in self.vocabularies.items():
            found = self.parent_artefact.manifest.vocabularies.get(name)
            if found != vocabulary.digest:
                raise SignBindError(
                    f"{self.parent_artefact.workdir}: vocabulary {name}: found "
                    f"{(found or 'none')[:12]}, wanted {vocabulary.digest[:12]} (that of the "
                    f"experts and the corpus); train {self.parent} on them"
                )

    def _model_config(self, vocabularies):
        record = self.parent_artefact.model
        fusion = from_mapping(FusionConfig, record.get("fusion") or record["config"])
        fresh = super()._model_config(vocabularies)
        for field in ("n_ids", "d_hidden", "n_targets"):
            if getattr(fusion, field) != getattr(fresh, field):
                raise SignBindError(
                    f"{self.parent_artefact.workdir}: model.{field}: found "
                    f"{getattr(fusion, field)}, wanted {getattr(fresh, field)} (that of the "
                    "experts and the corpus)"
                )
        return self._join(
            fusion, from_mapping(DecoderConfig, self.decoder_artefact.model["config"])
        )

    def _join(self, fusion: FusionConfig, decoder: DecoderConfig) -> tuple:
        """The configs of the whole, as this run's config changes those of the parents."""
        changes = {k: v for k, v in self.config.model.items() if k == "dropout"}
        if not self.imported:  # dropout inside is how a pretrained model was not trained
            decoder = dataclasses.replace(decoder, **changes)
        fusion = dataclasses.replace(fusion, **changes)
        return fusion, self.options.set_up(decoder), self.options.lora

    def assume(self, sizes):
        self.options = read_options(TranslationOptions, self.config.options)
        self.decoder_artefact = self._assumed_decoder(sizes)
        super().assume(sizes)
        head = np.zeros(sizes.prompt_head, np.int32)
        pieces = np.zeros((sizes.senses, sizes.pieces), np.int32)
        self.prompt_parts = PromptParts(head, pieces if self.options.fused_text else None)

    def _assumed_decoder(self, sizes) -> Pretrained | None:
        name = self.config.parents["language_model"]
        return Pretrained(Path(name), published.find(name)) if name else None

    def _assumed_model(self, sizes):
        parts = {
            "n_ids": assumed_n_ids(self.config),
            "d_hidden": sizes.d_hidden,
            "n_targets": sizes.senses,
        }
        fusion = from_mapping(FusionConfig, sizes.fusion | parts, "config.assumed.fusion")
        if self.decoder_artefact is not None:
            return self._join(fusion, self.decoder_artefact.config)
        decoder = from_mapping(
            DecoderConfig,
            sizes.decoder | {"vocab_size": sizes.vocabulary},
            "config.assumed.decoder",
        )
        return self._join(fusion, decoder)

    def dimensions(self):
        fusion, decoder, _ = self.model_config
        return {
            "d_model": fusion.d_model,
            "d_hidden": fusion.d_hidden,
            "d_decoder": decoder.d_model,
            "vocab_size": decoder.vocab_size,
        }

    @property
    def ctc_frames(self):
        return self.model_config[0].ctc_frames

    def label(self, clips: ClipDataset, read: SplitStreams) -> Sentences:
        base = super().label(clips, read)
        texts = [encode_sentence(self.tokenizer, c.text, c.spelled) for c in clips.labels]
        prompts = [self.tokenizer.tail] * len(texts)
        return dataclasses.replace(base, prompts=prompts, texts=texts)

    def make_model(self, rngs):
        fusion, decoder, lora = self.model_config
        return SignBind(fusion, decoder, rngs, lora)

    def trains(self, path):
        return path[0] != "decoder"

    def stores(self, path):
        base = path[0] == "decoder" and "lora" not in path
        return not (base and self.imported) or self.trains(path)

    def stored_dtype(self, path):
        base = path[0] == "decoder" and self.imported and not self.trains(path)
        return self.options.frozen_dtype if base else "float32"

    def parent_directories(self):
        return super().parent_directories() | {"language_model": str(self.decoder_artefact.workdir)}

    def adopted(self, mesh):
        _, fusion = self.parent_artefact.load_params(mesh)
        return under("fusion", fusion) | under("decoder", self._decoder_params(mesh))

    def _decoder_params(self, mesh) -> nnx.State:
        if not self.imported:
            return self.decoder_artefact.load_params(mesh)[1]
        return self.decoder_artefact.load_params(mesh, self.stored_dtype(("decoder",)))[1]

    def side_files(self):
        return artefact.tokenizer_files(self.tokenizer)

    def loss(self, model: SignBind, batch, key):
        noise_key, fusion_key, decoder_key = jax.random.split(key, 3)
        tokens = add_noise(batch.tokens, batch.index_b, noise_key, self.noise, self.config.streams)
        prefix = model.prefix(
            tokens, batch.prompt_ids_bp, batch.prompt_mask_bp, self.prompt_parts, fusion_key
        )
        loss_bl, correct_bl = model.decoder.loss(
            prefix.x_bpd, prefix.mask_bp, batch.text_ids_bl, batch.text_mask_bl, decoder_key
        )
        ctc_loss, _ = ctc_sums(prefix.log_probs_bsv, prefix.fused_mask_bm, batch)
        loss = jnp.sum(loss_bl)
        metrics = {
            "accuracy": jnp.sum(correct_bl),
            "sentence_loss": loss,
            "ctc_loss": ctc_loss,
            "fused_text_lost": jnp.sum(prefix.lost_b),
        }
        total = loss + self.options.ctc_weight * ctc_loss
        return total, jnp.sum(batch.text_mask_bl), metrics

    def evaluate(self, graphdef, params, split):
        """Translation scores with all streams present."""
        clips = self.dataset.split(split)
        hypotheses = self.write(graphdef, params, self.read(clips))
        scores = hosts.broadcast("scoring", lambda: translation_scores(clips.labels, hypotheses))
        values = {k: v for k, v in scores.items() if isinstance(v, float)}
        texts = [clip.text for clip in clips.labels]
        return Evaluation(values, samples_of(clips.ids, texts, hypotheses))

    def lower_writing(self, graphdef, params, batch):
        return lower_writing(
            graphdef,
            params,
            batch,
            np.ones(len(self.config.streams), bool),
            self.prompt_parts,
            prefix=_prefix,
            config=self.options.generation,
        )

    def write(self, graphdef, params, sentences: Sentences):
        """Sentences of a split with all streams present."""
        return write_translations(
            graphdef,
            params,
            sentences,
            self.tokenizer,
            self.prompt_parts,
            self.config.streams,
            self.options.generation,
        )


class TranslationStage(AlignmentStage):
    """Stage 4: the LLM is tuned together with fusion and projector."""

    name = "translation"
    parent = "alignment"

    def trains(self, path):
        return path[0] != "decoder" or not self.options.lora_rank or "lora" in path

    def adopted(self, mesh):
        _, parent = self.parent_artefact.load_params(mesh, imported=False)
        brought = under("", parent)
        if self.imported:
            brought |= under("decoder", self._decoder_params(mesh))
        return brought


def under(name: str, params: nnx.State) -> dict[tuple, nnx.Variable]:
    """The variables of a part by their path in the whole; the whole's own where `name` is
    empty."""
    return {((name,) if name else ()) + path: x for path, x in nnx.to_flat_state(params)}


def make_prompt_parts(
    senses: Vocabulary, tokenizer: TextTokenizer, fused_text: bool
) -> PromptParts:
    """The prompt's head and, with `fused_text`, the table of the fused text."""
    pieces_vr = piece_table(senses, tokenizer.encode) if fused_text else None
    return PromptParts(np.array(tokenizer.head, np.int32), pieces_vr)


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
