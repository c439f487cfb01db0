"""What alignment and translation learn from: fusion's streams, prompts and sentences."""

import dataclasses
from pathlib import Path

import numpy as np
from flax import nnx

from signbind_jax import streams
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.manifest import check_parent
from signbind_jax.config import RunConfig
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.previous_clips import NONE
from signbind_jax.data.vocabulary import FUSION_TARGETS
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import TranslationEvaluator
from signbind_jax.generation.config import read_options
from signbind_jax.hf import hub
from signbind_jax.hf.pretrained import Pretrained, open_pretrained
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.sources.fusion import FusionSource
from signbind_jax.stages.language_model import encode_sentence
from signbind_jax.stages.read_streams import GivenReader
from signbind_jax.stages.system import System
from signbind_jax.stages.translation import (
    SignBindShapes,
    TranslationOptions,
    make_prompt_parts,
)


class AlignmentSource(FusionSource):
    """Streams, prompts and sentences of every clip, a trained fusion and an LLM.

    Attributes:
      tunes: whether the run that `init.from` names stands in for `parent`, which is not named.
    """

    parent = "fusion"

    def _open_parents(self):
        self.options = read_options(TranslationOptions, self.config.options)
        self.parent_artefact = self._open_parent(self.config)
        self.decoder_artefact = self._open_decoder(self.config)
        self.tokenizer = self.decoder_artefact.tokenizer
        self.previous = self.options.previous(self.tokenizer)
        if not self.tunes:
            self.parents[self.parent] = self.parent_artefact.digest
        self.parents["language_model"] = self.decoder_artefact.digest

    def _open_parent(self, config: RunConfig) -> artefact.Artefact:
        directory = config.parents[self.parent]
        self.tunes = not directory and bool(config.init_from)
        if self.tunes:
            return artefact.open_artefact(config.init_from)  # checked by who starts from it
        if not directory:
            raise SignBindError(
                f"config.parents.{self.parent}: found nothing, wanted the "
                f"--workdir of a trained {self.parent} stage"
            )
        parent = artefact.open_artefact(directory)
        where = f"config.parents.{self.parent}: {directory}"
        check_parent(parent.manifest, {"stage": self.parent}, where)
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
            decoder = artefact.open_artefact(name)
            where = f"config.parents.language_model: {name}"
            check_parent(decoder.manifest, {"stage": "language_model"}, where)
            return decoder
        clips = self.dataset.split(config.data.train).labels
        instruction = self.options.instruction_in({clip.text_language for clip in clips})
        return open_pretrained(hub.find(name), instruction)

    def _given_reader(self, name, train):
        vocabulary = streams.given_vocabulary(name)
        if self.tunes or vocabulary not in self.parent_artefact.vocabularies:
            return super()._given_reader(name, train)
        return GivenReader(name, self.parent_artefact.vocabularies[vocabulary])

    def _fusion_targets(self):
        """Those of the parent, which may have been trained on more than this."""
        vocabulary = self.parent_artefact.vocabularies.get(FUSION_TARGETS)
        if self.tunes or vocabulary is None:
            return super()._fusion_targets()
        where = f"config.parents.{self.parent}: {self.parent_artefact.workdir}"
        self._check_coverage(vocabulary, "fusion_targets", where)
        return vocabulary

    @property
    def imported(self) -> bool:
        """Whether the decoder comes from others and not from a language_model stage."""
        return isinstance(self.decoder_artefact, Pretrained)

    def _fusion_config(self, sizes):
        """That of the parent, which must mean the same as experts and corpus by every id; of a run
        that is tuned, the tables are taken by token."""
        if self.tunes:
            return dataclasses.replace(self._fusion_of_parent, **sizes)
        found, given = self.config.streams, self.parent_artefact.config.streams
        if found != given:
            raise SignBindError(
                f"config.data.streams: found the streams {', '.join(found)}, wanted "
                f"{', '.join(given)} as {self.parent_artefact.workdir} was trained on"
            )
        wanted = {
            "vocabularies": {name: v.digest for name, v in self.vocabularies.items()},
            "dimensions": {"d_hidden": sizes["d_hidden"]},
        }
        check_parent(self.parent_artefact.manifest, wanted, str(self.parent_artefact.workdir))
        return self._fusion_of_parent

    @property
    def _fusion_of_parent(self) -> FusionConfig:
        config = self.parent_artefact.model_config
        return config.fusion if isinstance(config, SignBindConfig) else config

    def _drawn_lengths(self):
        return self.sentences.lengths  # sentences are learnt of all

    def _make_shapes(self, fusion, capacities):
        decoder = self.decoder_artefact.model_config
        given = self.fusion_targets, self.tokenizer, self.options, self.reader
        prompt_parts = make_prompt_parts(*given)
        return SignBindShapes(fusion, decoder, self.imported, prompt_parts, capacities)

    def _label(self, clips, read):
        base = super()._label(clips, read)
        texts = [encode_sentence(self.tokenizer, c.text, c.spelled) for c in clips.labels]
        prompts = self._prompts(clips) if self.previous else [self.tokenizer.tail] * len(texts)
        lengths = rooms(base.lengths, np.array([len(text) for text in texts]))
        return dataclasses.replace(base, lengths=lengths, prompts=prompts, texts=texts)

    def _prompts(self, clips: ClipDataset) -> list[list[int]]:
        """Those of training clips, with the sentence before as the dataset has it."""
        before = ["" if i == NONE else clips.labels[i].text for i in clips.previous]
        prompts, tail = [self.previous.prompt(text) for text in before], self.tokenizer.tail
        n, most = sum(prompt != tail for prompt in prompts), len(tail) + self.previous.most
        if not n:
            raise SignBindError(
                f"config.options.previous_sentence: found {self.previous.most} and no clip of "
                f"{clips.name} that follows another one of its recording, wanted 0 or a dataset "
                "that says which clips are of one recording: build it again"
            )
        full = sum(len(prompt) == most for prompt in prompts)
        self.notes.append(
            f"{n} of {len(prompts)} clips have a sentence before them in their recording; "
            f"{full} of these fill the {self.previous.most} tokens of options.previous_sentence"
        )
        return prompts

    def _sentences_of(self, i, step):
        if not self.previous:
            return self.sentences
        prompts = list(self.sentences.prompts)
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, i]))
        rows = step.ids[:, 0]
        for row in rows[(rng.random(len(rows)) < self.options.drop_previous) & (rows >= 0)]:
            prompts[row] = self.tokenizer.tail
        return dataclasses.replace(self.sentences, prompts=prompts)

    def parent_directories(self):
        return super().parent_directories() | {"language_model": str(self.decoder_artefact.workdir)}

    def initial_params(self, stage, mesh):
        if self.tunes:
            return self._decoder_params(stage, mesh)
        _, fusion = self.parent_artefact.load_params(mesh)
        return prefix_paths(("fusion",), fusion) | self._decoder_params(stage, mesh)

    def _decoder_params(self, stage, mesh) -> dict[tuple, nnx.Variable]:
        given = (stage.stored_dtype(("decoder",)),) if self.imported else ()
        return prefix_paths(("decoder",), self.decoder_artefact.load_params(mesh, *given)[1])

    def side_files(self):
        return artefact.tokenizer_files(self.tokenizer)

    def evaluator(self, weights):
        parts = self.shapes.prompt_parts
        given = self.fusion_targets, self.tokenizer, parts, self.options.generation, self.previous
        system = System(self.reader, weights, *given)
        return TranslationEvaluator(system, self.config.convention, self.known_words)


