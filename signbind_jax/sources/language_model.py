"""What the decoder learns from: the true streams of clips as text, with fresh names and noise."""

import itertools

import jax
import numpy as np

from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig
from signbind_jax.data.clip import FINGERSPELLED_PREFIX
from signbind_jax.data.fresh_names import NameMaker, replace_words
from signbind_jax.data.labels import letters
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.training_plan import training_plan
from signbind_jax.evaluate.evaluators import LanguageModelEvaluator
from signbind_jax.generation.config import read_options
from signbind_jax.hf.tokenizer import train_bpe
from signbind_jax.sources.source import BatchSource
from signbind_jax.stages.language_model import (
    LanguageModelOptions,
    LanguageModelShapes,
    encode_prompt,
    encode_sentence,
    stream_words,
)


class LanguageModelSource(BatchSource):
    """Prompts and sentences of the clips that have a text, and the tokenizer fitted to them."""

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.options = read_options(LanguageModelOptions, config.options)
        train = self.dataset.split(config.data.train)
        with_text = [i for i, clip in enumerate(train.labels) if clip.text]
        self.clips = [train.labels[i] for i in with_text]
        self.words = [stream_words(train.targets[i]["fusion_targets"]) for i in with_text]
        self.lemmas = [w for words in self.words for w in words if _is_lemma(w)]
        spelled = [word for clip in self.clips for word in clip.spelled]
        texts = [clip.text for clip in self.clips]
        prompts = [" ".join(words).replace(FINGERSPELLED_PREFIX, "") for words in self.words]
        self.tokenizer = train_bpe(
            itertools.chain(*zip(texts, prompts, strict=True)),
            self.options.bpe_vocabulary,
            spelled,
        )
        self.names = NameMaker(spelled)
        self.sentences = self._sentences()
        times = None if train.times is None else train.times[with_text]
        self.plan = training_plan(
            self.sentences.lengths, config.data, config.seed, times=times, multiple=4
        )
        capacities = self.sentences.capacities(self.plan.buckets)
        self.shapes = LanguageModelShapes(self.tokenizer.model_vocab_size, capacities)
        self.notes.append(
            f"{len(self.clips)} sentences, {self.tokenizer.vocab_size} tokens, "
            f"{self.plan.steps_per_epoch} steps an epoch"
        )

    def _sentences(self) -> Sentences:
        prompts = [encode_prompt(self.tokenizer, words) for words in self.words]
        texts = [encode_sentence(self.tokenizer, c.text, c.spelled) for c in self.clips]
        lengths = np.array([len(p) + len(t) for p, t in zip(prompts, texts, strict=True)])
        return Sentences(lengths, None, [()] * len(texts), prompts, texts)

    def batch(self, i):
        step = self.plan.step(i)
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, i]))
        drawn = self._drawn(step.ids[:, 0], rng)
        own = step.for_process(jax.process_index(), jax.process_count())
        return drawn.batch(own, self.shapes.capacities[step.bucket_length])

    def _drawn(self, ids, rng) -> Sentences:
        """The sentences of a batch with fresh names of the old lengths and with noise in their
        prompts; those that would not fit into their place of the batch plan stay as they are."""
        prompts, texts = list(self.sentences.prompts), list(self.sentences.texts)
        for i in (int(i) for i in ids if i >= 0):
            words, text = self.words[i], texts[i]
            clip = self.clips[i]
            if clip.spelled and rng.random() < self.options.fresh_names:
                fresh = {w: self.names.make(len(w), rng) for w in clip.spelled if w.isascii()}
                spelled = [*fresh.values(), *clip.spelled]
                renamed = {_letters(old): _letters(new) for old, new in fresh.items()}
                words = [renamed.get(word, word) for word in words]
                text = encode_sentence(self.tokenizer, replace_words(clip.text, fresh), spelled)
            words = self._noisy(words, rng)
            prompt = encode_prompt(self.tokenizer, words)
            # A fresh name may equal an ordinary word of the sentence and so spell it out.
            if len(prompt) <= len(prompts[i]) and len(text) == len(texts[i]):
                prompts[i], texts[i] = prompt, text
        return Sentences(self.sentences.lengths, None, self.sentences.targets, prompts, texts)

    def _noisy(self, words: list[str], rng) -> list[str]:
        """The words of a prompt as experts may read them."""
        drop, substitute = self.options.drop, self.options.substitute
        if not drop + substitute:
            return words
        read = []
        for word, u in zip(words, rng.random(len(words)), strict=True):
            if not _is_lemma(word) or u >= drop + substitute:
                read.append(word)
            elif u >= drop:
                read.append(self.lemmas[rng.integers(len(self.lemmas))])
        return read

    def side_files(self):
        return artefact.tokenizer_files(self.tokenizer)

    def evaluator(self, weights):
        given = self.tokenizer, self.options.generation, self.config.convention
        return LanguageModelEvaluator(weights, *given, self.known_words)


def _is_lemma(word: str) -> bool:
    return not word.startswith(FINGERSPELLED_PREFIX)


def _letters(word: str) -> str:
    """A spelled word as `stream_words` has it."""
    return FINGERSPELLED_PREFIX + "".join(letters((word,)))
