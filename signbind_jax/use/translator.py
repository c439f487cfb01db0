"""Translator: a trained system as one object, from clips to streams to sentences."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack, overload

import numpy as np

from signbind_jax.checkpoint import artefact
from signbind_jax.data.clip import Clip
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.vocabulary import FUSION_TARGETS
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import read_options
from signbind_jax.stages.open_experts import open_reader_of
from signbind_jax.stages.read_streams import Clips, given_instead
from signbind_jax.stages.system import System
from signbind_jax.stages.translation import TranslationOptions, make_prompt_parts
from signbind_jax.use.boundaries import BoundaryReader
from signbind_jax.use.bundle import BundlePart, open_bundle
from signbind_jax.use.clip_files import ClipSource, Reading, one_clip_each
from signbind_jax.use.opening import open_translator
from signbind_jax.use.translation import Translation, time_words

LONGEST_S = 20.0  # a sentence may last, where nothing says how long those of training were


class Translator(System):
    """Opens an alignment or translation stage and the experts it stands on.

    Attributes:
      longest_s: seconds of the longest clip it was trained on; `LONGEST_S` where its run does not
        say.

    Args:
      checkpoint: a run directory, the directory of a bundle, or the hub id of one.
      settings: fields of GenerationConfig by name, in place of what the run's config says.
      step: which checkpoint of a run, see `artefact.open_artefact`.

    Raises:
      SignBindError: nothing of that kind there; a part that is missing, damaged or was trained
        again since; settings out of range or that do not go together.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        settings: Mapping[str, Any] | None = None,
        *,
        step: int | str = artefact.NEWEST,
    ):
        run, experts = open_translator(checkpoint, step)
        options = read_options(TranslationOptions, run.config.options)
        fusion_targets, reader = run.vocabularies[FUSION_TARGETS], open_reader_of(run, experts)
        super().__init__(
            reader=reader,
            weights=functools.cache(run.load_params),
            fusion_targets=fusion_targets,
            tokenizer=run.tokenizer,
            prompt_parts=make_prompt_parts(fusion_targets, run.tokenizer, options, reader),
            generation=generation_config.overridden(options.generation, settings or {}),
            previous=options.previous(run.tokenizer),
        )
        self._opened = run, experts
        self.longest_s = float(run.manifest.extra.get("longest_s", 0.0)) or LONGEST_S
        self._reads_hidden = run.model_config.fusion.hidden

    @overload
    def __call__(self, clips: ClipSource, **how: Unpack[Reading]) -> Translation: ...

    @overload
    def __call__(
        self, clips: Sequence[ClipSource], **how: Unpack[Reading]
    ) -> list[Translation]: ...

    def __call__(
        self, clips: ClipSource | Sequence[ClipSource], **how: Unpack[Reading]
    ) -> Translation | list[Translation]:
        """Translates one clip, or several in batches.

        Args:
          clips: a `.pose` or `.npz` file, a video, a directory of mouth crops, or a `Clip`; or a
            sequence of such.
          how: how files are read: `crops`, `extracted` and `workers` of
            `data_pipelines.clip_inputs.read_paths`.

        Returns:
          A translation; of a sequence one of each, in the order given.

        Raises:
          SignBindError: a file that cannot be read, or that holds no or several clips.
        """
        if isinstance(clips, str | os.PathLike | Clip):
            return self([clips], **how)[0]
        return self.translate_clips(one_clip_each(clips, self.reader.lip_size, **how))

    @functools.cached_property
    def segmenter(self) -> BoundaryReader | None:
        """What finds where sentences of long recordings end; None: it came with none.

        Raises:
          SignBindError: a file of a bundle that was changed.
        """
        run, _ = self._opened
        if not isinstance(run, BundlePart):
            return None
        found = open_bundle(run.workdir.parent).segmenter()
        return found and BoundaryReader.of(found)

    def translate_clips(
        self, clips: Sequence[Clip], one_recording: bool = False
    ) -> list[Translation]:
        """Translates clips in memory, in batches; one translation of each, in the order given.

        one_recording: whether that is the order in which they were signed in one recording, for a
          run with `options.previous_sentence`.

        Raises:
          SignBindError: crops of another size than the expert reads; a recording and tokens of
            one stream.
        """
        if not clips:
            return []
        listed = ClipList(clips)
        read = self.read(listed)
        without = self.reader.without_input(listed)
        previous = np.arange(len(clips)) - 1 if one_recording else None
        texts, found = self.write(read, previous=previous), []
        for i, (text, fused) in enumerate(zip(texts, self.fused(read), strict=True)):
            tokens = self.tokens(read, i)
            missing = tuple(name for name, lacking in without.items() if i in lacking)
            words = time_words(text, tokens)
            found.append(Translation(clips[i].id, text, tokens, fused, words, missing))
        return found

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What is known of it, JSON-ready: name, digest, streams, data with languages and licences,
        scores, whether it is synthetic; see `model_card.facts_of`.

        A bundle says what was known when it was exported, a run what its datasets say now.
        """
        from signbind_jax.use.model_card import facts_of

        run, experts = self._opened
        if isinstance(run, BundlePart):
            return open_bundle(run.workdir.parent).facts
        return facts_of(run, experts)

    def without_hidden(self, clips: Clips) -> str:
        """What a user should know of tokens in place of an expert; empty where there are none."""
        readers = self.reader.readers.values()
        given = [reader.name for reader in readers if given_instead(reader, clips)]
        if not given or not self._reads_hidden:
            return ""
        return (
            f"{', '.join(given)}: tokens from a file have no hidden vectors, which this fusion was "
            "trained with; one trained with --config=fusion:hidden=False needs none"
        )


def load_translator(directory: str | os.PathLike[str], **settings: Any) -> Translator:
    """Loads a trained translator.

    Args:
      directory: run directory of an alignment or translation stage, the directory of a bundle
        that `signbind export translator` wrote, or the hub id of one, "owner/name".
      settings: how sentences are written: fields of `GenerationConfig` such as `beam_size=5`, in
        place of what the translator's own config says.

    Raises:
      SignBindError: nothing of that kind there, or something in it is missing or damaged; a
        setting that is not known, out of range or does not go with the others.
    """
    return Translator(directory, settings)
