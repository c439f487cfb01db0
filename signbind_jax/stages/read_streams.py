"""Frozen experts read clips: whole splits through the cache, or single clips."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from signbind_jax import progress, streams
from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.checkpoint.manifest import check_parent
from signbind_jax.config import RunConfig
from signbind_jax.data.batch import reads_lips
from signbind_jax.data.batch_plan import EvaluationPlan
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.stream_cache import ExpertTokens, SplitStreams, cached, gather
from signbind_jax.data.vocabulary import BLANK, Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.processes import interrupts
from signbind_jax.stages.expert import check_crops, modality_lengths, read_batch

Clips = ClipDataset | ClipList
Weights = Callable[[], tuple[nnx.GraphDef, nnx.State]]  # called where something is computed alone


@dataclass(frozen=True)
class Token:
    """One decoded token: its text, start and end in seconds, confidence 0..1."""

    token: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class ExpertReader:
    """One expert that turns clips into tokens.

    Attributes:
      name: of its stream.
      config, vocabulary: the expert's.
      weights: what gives its graph definition and parameters.
      row_frames: of the rows it was trained on, see `reading_plan`.
      digest: of its artefact, under which read splits are kept; empty: none is.
    """

    name: str
    config: ExpertConfig
    vocabulary: Vocabulary
    weights: Weights
    row_frames: int
    digest: str = ""

    @classmethod
    def of(cls, expert: Artefact) -> "ExpertReader":
        """That of a trained expert, whose weights are loaded once."""
        vocabulary = expert.vocabularies[streams.get(expert.stage).vocabulary]
        weights = functools.cache(expert.load_params)
        row_frames = expert.config.data.row_frames
        return cls(
            expert.stage, expert.model_config, vocabulary, weights, row_frames, expert.digest
        )

    def lengths(self, clips: Clips) -> np.ndarray:
        """Frames of what the expert reads, by clip; 0 where it is absent."""
        return modality_lengths(clips, self.config.frontend)

    def read_split(self, clips: ClipDataset, cache: Path) -> ExpertTokens:
        """The same as `read`, decoded once and kept under the digests of split and expert."""
        return cached(cache, clips.digest, self.digest, lambda: self.read(clips))

    def read(self, clips: Clips, *, hidden: bool = True) -> ExpertTokens:
        """Tokens of every clip; none where the modality is absent.

        Of several processes each reads its part, and all get the whole.

        Args:
          hidden: False leaves the hidden vectors out.

        Raises:
          SignBindError: crops of another size than the expert was trained on.
          Interrupted: on every process, where a signal came to one in an evaluation.
        """
        check_crops(self.config, clips, f"{self.name}: model.lip_size")
        lengths, d_hidden = self.lengths(clips), self.config.d_model if hidden else 0
        if not (lengths > 0).any():
            return gather(len(clips), d_hidden, ())
        graphdef, params = self.weights()
        capacity = streams.get(self.name).capacity
        plan = reading_plan(lengths, self.row_frames)
        own = EvaluationPlan([plan.step(i) for i in hosts.own_steps(plan.n_steps)])
        batches = clip_batches(clips, own, self.config.frontend, [[]] * len(clips), 8)
        shown = progress.shown(batches, f"reading {self.name}", own.n_steps, "batch")
        decoded = []
        for batch in interrupts.until_asked(shown):
            stream = jax.device_get(read_batch(graphdef, params, batch, capacity))
            hidden_bnd = stream.hidden_bnd[..., :d_hidden]
            decoded.append((batch.index_bg, replace(stream, hidden_bnd=hidden_bnd)))
        hosts.check_uninterrupted(f"reading {clips.name}")
        return gather(len(clips), d_hidden, decoded)


class StreamReader:
    """The experts of a stage behind them, which turn clips into its streams.

    Attributes:
      streams: the run's streams, in the order in which fusion numbers them.
      experts: by stream; some streams may have none.
      cache: where the streams of whole splits are kept: beside the first expert unless the
        config says.
    """

    def __init__(self, config: RunConfig, experts: Mapping[str, Artefact]):
        self.streams = config.streams
        self.experts = {name: ExpertReader.of(expert) for name, expert in experts.items()}
        beside = next(iter(experts.values())).workdir.parent / "streams"
        self.cache = Path(config.data.stream_cache or beside)

    def vocabulary(self, name: str) -> Vocabulary:
        """That of a stream; the blank alone where there is no expert."""
        expert = self.experts.get(name)
        return expert.vocabulary if expert else Vocabulary(name, (BLANK,))

    def read(self, clips: Clips) -> SplitStreams:
        """The streams of a split (kept on disk) or of loose clips."""
        read: dict[str, ExpertTokens | None] = dict.fromkeys(self.streams)
        for name, expert in self.experts.items():
            loose = isinstance(clips, ClipList)
            read[name] = expert.read(clips) if loose else expert.read_split(clips, self.cache)
        return SplitStreams(read)

    def tokens(self, read: SplitStreams, clip: int) -> dict[str, list[Token]]:
        """The streams of one clip as readable tokens, by stream name."""
        out = {}
        for name, expert in self.experts.items():
            own, tokens = read.experts[name].of(clip), read.experts[name]
            out[name] = [
                Token(expert.vocabulary.tokens[i], *(round(float(x), 3) for x in numbers))
                for i, *numbers in zip(
                    tokens.ids[own], tokens.start[own], tokens.end[own], tokens.confidence[own]
                )
            ]
        return out

    @property
    def lip_size(self) -> int | None:
        """Side in pixels of the mouth crops that an expert reads; None where none reads them."""
        configs = [expert.config for expert in self.experts.values()]
        return next((c.lip_size for c in configs if reads_lips(c.frontend)), None)

    def without_input(self, clips: Clips) -> dict[str, frozenset[int]]:
        """Stream -> the clips that lack what its expert reads; without streams that none lacks."""
        lengths = {name: expert.lengths(clips) for name, expert in self.experts.items()}
        return {
            name: frozenset(np.flatnonzero(n == 0).tolist())
            for name, n in lengths.items()
            if 0 in n
        }


def open_experts(config: RunConfig) -> dict[str, Artefact]:
    """The experts that a config names as parents, by stream.

    Raises:
      SignBindError: none named, not trained, another stage's artefact, or another vocabulary
        than the stream has.
    """
    experts = {}
    for name in config.streams:
        if directory := config.parents[name]:
            experts[name] = _open_expert(name, directory, f"config.parents.{name}: {directory}")
    if not experts:
        raise SignBindError(
            "config.parents: found no expert, wanted at least one of " + ", ".join(streams.names())
        )
    return experts


def open_experts_of(run: Artefact) -> dict[str, Artefact]:
    """The experts that a stage behind them was trained on, by stream.

    Raises:
      SignBindError: one is missing or was trained again since.
    """
    experts = {
        name: _open_expert(name, run.parents[name], str(run.parents[name]))
        for name in run.config.streams
        if name in run.parents
    }
    for name, expert in experts.items():
        trained_on = run.manifest.parents.get(name)
        if expert.digest != trained_on:
            raise SignBindError(
                f"{expert.workdir}: artefact digest: found {expert.digest[:12]}, "
                f"wanted {(trained_on or '')[:12]}: this expert was trained again "
                f"after {run.workdir}"
            )
    return experts


def _open_expert(name: str, directory: Path | str, where: str) -> Artefact:
    expert, stream = open_artefact(directory), streams.get(name)
    wanted: dict = {"stage": name}
    if stream.alphabet:
        fixed = Vocabulary(stream.vocabulary, (BLANK, *stream.alphabet))
        wanted["vocabularies"] = {stream.vocabulary: fixed.digest}
    check_parent(expert.manifest, wanted, where)
    if stream.vocabulary not in expert.vocabularies:
        raise SignBindError(
            f"{where}: vocabularies: found {', '.join(expert.vocabularies)}, wanted "
            f"{stream.vocabulary}, as stream {name} is registered"
        )
    return expert
