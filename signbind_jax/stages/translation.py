"""Stages 3 and 4: fused tokens become a soft prefix of the LLM, which writes the sentence."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from signbind_jax import artefact
from signbind_jax.config import STREAMS, RunConfig, from_mapping
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.sentences import Sentences, reading_batches
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.errors import SignBindError
from signbind_jax.metrics.translation import translation_scores
from signbind_jax.models.fusion import FusionConfig, keep_streams
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.signbind import LoRAConfig, SignBind, sentence_loss
from signbind_jax.stages.fusion import FusionStage, ctc_sums
from signbind_jax.stages.language_model import encode_sentence
from signbind_jax.token_noise import add_noise
from signbind_jax.writing import MAX_NEW_TOKENS, Writer

SPELLING = STREAMS.index("fingerspelling")
ALL_STREAMS = (True, True, True)


@dataclass(frozen=True)
class TranslationOptions:
    """What is special to alignment and translation.

    Attributes:
      ctc_weight: weight of the CTC loss on the fused tokens beside the sentence's loss.
      letters_as_text: whether the decoded letters also stand in the prompt as text.
      lora_rank, lora_alpha: adapters of this rank are tuned instead of the whole LLM; 0 tunes
        all of it (translation alone).
      beam_size: beams of the sentences written for evaluation.
      max_new_tokens: longest sentence written.
    """

    ctc_weight: float = 0.3
    letters_as_text: bool = False
    lora_rank: int = 0
    lora_alpha: float = 16.0
    beam_size: int = 4
    max_new_tokens: int = MAX_NEW_TOKENS


class AlignmentStage(FusionStage):
    """Stage 3: fusion and projector learn to speak to the frozen LLM."""

    name = "alignment"
    main_metric = "bleu4"
    parent = "fusion"

    def __init__(self, config: RunConfig):
        self.options = from_mapping(TranslationOptions, config.options, "config.options")
        self.parent_artefact = self._open_parent(config)
        self.decoder_artefact = self._open_decoder(config)
        self.tokenizer = self.decoder_artefact.tokenizer
        super().__init__(config)
        self.parents[self.parent] = self.parent_artefact.digest
        self.parents["language_model"] = self.decoder_artefact.digest
        self._check_vocabularies()

    def _open_parent(self, config: RunConfig) -> artefact.Artefact:
        directory = getattr(config.parents, self.parent)
        if not directory:
            raise SignBindError(f"config.parents.{self.parent}: found nothing, wanted the "
                                f"--workdir of a trained {self.parent} stage")  # fmt: skip
        parent = artefact.open_artefact(directory)
        if parent.stage != self.parent:
            raise SignBindError(f"config.parents.{self.parent}: {directory}: stage: found "
                                f"{parent.stage}, wanted {self.parent}")  # fmt: skip
        return parent

    def _open_decoder(self, config: RunConfig) -> artefact.Artefact:
        if not config.parents.language_model:
            raise SignBindError("config.parents.language_model: found nothing, wanted the "
                                "--workdir of a trained language_model stage")  # fmt: skip
        return artefact.open_artefact(config.parents.language_model)

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

    def _model_config(self, streams):
        record = self.parent_artefact.model
        fusion = from_mapping(FusionConfig, record.get("fusion") or record["config"])
        fresh = super()._model_config(streams)
        for field in ("n_ids", "d_hidden", "n_targets"):
            if getattr(fusion, field) != getattr(fresh, field):
                raise SignBindError(
                    f"{self.parent_artefact.workdir}: model.{field}: found "
                    f"{getattr(fusion, field)}, wanted {getattr(fresh, field)} (that of the "
                    "experts and the corpus)"
                )
        decoder = from_mapping(DecoderConfig, self.decoder_artefact.model["config"])
        overrides = {k: v for k, v in self.config.model.items() if k == "dropout"}
        return (
            dataclasses.replace(fusion, **overrides),
            dataclasses.replace(decoder, **overrides),
            LoRAConfig(self.options.lora_rank, self.options.lora_alpha),
        )

    def dimensions(self):
        fusion, decoder, _ = self.model_config
        return {"d_model": fusion.d_model, "d_hidden": fusion.d_hidden,
                "d_decoder": decoder.d_model, "vocab_size": decoder.vocab_size}  # fmt: skip

    def label(self, clips: ClipDataset, streams: SplitStreams) -> Sentences:
        base = super().label(clips, streams)
        texts = [encode_sentence(self.tokenizer, c.text, c.spelled) for c in clips.labels]
        return dataclasses.replace(base, prompts=self.prompts(streams), texts=texts)

    def prompts(self, streams: SplitStreams) -> list[list[int]]:
        """The prompt behind each clip's soft prefix."""
        return make_prompts(self.tokenizer, streams, self.options.letters_as_text)

    def make_model(self, rngs):
        fusion, decoder, lora = self.model_config
        return SignBind(fusion, decoder, rngs, lora)

    def trains(self, path):
        return path[0] != "decoder"

    def adopt_parents(self, params):
        _, fusion = self.parent_artefact.load_params()
        _, decoder = self.decoder_artefact.load_params()
        return replace_parts(params, {"fusion": fusion, "decoder": decoder})

    def save_files(self, workdir):
        self.tokenizer.save(workdir / artefact.TOKENIZER)

    def loss(self, model: SignBind, batch, key):
        noise_key, fusion_key, decoder_key = jax.random.split(key, 3)
        tokens, keep_bs = add_noise(batch.tokens, batch.index_b, noise_key, self.noise)
        prompt_mask_bp = visible_prompt(batch.prompt_mask_bp, keep_bs[:, SPELLING])
        prefix_bpd, mask_bp, log_probs_bsv = model.prefix(
            tokens, batch.prompt_ids_bp, prompt_mask_bp, fusion_key
        )
        loss_bl, correct_bl = sentence_loss(
            model.decoder, prefix_bpd, mask_bp, batch.text_ids_bl, batch.text_mask_bl, decoder_key
        )
        m = batch.tokens.ids_bm.shape[1]
        ctc_loss, _ = ctc_sums(log_probs_bsv, mask_bp[:, :m], batch)
        loss = jnp.sum(loss_bl)
        metrics = {"accuracy": jnp.sum(correct_bl), "sentence_loss": loss, "ctc_loss": ctc_loss}
        total = loss + self.options.ctc_weight * ctc_loss
        return total, jnp.sum(batch.text_mask_bl), metrics

    def evaluate(self, graphdef, params, split):
        """Translation scores with all streams present."""
        clips = self.dataset.split(split)
        hypotheses = self.write(graphdef, params, self.read(clips))
        scores = translation_scores(clips.labels, hypotheses)
        return {k: v for k, v in scores.items() if isinstance(v, float)}

    def write(self, graphdef, params, sentences: Sentences, keep: Sequence[bool] = ALL_STREAMS):
        """Sentences of a split with the streams of `keep` present."""
        return write_sentences(graphdef, params, self.tokenizer, sentences, keep,
                               self.options.beam_size, self.options.max_new_tokens)  # fmt: skip


