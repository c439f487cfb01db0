"""What the decoder learns from: the true streams of clips as text, with fresh names and noise."""

import itertools
import re
from collections.abc import Mapping

import jax
import numpy as np

from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig
from signbind_jax.data.clip import FINGERSPELLED_PREFIX
from signbind_jax.data.fresh_names import NameMaker, replace_words
from signbind_jax.data.labels import letters
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.training_plan import training_plan
from signbind_jax.errors import SignBindError
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

_WORD = re.compile(r"\w+")


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
        self.spelled = [word for clip in self.clips for word in clip.spelled]
        if self.options.made_up_names and not self.spelled:
            raise SignBindError(
                f"config.options.made_up_names: found {self.options.made_up_names:g} and no "
                f"spelled word in split {train.name}, wanted 0, or spelled words (data.spellings)"
            )
        texts = (clip.text for clip in self.clips)
        prompts = (" ".join(map(_bare, words)) for words in self.words)
        both = itertools.chain(*zip(texts, prompts, strict=True))
        self.tokenizer = train_bpe(both, self.options.bpe_vocabulary, self.spelled)
        self.names = NameMaker(self.spelled)
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
        drawn = self._drawn(step.ids[:, 0], step.bucket_length, rng)
        own = step.for_process(jax.process_index(), jax.process_count())
        return drawn.batch(own, self.shapes.capacities[step.bucket_length])

    def _drawn(self, ids, length: int, rng) -> Sentences:
        """The sentences of a batch of a length with fresh names, and with noise in their prompts;
        those for which the batch has no room stay as they are."""
        prompts, texts = list(self.sentences.prompts), list(self.sentences.texts)
        _, prompt_room, text_room = self.shapes.capacities[length]
        noise = self.options.drop + self.options.substitute
        for i in (int(i) for i in ids if i >= 0):
            fresh, made_up = self._fresh(i, rng), self._made_up(i, rng)
            if not (fresh or made_up or noise):
                continue  # it is encoded already
            for names in (fresh | made_up, fresh) if made_up else (fresh,):
                words, text = self._renamed(i, names)
                prompt = encode_prompt(self.tokenizer, self._noisy(words, rng))
                n, m = len(prompt), len(text)
                if n <= prompt_room and m <= text_room and n + m <= length:
                    prompts[i], texts[i] = prompt, text
                    break
        return Sentences(self.sentences.lengths, None, self.sentences.targets, prompts, texts)

    def _fresh(self, i: int, rng) -> dict[str, str]:
        """Spelled words of a clip -> others of their length; mostly."""
        spelled = self.clips[i].spelled
        if not spelled or rng.random() >= self.options.fresh_names:
            return {}
        return {w: self.names.make(len(w), rng) for w in spelled if w.isascii()}

    def _made_up(self, i: int, rng) -> dict[str, str]:
        """A word that prompt and sentence of a clip share -> a made-up name; now and then."""
        made_up, clip = self.options.made_up_names, self.clips[i]
        if not made_up or rng.random() >= made_up:
            return {}
        said = {*_WORD.findall(clip.text.casefold())}
        shared = [w for w in self.words[i] if len(w) > 1 and w.isascii() and w in said]
        if not shared:
            return {}
        usual = self.spelled[rng.integers(len(self.spelled))]
        name = self.names.make(len(usual), rng)
        in_cases = clip.text != clip.text.lower()
        return {shared[rng.integers(len(shared))]: name.capitalize() if in_cases else name}

    def _renamed(self, i: int, names: Mapping[str, str]) -> tuple[list[str], list[int]]:
        """The words of a clip's prompt and the ids of its sentence, words replaced by names."""
        clip, words = self.clips[i], self.words[i]
        if not names:
            return words, self.sentences.texts[i]
        spelled = [*names.values(), *clip.spelled]
        text = encode_sentence(self.tokenizer, replace_words(clip.text, names), spelled)
        in_prompt = {}
        for old, new in names.items():
            in_prompt |= dict.fromkeys((old, _letters(old)), _letters(new))
        return [in_prompt.get(word, word) for word in words], text

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


def _bare(word: str) -> str:
    return word.removeprefix(FINGERSPELLED_PREFIX)


def _is_lemma(word: str) -> bool:
    return _bare(word) == word


def _letters(word: str) -> str:
    """A spelled word as `stream_words` has it."""
    return FINGERSPELLED_PREFIX + "".join(letters((word,)))
