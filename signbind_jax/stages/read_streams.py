"""Streams of clips: frozen experts read them, whole splits through the cache, or single clips; or
they came with the clips."""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from flax import nnx

from signbind_jax import progress, streams
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.config import RunConfig
from signbind_jax.data.batch import modality_of, reads_lips
from signbind_jax.data.batch_plan import EvaluationPlan
from signbind_jax.data.clip import TimedToken, exact
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.frame_rate import thinned
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.stream_cache import (
    ExpertTokens,
    SplitStreams,
    cached,
    gather,
    in_order,
    joined,
)
from signbind_jax.data.vocabulary import BLANK, UNREAD, Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.processes import interrupts
from signbind_jax.stages.expert import check_crops, modality_lengths, read_batch

if TYPE_CHECKING:
    from signbind_jax.stages.unseen_streams import UnseenReader

logger = logging.getLogger(__name__)

Clips = ClipDataset | ClipList
Weights = Callable[[], tuple[nnx.GraphDef, nnx.State]]  # called where something is computed alone


@dataclass(frozen=True)
class ExpertReader:
    """One expert that turns clips into tokens.

    Attributes:
      name: of its stream.
      config, vocabulary: the expert's.
      weights: what gives its graph definition and parameters.
      row_frames: of the rows it was trained on, see `reading_plan`.
      digest: of its artefact and of what is read, under which read splits are kept; empty: none is.
      unread_s: seconds of the runs that become tokens where nothing is read; 0: none do.
      fps: frames a second that it was trained on; 0: not known, see `frame_rate.thinned`.
    """

    name: str
    config: ExpertConfig
    vocabulary: Vocabulary
    weights: Weights
    row_frames: int
    digest: str = ""
    unread_s: float = 0.0
    fps: float = 0.0

    @property
    def d_hidden(self) -> int:
        """Size of its hidden vectors."""
        return self.config.d_model

    @classmethod
    def of(cls, expert: Artefact, unread_s: float = 0.0) -> "ExpertReader":
        """That of a trained expert, whose weights are loaded once."""
        vocabulary = expert.vocabularies[streams.get(expert.stage).vocabulary]
        weights = functools.cache(expert.load_params)
        row_frames, digest = expert.config.data.row_frames, expert.digest
        if unread_s:
            vocabulary = replace(vocabulary, tokens=(*vocabulary.tokens, UNREAD))
            digest = f"{digest} unread {unread_s:g}"
        given = expert.stage, expert.model_config, vocabulary, weights, row_frames
        return cls(*given, digest, unread_s, float(expert.manifest.extra.get("fps", 0.0)))

    def lengths(self, clips: Clips) -> np.ndarray:
        """Frames of what the expert reads, by clip; 0 where it is absent."""
        return modality_lengths(clips, self.config.frontend)

    def read_split(self, clips: ClipDataset, cache: Path) -> ExpertTokens:
        """The same as `read`, decoded once and kept under the digests of split and expert."""
        return cached(cache, clips.digest, self.digest, lambda: self.read(clips))

    def read(
        self, clips: Clips, *, hidden: bool = True, chosen: np.ndarray | None = None
    ) -> ExpertTokens:
        """Tokens of every clip; none where the modality is absent.

        Of several processes each reads its part, and all get the whole.

        Args:
          hidden: False leaves the hidden vectors out.
          chosen: bool (clips,), those that are read; None: all.

        Raises:
          SignBindError: crops of another size than the expert was trained on.
          Interrupted: on every process, where a signal came to one in an evaluation.
        """
        if isinstance(clips, ClipList):
            clips = thinned(clips, modality_of(self.config.frontend), self.fps)
        check_crops(self.config, clips, f"{self.name}: model.lip_size")
        lengths, d_hidden = self.lengths(clips), self.d_hidden if hidden else 0
        lengths = lengths if chosen is None else np.where(chosen, lengths, 0)
        if not (lengths > 0).any():
            return gather(len(clips), d_hidden, ())
        graphdef, params = self.weights()
        plan = reading_plan(lengths, self.row_frames)
        own = EvaluationPlan([plan.step(i) for i in hosts.own_steps(plan.n_steps)])
        batches = clip_batches(clips, own, self.config.frontend, [[]] * len(clips), 8)
        shown = progress.shown(batches, f"reading {self.name}", own.n_steps, "batch")
        decoded = []
        for batch in interrupts.until_asked(shown):
            stream = jax.device_get(read_batch(graphdef, params, batch, self.unread_s))
            hidden_bnd = stream.hidden_bnd[..., :d_hidden]
            decoded.append((batch.index_bg, replace(stream, hidden_bnd=hidden_bnd)))
        hosts.check_uninterrupted(f"reading {clips.name}")
        return gather(len(clips), d_hidden, decoded)


