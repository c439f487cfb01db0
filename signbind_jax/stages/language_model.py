"""The decoder, where none is pretrained: learns the language, and to copy spelled names.

Each sample is the text of the true streams (sense lemmas, spelled words letter by letter)
as a prompt and the sentence behind it. Spelled words are replaced by fresh ones in most
samples, so that the model learns to copy letters instead of remembering names.
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.batch_plan import EMPTY_ROW, Step
from signbind_jax.data.clip import FINGERSPELLED_PREFIX, Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.fresh_names import NameMaker, replace_words
from signbind_jax.data.labels import targets
from signbind_jax.data.mixture import open_data
from signbind_jax.data.read_ahead import read_ahead
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.training_plan import training_plan
from signbind_jax.distributed import hosts
from signbind_jax.generation.config import GenerationConfig, read_options
from signbind_jax.generation.sentences import generate_sentences, lower_writing
from signbind_jax.hf.tokenizer import SPECIAL_TOKENS, TextTokenizer, train_bpe
from signbind_jax.metrics.translation import translation_scores
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.ranges import Checked, Range, Share
from signbind_jax.stages.stage import Evaluation, Stage, samples_of

_BYTES = 256


@dataclass(frozen=True)
class LanguageModelOptions(Checked):
    """What is special to this stage.

    Attributes:
      bpe_vocabulary: the most tokens of the byte-level BPE fitted to the corpus.
      fresh_names: share of the samples whose spelled words are replaced by fresh ones.
      generation: how the sentences of an evaluation are written.
    """

    bpe_vocabulary: Annotated[int, Range(len(SPECIAL_TOKENS) + _BYTES, 2**20)] = 1024
    fresh_names: Share = 0.9
    generation: GenerationConfig = GenerationConfig()


def stream_text(clip: Clip) -> str:
    """The true streams as words, in order of time: lemmas and spelled words."""
    if clip.senses:
        words = [word.removeprefix(FINGERSPELLED_PREFIX) for word in clip.senses]
    else:
        words = [*targets(clip)["gloss"], *clip.spelled]
    return " ".join(words)


def encode_prompt(tokenizer: TextTokenizer, text: str, spelled=()) -> list[int]:
    """Ids of a prompt: its text, a space before every word as in `fused_text`, then the
    token that begins a sentence."""
    return [*tokenizer.encode(" " + text, spelled), tokenizer.bos_id]


def encode_sentence(tokenizer: TextTokenizer, text: str, spelled=()) -> list[int]:
    """Ids of a sentence, then the token that ends it."""
    return [*tokenizer.encode(text, spelled), tokenizer.eos_id]


class LanguageModelStage(Stage):
    """Trains a small decoder from scratch on the text side of a corpus."""

    name = "language_model"
    main_metric = "bleu4"

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.options = read_options(LanguageModelOptions, config.options)
        self.dataset = open_data(config.data)
        train = self.dataset.split(config.data.train)
        with_text = [i for i, clip in enumerate(train.labels) if clip.text]
        self.clips = [train.labels[i] for i in with_text]
        spelled = [word for clip in self.clips for word in clip.spelled]
        texts = [text for clip in self.clips for text in (clip.text, stream_text(clip))]
        self.tokenizer = train_bpe(texts, self.options.bpe_vocabulary, spelled)
        self.model_config = from_mapping(
            DecoderConfig,
            config.model | {"vocab_size": self.tokenizer.model_vocab_size},
            "config.model",
        )
        self.names = NameMaker(spelled)
        self.sentences = self._sentences(self.clips)
        times = None if train.times is None else train.times[with_text]
        self.plan = training_plan(
            self.sentences.lengths, config.data, config.seed, times=times, multiple=4
        )
        self.capacities = self.sentences.capacities(self.plan.buckets)
        self.notes.append(
            f"{len(self.clips)} sentences, {self.tokenizer.vocab_size} tokens, "
            f"{self.plan.steps_per_epoch} steps an epoch"
        )

    def assume(self, sizes):
        self.options = read_options(LanguageModelOptions, self.config.options)
        self.model_config = from_mapping(
            DecoderConfig, self.config.model | {"vocab_size": sizes.vocabulary}, "config.model"
        )
        self.text = sizes.text

    def empty_batch(self, length):
        """The sentence and, in front of it, a prompt that fills `length`."""
        sentences = Sentences(np.zeros(0, int), None, [], [], [])
        step = Step.padded(length, np.array([EMPTY_ROW]))
        return sentences.batch(step, (1, max(length - self.text, 1), self.text))

    def lower_writing(self, graphdef, params, batch):
        return lower_writing(
            graphdef, params, batch, prefix=_prompt_alone, config=self.options.generation
        )

    def _sentences(self, clips) -> Sentences:
        prompts = [encode_prompt(self.tokenizer, stream_text(c), c.spelled) for c in clips]
        texts = [encode_sentence(self.tokenizer, c.text, c.spelled) for c in clips]
        lengths = np.array([len(p) + len(t) for p, t in zip(prompts, texts)])
        return Sentences(lengths, None, [()] * len(clips), prompts, texts)

    def dimensions(self) -> dict[str, int]:
        return {"d_model": self.model_config.d_model, "vocab_size": self.model_config.vocab_size}

    def make_model(self, rngs):
        return Decoder(self.model_config, rngs)

    def side_files(self):
        return artefact.tokenizer_files(self.tokenizer)

    def batches(self, start_step, stop_step=None):
        return read_ahead(self._batch, start_step, stop_step)

    def _batch(self, i: int):
        step = self.plan.step(i)
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, i]))
        renamed = self._with_fresh_names(step.ids[:, 0], rng)
        own = step.for_process(jax.process_index(), jax.process_count())
        return renamed.batch(own, self.capacities[step.bucket_length])

    def _with_fresh_names(self, ids, rng) -> Sentences:
        """The sentences of a batch with fresh names of the old lengths, so that token counts
        and with them the batch plan stay as they are."""
        prompts, texts = list(self.sentences.prompts), list(self.sentences.texts)
        for i in (int(i) for i in ids if i >= 0):
            clip = self.clips[i]
            if not clip.spelled or rng.random() >= self.options.fresh_names:
                continue
            fresh = {w: self.names.make(len(w), rng) for w in clip.spelled if w.isascii()}
            spelled = [*fresh.values(), *clip.spelled]
            prompt = encode_prompt(self.tokenizer, replace_words(stream_text(clip), fresh), spelled)
            text = encode_sentence(self.tokenizer, replace_words(clip.text, fresh), spelled)
            # A fresh name may equal an ordinary word of the sentence and so spell it out.
            if (len(prompt), len(text)) == (len(prompts[i]), len(texts[i])):
                prompts[i], texts[i] = prompt, text
        return Sentences(self.sentences.lengths, None, self.sentences.targets, prompts, texts)

    def loss(self, model: Decoder, batch, key):
        prefix_bpd = model.embed(batch.prompt_ids_bp)
        loss_bl, correct_bl = model.loss(
            prefix_bpd, batch.prompt_mask_bp, batch.text_ids_bl, batch.text_mask_bl, key
        )
        weight = jnp.sum(batch.text_mask_bl)
        return jnp.sum(loss_bl), weight, {"accuracy": jnp.sum(correct_bl)}

    def evaluate(self, graphdef, params, split):
        """Scores of sentences written from the true streams as text."""
        clips = self.dataset.split(split)
        hypotheses = self.write(graphdef, params, clips)
        scores = hosts.broadcast("scoring", lambda: translation_scores(clips.labels, hypotheses))
        values = {k: v for k, v in scores.items() if isinstance(v, float)}
        texts = [clip.text for clip in clips.labels]
        return Evaluation(values, samples_of(clips.ids, texts, hypotheses))

    def write(self, graphdef, params, clips: ClipDataset) -> list[str]:
        """The sentence the model writes for the true streams of each clip."""
        return write_from_text(graphdef, params, self.tokenizer, clips, self.options.generation)


def write_from_text(graphdef, params, tokenizer, clips, config: GenerationConfig) -> list[str]:
    """Sentences a decoder writes for the true streams of each clip, given as text."""
    labels = clips.labels
    prompts = [encode_prompt(tokenizer, stream_text(c), c.spelled) for c in labels]
    lengths = np.array([len(p) for p in prompts])
    sentences = Sentences(lengths, None, [()] * len(prompts), prompts, [()] * len(prompts))
    return generate_sentences(
        graphdef, params, sentences, tokenizer, prefix=_prompt_alone, config=config
    )


def _prompt_alone(decoder: Decoder, batch):
    return decoder, decoder.embed(batch.prompt_ids_bp), batch.prompt_mask_bp, np.zeros(1, np.int32)
