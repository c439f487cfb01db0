"""What fusion learns from: the streams that frozen experts read, and the targets of each clip."""

import itertools

import jax
import numpy as np

from signbind_jax import ctc
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.batch_plan import Step
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.data.training_plan import training_plan
from signbind_jax.data.vocabulary import FUSION_TARGETS, UNREAD, Vocabulary
from signbind_jax.evaluate import stream_errors
from signbind_jax.evaluate.evaluators import FusionEvaluator
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.sources.source import BatchSource, without_empty
from signbind_jax.stages.fusion import FusionShapes
from signbind_jax.stages.open_experts import open_experts
from signbind_jax.stages.read_streams import GivenReader, StreamReader
from signbind_jax.stages.unseen_streams import open_unseen


class FusionSource(BatchSource):
    """Cached streams and fusion targets of every clip."""

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self._open_parents()
        experts = open_experts(config)
        train = self.dataset.split(config.data.train)
        given = [self._given_reader(name, train) for name in config.data.streams]
        self.reader = StreamReader(config, experts, given)
        self.parents |= {name: expert.digest for name, expert in experts.items()}
        self._open_unseen(experts, train)
        self.fusion_targets = self._fusion_targets()
        vocabularies = [self.reader.vocabulary(name) for name in config.streams]
        self.vocabularies = {v.name: v for v in (*vocabularies, self.fusion_targets)}
        unread = tuple(v.tokens[-1] == UNREAD for v in vocabularies)
        sizes = {
            "n_ids": tuple(len(v) for v in vocabularies),
            "d_hidden": self.reader.d_hidden,
            "n_targets": len(self.fusion_targets),
            "unread": unread if any(unread) else (),
        }
        fusion = self._fusion_config(sizes)
        read = self.reader.read(train)
        self.sentences = self._label(train, read)
        lengths = self._drawn_lengths()
        self.longest_s = _longest_s(train, lengths > 0)
        self.plan = training_plan(lengths, config.data, config.seed, times=train.times, multiple=4)
        capacities = self.sentences.capacities(self.plan.buckets)
        self.shapes = self._make_shapes(fusion, capacities)
        self._note(train, fusion.ctc_frames)
        other = self._validation()
        unseen = [(other, self.reader.read(other))] if other else []
        self.notes += stream_errors.lines(self.reader, (train, read), *unseen)

    def _given_reader(self, name: str, train: ClipDataset) -> GivenReader:
        return GivenReader.of(name, train)

    def _fusion_targets(self) -> Vocabulary:
        return self._target_vocabulary("fusion_targets", FUSION_TARGETS)

    def _open_parents(self) -> None:
        """Opens what stages behind fusion are built on, before streams are read."""

    def _fusion_config(self, sizes: dict) -> FusionConfig:
        """That of fusion, which has to go with the sizes that data and experts give."""
        return from_mapping(FusionConfig, self.config.model | sizes, "config.model")

    def _drawn_lengths(self) -> np.ndarray:
        """Tokens of each clip; 0 of those that are not trained on."""
        empty = np.array([not target for target in self.sentences.targets])
        lengths, note = without_empty(self.sentences.lengths, empty, self.config)
        self.notes += note
        return lengths

    def _make_shapes(self, fusion: FusionConfig, capacities: dict):
        sizes = fusion.n_ids, fusion.d_hidden, fusion.n_targets
        return FusionShapes(*sizes, capacities, fusion.unread)

    def _open_unseen(self, experts: dict[str, Artefact], train: ClipDataset) -> None:
        readers, other = self.reader.readers, self._validation() or train
        unseen = open_unseen(self.config, experts, readers, train, other)
        self.reader.unseen = unseen
        for name, reader in unseen.items():
            self.parents |= reader.digests
            own = (reader.fold_of >= 0).sum()
            self.notes.append(
                f"stream {name}: {own} of {len(train)} clips of {train.name} are read by the "
                f"{len(reader.folds)} experts of {self.config.crossfit[name]} that left them out"
            )

    def _validation(self) -> ClipDataset | None:
        """The validation split, unless there is none or training reads it."""
        name = self.config.data.validation
        if name == self.config.data.train or name not in self.dataset.splits:
            return None
        return self.dataset.split(name)

    def _note(self, train: ClipDataset, ctc_frames: int) -> None:
        impossible = sum(
            ctc.min_steps(t) > ctc_frames * n
            for t, n in zip(self.sentences.targets, self.sentences.streams.lengths)
        )
        self.notes.append(
            f"{len(train)} clips, {self.plan.steps_per_epoch} steps an epoch, "
            f"{100 * self.plan.fill:.1f} % of their room is filled, {impossible} clips with a "
            "target longer than the CTC output"
        )

    def _label(self, clips: ClipDataset, read: SplitStreams) -> Sentences:
        """Fusion targets beside the streams; no prompt, no text."""
        target_ids = [
            self.fusion_targets.encode(labels["fusion_targets"]) for labels in clips.targets
        ]
        none = [()] * len(target_ids)
        return Sentences(np.asarray(read.lengths), read, target_ids, none, none)

    def batch(self, i):
        step = self.plan.step(i)
        own = step.for_process(jax.process_index(), jax.process_count())
        return self._sentences_of(i, step).batch(own, self.shapes.capacities[step.bucket_length])

    def _sentences_of(self, i: int, step: Step) -> Sentences:
        """What batch i is made of, the rows of its step at least."""
        return self.sentences

    def parent_directories(self):
        folds = [reader.directories for reader in self.reader.unseen.values()]
        return super().parent_directories() | {k: v for fold in folds for k, v in fold.items()}

    def evaluator(self, weights):
        return FusionEvaluator(self.reader, weights, self.fusion_targets)


def _longest_s(train: ClipDataset, drawn: np.ndarray) -> float:
    clips = itertools.compress(train.labels, drawn)
    return max(max(x.seconds for x in (*clip.modalities.values(), clip)) for clip in clips)