class TranslationSource(AlignmentSource):
    """The same, with what alignment trained."""

    parent = "alignment"

    def _fusion_config(self, sizes):
        found = self.decoder_artefact.digest
        wanted = self.parent_artefact.manifest.parents.get("language_model", "")
        if found != wanted and not self.tunes:
            raise SignBindError(
                f"{self.decoder_artefact.workdir}: artefact digest: found {found[:12]}, wanted "
                f"{wanted[:12]}: not the language model that {self.parent_artefact.workdir} was "
                "trained with"
            )
        found, parent = self.options.soft_prefix, self.parent_artefact
        if not self.tunes and found != parent.model_config.soft_prefix:
            raise SignBindError(
                f"config.options.soft_prefix: found {found!r}, wanted "
                f"{parent.model_config.soft_prefix!r} as {parent.workdir} was trained with"
            )
        return super()._fusion_config(sizes)

    def initial_params(self, stage, mesh):
        if self.tunes:
            return self._decoder_params(stage, mesh)
        _, parent = self.parent_artefact.load_params(mesh, imported=False)
        decoder = self._decoder_params(stage, mesh) if self.imported else {}
        return prefix_paths((), parent) | decoder


def rooms(tokens_g: np.ndarray, text_g: np.ndarray) -> np.ndarray:
    """What clips g with so many tokens of the streams and of the text are put into batches by: the
    tokens of the streams, or as many as usually go with a text of this length, if these are more.

    One long text among short ones would make room for a long one in every row: by the streams alone
    two thirds of the places for PHOENIX-2014T's text are empty, and its logits are most of a step.
    """
    per_text_token = tokens_g.sum() / max(text_g.sum(), 1)
    usual_g = np.ceil(text_g * per_text_token).astype(tokens_g.dtype)
    return np.where(tokens_g > 0, np.maximum(tokens_g, usual_g), 0)


def prefix_paths(prefix: tuple[str, ...], params: nnx.State) -> dict[tuple, nnx.Variable]:
    """The variables of a part by their path in the whole, where it has `prefix` in front."""
    return {prefix + path: x for path, x in nnx.to_flat_state(params)}