class TranslationStage(AlignmentStage):
    """Stage 4: the LLM is tuned together with fusion and projector."""

    name = "translation"
    parent = "alignment"

    def trains(self, path):
        return path[0] != "decoder" or not self.options.lora_rank or "lora" in path

    def adopt_parents(self, params):
        _, parent = self.parent_artefact.load_params()
        return replace_parts(params, {part: parent[part] for part in parent})


def replace_parts(params: nnx.State, parts: dict[str, nnx.State]) -> nnx.State:
    """`params` with whole sub-trees replaced; their structure must be the same."""
    flat = dict(params.flat_state())
    for name, part in parts.items():
        for path, variable in part.flat_state():
            flat[(name, *path)] = flat[(name, *path)].replace(variable[...])
    return nnx.State.from_flat_path(flat)


def make_prompts(tokenizer, streams: SplitStreams, letters_as_text: bool) -> list[list[int]]:
    """[letters of the fingerspelling stream as characters,] and the beginning token."""
    expert = streams.experts[SPELLING]
    n = next(e.n_clips for e in streams.experts if e is not None)
    if not letters_as_text or expert is None:
        return [[tokenizer.bos_id] for _ in range(n)]
    from signbind_jax.data.vocabulary import Vocabulary

    letters = Vocabulary.letters()
    prompts = []
    for clip in range(n):
        word = "".join(letters.decode(expert.ids[expert.of(clip)]))
        prompts.append([*tokenizer.encode(word, [word]), tokenizer.bos_id])
    return prompts


def visible_prompt(prompt_mask_bp, spelling_b):
    """Hides the letters in the prompt of rows whose fingerspelling stream is absent; the
    last place, the beginning token, stays."""
    last_p = jnp.arange(prompt_mask_bp.shape[1]) == prompt_mask_bp.shape[1] - 1
    return prompt_mask_bp & (spelling_b[:, None] | last_p)


def write_sentences(graphdef, params, tokenizer, sentences: Sentences, keep: Sequence[bool],
                    beam_size: int, max_new_tokens: int) -> list[str]:  # fmt: skip
    """The sentence SignBind writes for each clip with the streams of `keep` present."""

    def prefix(model: SignBind, batch, keep_s):
        keep_bs = jnp.broadcast_to(keep_s, (batch.index_b.shape[0], len(keep)))
        prompt_mask_bp = visible_prompt(batch.prompt_mask_bp, keep_bs[:, SPELLING])
        tokens = keep_streams(batch.tokens, keep_bs)
        prefix_bpd, mask_bp, _ = model.prefix(tokens, batch.prompt_ids_bp, prompt_mask_bp)
        return prefix_bpd, mask_bp

    writer = Writer(graphdef, prefix, lambda m: m.decoder, tokenizer, beam_size, max_new_tokens)
    batches = reading_batches(sentences, 2048)
    return writer.write(params, batches, len(sentences), jnp.array(keep))