@dataclass(frozen=True)
class GivenReader:
    """One stream that came with the clips, as a dataset or a file of tokens holds it.

    It has no hidden vectors: those of its tokens are 0.

    Attributes:
      name: of the stream.
      vocabulary: tokens that are not in it are left out, and told of.
      d_hidden: size of the hidden vectors.
    """

    name: str
    vocabulary: Vocabulary
    d_hidden: int = 1

    @classmethod
    def of(cls, name: str, clips: ClipDataset) -> "GivenReader":
        """With the tokens of a training split as vocabulary.

        Raises:
          SignBindError: the stream has no token there.
        """
        given = (clip.streams.get(name, ()) for clip in clips.labels)
        tokens = ((t.token for t in row) for row in given)
        vocabulary = Vocabulary.from_sequences(streams.given_vocabulary(name), tokens)
        if len(vocabulary) == 1:
            found = ", ".join(clips.streams) or "none"
            raise SignBindError(
                f"config.data.streams: found {name!r}, of which no clip of split {clips.name} has "
                f"a token, wanted streams that came with the dataset: {found}"
            )
        return cls(name, vocabulary)

    def lengths(self, clips: Clips) -> np.ndarray:
        """Whether each clip came with the stream, 1 or 0."""
        return np.array([self.name in clip.streams for clip in clips.labels], np.int32)

    def read_split(self, clips: ClipDataset, cache: Path) -> ExpertTokens:
        """The same as `read`."""
        del cache
        return self.read(clips)

    def read(self, clips: Clips) -> ExpertTokens:
        """Tokens of every clip; none where it came without the stream."""
        known = {token: i for i, token in enumerate(self.vocabulary.tokens) if i}
        given = [clip.streams.get(self.name, ()) for clip in clips.labels]
        kept = [[t for t in row if t.token in known] for row in given]
        total, n = sum(map(len, given)), sum(map(len, kept))
        if n < total:
            example = next(t.token for row in given for t in row if t.token not in known)
            _tell(
                f"stream {self.name}: {total - n} of {total} tokens of {clips.name} are not in its "
                f"vocabulary: left out, such as {example}"
            )
        rows = [(i, len(row)) for i, row in enumerate(kept)]
        tokens = [t for row in kept for t in row]
        numbers = ([t[i] for t in tokens] for i in (1, 2, 3))  # start, end, confidence
        return in_order(
            len(kept),
            np.array(rows, np.int64).reshape(-1, 2),
            np.array([known[t.token] for t in tokens], np.int32),
            np.zeros((n, self.d_hidden), np.float16),
            *(np.array(column, np.float32) for column in numbers),
        )


@functools.lru_cache(maxsize=1000)
def _tell(line: str) -> None:
    """Warns once of what every evaluation of a run finds again."""
    logger.warning("%s", line)


