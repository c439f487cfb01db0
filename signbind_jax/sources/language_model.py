"""What the decoder learns from: the true streams of clips as text, with fresh names."""

import jax
import numpy as np

from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig
from signbind_jax.data.fresh_names import NameMaker, replace_words
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
    stream_text,
)


class LanguageModelSource(BatchSource):
    """Prompts and sentences of the clips that have a text, and the tokenizer fitted to them."""

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.options = read_options(LanguageModelOptions, config.options)
        train = self.dataset.split(config.data.train)
        with_text = [i for i, clip in enumerate(train.labels) if clip.text]
        self.clips = [train.labels[i] for i in with_text]
        spelled = [word for clip in self.clips for word in clip.spelled]
        texts = [text for clip in self.clips for text in (clip.text, stream_text(clip))]
        self.tokenizer = train_bpe(texts, self.options.bpe_vocabulary, spelled)
        self.names = NameMaker(spelled)
        self.sentences = self._sentences(self.clips)
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

    def _sentences(self, clips) -> Sentences:
        prompts = [encode_prompt(self.tokenizer, stream_text(c), c.spelled) for c in clips]
        texts = [encode_sentence(self.tokenizer, c.text, c.spelled) for c in clips]
        lengths = np.array([len(p) + len(t) for p, t in zip(prompts, texts)])
        return Sentences(lengths, None, [()] * len(clips), prompts, texts)

    def batch(self, i):
        step = self.plan.step(i)
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, i]))
        renamed = self._with_fresh_names(step.ids[:, 0], rng)
        own = step.for_process(jax.process_index(), jax.process_count())
        return renamed.batch(own, self.shapes.capacities[step.bucket_length])

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

    def side_files(self):
        return artefact.tokenizer_files(self.tokenizer)

    def evaluator(self, weights):
        given = self.tokenizer, self.options.generation, self.config.convention
        return LanguageModelEvaluator(weights, *given, self.known_words)
