"""Parts of a translator on their own: an expert that reads clips, fusion that joins tokens."""

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Unpack, overload

from flax import nnx

from signbind_jax import streams
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.checkpoint.model_record import abstract_model
from signbind_jax.data.batch import reads_lips
from signbind_jax.data.clip import MOST_SECONDS, Clip, TimedToken, check_timed_tokens
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.data.vocabulary import FUSION_TARGETS, Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.read_streams import ExpertReader, GivenReader, readable
from signbind_jax.use.clip_files import ClipSource, Reading, one_clip_each
from signbind_jax.use.opening import open_expert, open_fusion

logger = logging.getLogger(__name__)

Tokens = Mapping[str, Sequence[TimedToken]]  # what was read in a clip, by stream


class LoadedExpert:
    """One expert, which reads clips on its own.

    Attributes:
      name: of its stream, such as "fingerspelling".
      vocabulary: what it tells apart, behind the blank.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        name: str = "",
        *,
        step: int | str = artefact.NEWEST,
    ):
        self._reader = ExpertReader.of(open_expert(checkpoint, name, step))
        self.name = self._reader.name
        self.vocabulary: tuple[str, ...] = self._reader.vocabulary.tokens[1:]

    @overload
    def __call__(self, clips: ClipSource, **how: Unpack[Reading]) -> list[TimedToken]: ...

    @overload
    def __call__(
        self, clips: Sequence[ClipSource], **how: Unpack[Reading]
    ) -> list[list[TimedToken]]: ...

    def __call__(
        self, clips: ClipSource | Sequence[ClipSource], **how: Unpack[Reading]
    ) -> list[TimedToken] | list[list[TimedToken]]:
        """Reads one clip, or several in batches; arguments and errors as of `Translator`.

        Returns:
          What was read, in order of time; of a sequence one such list of each.
        """
        if isinstance(clips, str | os.PathLike | Clip):
            return self([clips], **how)[0]
        config = self._reader.config
        lip_size = config.lip_size if reads_lips(config.frontend) else None
        return self.read_clips(one_clip_each(clips, lip_size, **how))

    def read_clips(self, clips: Sequence[Clip]) -> list[list[TimedToken]]:
        """Reads clips in memory. In one without what the expert reads there is no token, which is
        told as a warning."""
        if not clips:
            return []
        listed = ClipList(clips)
        absent = [c.id for c, n in zip(clips, self._reader.lengths(listed), strict=True) if not n]
        if absent:
            of = f"{len(absent)} of {len(clips)} clips"
            logger.warning("%s: no input in %s, such as %s", self.name, of, absent[0])
        read = self._reader.read(listed, hidden=False)
        return [readable(read, self._reader.vocabulary, i) for i in range(len(clips))]


class LoadedFusion:
    """A fusion on its own: timed tokens of any recogniser in, fused tokens out.

    Attributes:
      streams: stream name -> the tokens it was trained on; others are left out, with a warning.
      targets: what fused tokens there are.
    """

    def __init__(self, checkpoint: str | os.PathLike[str], *, step: int | str = artefact.NEWEST):
        run = open_fusion(checkpoint, step)
        self._order = run.config.streams
        self._targets = run.vocabularies[FUSION_TARGETS]
        self._weights = functools.cache(functools.partial(_fusion_weights, run))
        config = run.model_config
        fusion = config if isinstance(config, FusionConfig) else config.fusion
        vocabularies = {name: _vocabulary(run, name) for name in self._order}
        self._readers = {
            name: GivenReader(name, vocabulary, fusion.d_hidden)
            for name, vocabulary in vocabularies.items()
            if vocabulary
        }
        self.streams = {name: r.vocabulary.tokens[1:] for name, r in self._readers.items()}
        self.targets: tuple[str, ...] = self._targets.tokens[1:]
        if fusion.hidden:
            logger.warning(
                "%s: this fusion was trained with experts' hidden vectors, which tokens alone "
                "lack; one trained with --config=fusion:hidden=False needs none",
                checkpoint,
            )

    @overload
    def __call__(self, read: Tokens) -> list[str]: ...

    @overload
    def __call__(self, read: Sequence[Tokens]) -> list[list[str]]: ...

    def __call__(self, read: Tokens | Sequence[Tokens]) -> list[str] | list[list[str]]:
        """Fuses what was read in one clip, or in several in batches.

        Args:
          read: the tokens by stream, in order of their starts; or a sequence of such. A stream
            without an entry is absent.

        Returns:
          Sense lemmas and letters; of a sequence one such list of each.

        Raises:
          SignBindError: a stream that it was not trained on; tokens out of order or without times.
        """
        if isinstance(read, Mapping):
            return self([read])[0]
        if not read:
            return []
        clips = ClipList([self._clip(i, row) for i, row in enumerate(read)])
        tokens = {
            name: self._readers[name].read(clips) if name in self._readers else None
            for name in self._order
        }
        sentences = Sentences.unlabelled(SplitStreams(tokens))
        return read_fused(*self._weights(), sentences, self._targets)

    def _clip(self, i: int, read: Tokens) -> Clip:
        checked = {}
        for name, tokens in read.items():
            if name not in self._readers:
                known = ", ".join(self._readers)
                raise SignBindError(f"clip {i}: stream: found {name!r}, wanted one of {known}")
            rows = [list(token) for token in tokens]
            try:
                check_timed_tokens(rows, MOST_SECONDS)
            except SignBindError as error:
                raise SignBindError(f"clip {i}: stream {name}: {error}") from error
            checked[name] = tuple(TimedToken(*row) for row in rows)
        return Clip(id=str(i), text="", streams=checked)


def load_expert(directory: str | os.PathLike[str], name: str = "") -> LoadedExpert:
    """Loads an expert, which reads letters, glosses or phonemes alone.

    Args:
      directory: its run directory; that of a stage behind it; or a bundle's, or its hub id.
      name: its stream, such as "fingerspelling"; may be empty where there is one expert alone.

    Raises:
      SignBindError: no such expert there, or something of it is missing or damaged.
    """
    return LoadedExpert(directory, name)


def load_fusion(directory: str | os.PathLike[str]) -> LoadedFusion:
    """Loads a fusion without the experts in front of it and the language model behind it.

    Args:
      directory: run directory of a fusion, alignment or translation stage; or a bundle's, or its
        hub id.

    Raises:
      SignBindError: nothing of that kind there, or something of it is missing or damaged.
    """
    return LoadedFusion(directory)


def _fusion_weights(run: Artefact) -> tuple[nnx.GraphDef, nnx.State]:
    config = run.model_config
    if isinstance(config, FusionConfig):
        return run.load_params()
    graphdef = nnx.graphdef(abstract_model(config.fusion))
    return graphdef, run.load_params(imported=False)[1]["fusion"]


def _vocabulary(run: Artefact, stream: str) -> Vocabulary | None:
    """That of a stream as the run has it; None where nothing was read."""
    names = (streams.given_vocabulary(stream), streams.get(stream).vocabulary)
    found = next((run.vocabularies[name] for name in names if name in run.vocabularies), None)
    return found if found and len(found) > 1 else None