class StreamReader:
    """What turns clips into the streams of a stage behind the experts.

    Attributes:
      streams: the run's streams, in the order in which fusion numbers them.
      readers: by stream: its expert, or what takes it from the clips; some streams may have none.
      cache: where experts' streams of whole splits are kept: beside the first expert unless the
        config says.
      unseen: by stream, what reads the training split in the expert's place; mostly empty.

    Args:
      given: the readers of `config.data.streams`.
    """

    def __init__(
        self,
        config: RunConfig,
        experts: Mapping[str, Artefact],
        given: Iterable[GivenReader] = (),
    ):
        self.streams = config.streams
        self.readers: dict[str, ExpertReader | GivenReader] = {
            **{name: ExpertReader.of(x, config.data.unread_s) for name, x in experts.items()},
            **{reader.name: reader for reader in given},
        }
        beside = next((expert.workdir.parent for expert in experts.values()), Path()) / "streams"
        self.cache = Path(config.data.stream_cache or beside)
        self.unseen: Mapping[str, UnseenReader] = {}

    def vocabulary(self, name: str) -> Vocabulary:
        """That of a stream; the blank alone where nothing reads it."""
        reader = self.readers.get(name)
        return reader.vocabulary if reader else Vocabulary(name, (BLANK,))

    @property
    def d_hidden(self) -> int:
        """Size of the largest hidden vector."""
        return max(reader.d_hidden for reader in self.readers.values())

    def read(self, clips: Clips) -> SplitStreams:
        """The streams of a split (experts' are kept on disk) or of loose clips.

        A clip that came with tokens in place of what an expert reads keeps those.

        Raises:
          SignBindError: a clip that came with both.
        """
        read: dict[str, ExpertTokens | None] = dict.fromkeys(self.streams)
        for name, reader in self.readers.items():
            loose = isinstance(clips, ClipList)
            instead = given_instead(reader, clips)
            if instead:
                _check_one_source(reader, instead, clips)
            unseen = None if loose else self.unseen.get(name)
            if unseen and unseen.train.digest == clips.digest:
                read[name] = unseen.read_split()
            else:
                read[name] = reader.read(clips) if loose else reader.read_split(clips, self.cache)
            if instead:
                read[name] = joined([read[name], instead.read(clips)])
        return SplitStreams(read)

    def tokens(
        self, read: SplitStreams, clip: int, unread: bool = False
    ) -> dict[str, list[TimedToken]]:
        """The streams of one clip as `readable` tokens, by stream name."""
        return {
            name: readable(read.experts[name], reader.vocabulary, clip, unread)
            for name, reader in self.readers.items()
        }

    @property
    def lip_size(self) -> int | None:
        """Side in pixels of the mouth crops that an expert reads; None where none reads them."""
        readers = self.readers.values()
        configs = [reader.config for reader in readers if isinstance(reader, ExpertReader)]
        return next((c.lip_size for c in configs if reads_lips(c.frontend)), None)

    def without_input(self, clips: Clips) -> dict[str, frozenset[int]]:
        """Stream -> the clips that lack what it is read from; without streams that none lacks."""
        lengths = {name: lengths_of(reader, clips) for name, reader in self.readers.items()}
        return {
            name: frozenset(np.flatnonzero(n == 0).tolist())
            for name, n in lengths.items()
            if 0 in n
        }


def readable(
    tokens: ExpertTokens, vocabulary: Vocabulary, clip: int, unread: bool = False
) -> list[TimedToken]:
    """The tokens of one clip with their text.

    unread: whether `UNREAD` is among them, for the whiles in which nothing was read.
    """
    own = tokens.of(clip)
    numbers = zip(tokens.start[own], tokens.end[own], tokens.confidence[own], strict=True)
    return [
        TimedToken(vocabulary.tokens[i], *map(exact, row))
        for i, row in zip(tokens.ids[own], numbers, strict=True)
        if unread or vocabulary.tokens[i] != UNREAD
    ]


def given_instead(reader: ExpertReader | GivenReader, clips: Clips) -> GivenReader | None:
    """What takes an expert's stream from the clips that came with it; None where none did."""
    if isinstance(reader, GivenReader) or reader.name not in clips.streams:
        return None
    return GivenReader(reader.name, reader.vocabulary, reader.d_hidden)


def lengths_of(reader: ExpertReader | GivenReader, clips: Clips) -> np.ndarray:
    """0 for the clips that lack what a stream is read from, the tokens themselves or frames."""
    instead = given_instead(reader, clips)
    lengths = reader.lengths(clips)
    return np.maximum(lengths, instead.lengths(clips)) if instead else lengths


def _check_one_source(expert: ExpertReader, given: GivenReader, clips: Clips) -> None:
    both = np.flatnonzero((expert.lengths(clips) > 0) & (given.lengths(clips) > 0))
    if both.size:
        clip_id = clips.labels[both[0]].id
        raise SignBindError(
            f"{clips.name}: clip {clip_id!r}: found a recording and tokens of stream "
            f"{expert.name}, which the run has an expert for, wanted one of them"
        )
