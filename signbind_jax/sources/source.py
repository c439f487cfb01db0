"""BatchSource: the data and parents of one training run."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jax
import numpy as np
from flax import nnx

from signbind_jax.checkpoint.artefact import INIT
from signbind_jax.config import RunConfig
from signbind_jax.data.batch_plan import BatchPlan
from signbind_jax.data.dataset import DatasetInfo
from signbind_jax.data.labels import chosen_vocabulary
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.mixture import Mixture, open_data
from signbind_jax.data.read_ahead import read_ahead
from signbind_jax.data.row_plan import RowPlan
from signbind_jax.data.vocabulary import Coverage, Vocabulary, count
from signbind_jax.evaluate.evaluators import Evaluator
from signbind_jax.metrics.names import known_words
from signbind_jax.stages.read_streams import Weights
from signbind_jax.stages.stage import Stage

OF_THE_CORPUS = "give a vocabulary of its language and labelling"


class BatchSource:
    """Opens data and parents when it is made, so that what is wrong shows before anything is
    compiled.

    Attributes:
      config: the run's config.
      dataset: the corpus, or several.
      plan: which samples make up each step.
      shapes: what the stage is made from beside the config (`Stage.Shapes`).
      vocabularies: name -> Vocabulary, recorded in the manifest.
      parents: name -> artefact digest of what the run builds on, files of `data.spellings` and
        `data.sign_order` too.
      longest_s: seconds of the longest clip that is trained on, where streams are read of clips.
      fps: frames a second of what an expert is trained on; 0 of other stages.
      notes: lines about the data a user should see at start-up.
    """

    longest_s = fps = 0.0

    def __init__(self, config: RunConfig):
        self.config = config
        self.dataset: DatasetInfo | Mixture = open_data(config.data)
        self.plan: BatchPlan
        self.shapes: Any
        self.vocabularies: dict[str, Vocabulary] = {}
        self.parents = {
            f"data.{option} of {split[:12]}": found[split].digest
            for option, found in self.dataset.found.items()
            for split in sorted(found)
        }
        self.notes: list[str] = []

    def _target_vocabulary(self, kind: str, name: str) -> Vocabulary:
        """The vocabulary of a target, as `data.vocabulary` and `data.min_count` choose it.

        Raises:
          SignBindError: see `chosen_vocabulary` and `_check_coverage`.
        """
        data = self.config.data
        vocabulary = chosen_vocabulary(data, kind, name, self._train_targets(kind))
        where, wanted = f"min_count: {data.min_count}", "give a smaller count"
        if data.vocabulary:
            where, wanted = f"vocabulary: {data.vocabulary}", OF_THE_CORPUS
        self._check_coverage(vocabulary, kind, f"config.data.{where}", wanted)
        return vocabulary

    def _check_coverage(
        self, vocabulary: Vocabulary, kind: str, where: str, wanted: str = OF_THE_CORPUS
    ) -> None:
        """Notes what of the training split's targets a vocabulary leaves out.

        Raises:
          SignBindError: see `Coverage.check`; begins with `where` and ends in `wanted`.
        """
        data, targets = self.config.data, self._train_targets(kind)
        found = Coverage.of(vocabulary, count(targets))
        found.check(where, f"split {data.train} of {data.directory}", wanted)
        if found.unknown:
            emptied = sum(bool(target) and not vocabulary.encode(target) for target in targets)
            self.notes.append(
                f"{kind}: {found.n - found.n_known:,} of {found.n:,} tokens "
                f"({100 * (1 - found.share):.1f} %), {len(found.unknown):,} of {found.kinds:,} "
                "kinds, are not in the vocabulary and left out, such as "
                f"{', '.join(found.unknown[:3])}; {emptied:,} clips are left without a token"
            )

    def _train_targets(self, kind: str) -> list[tuple[str, ...]]:
        return [labels[kind] for labels in self.dataset.split(self.config.data.train).targets]

    def batch(self, i: int) -> Any:
        """The host batch of step i: the rows of this process."""
        raise NotImplementedError

    def batches(self, start: int, stop: int | None = None) -> Iterator[Any]:
        """Host batches of the steps start .. stop - 1, or without end, made ahead."""
        return read_ahead(self.batch, start, stop)

    def initial_params(self, stage: Stage, mesh) -> dict[tuple, nnx.Variable]:
        """What the parents bring: variables by path, sharded over `mesh`."""
        del stage, mesh
        return {}

    def parent_directories(self) -> dict[str, str]:
        """Where each parent and the run of `init.from` lie; empty for those that are not there."""
        return self.config.parents | {INIT: self.config.init_from}

    def side_files(self) -> dict[str, str]:
        """What the artefact needs besides its weights, such as a tokenizer: path in the run
        directory -> text."""
        return {}

    @cached_property
    def known_words(self) -> frozenset[str]:
        """The words of the text that a stage which writes sentences is trained on."""
        return known_words(clip.text for clip in self.dataset.split(self.config.data.train).labels)

    def evaluator(self, weights: Weights) -> Evaluator:
        """What scores weights of the stage that is trained."""
        raise NotImplementedError


class ClipSource(BatchSource):
    """Whose batches are clips of a modality, in rows.

    Attributes:
      frontend: what reads them, see `data.batch.MODALITIES`.
      target_ids: of each clip of the training split.
      target: room for those of one.
    """

    plan: BatchPlan | RowPlan
    frontend: str
    target_ids: list[list[int]]
    target: int

    def batch(self, i):
        return next(self.batches(i, i + 1))

    def batches(self, start, stop=None):
        return clip_batches(
            self.dataset.split(self.config.data.train),
            self.plan,
            self.frontend,
            self.target_ids,
            self.target,
            start_step=start,
            stop_step=stop,
            threads=self.config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def _tell_plan(self) -> None:
        self.notes.append(
            f"{self.plan.n_clips} clips, {self.plan.steps_per_epoch} steps an epoch, "
            f"{100 * self.plan.fill:.1f} % of the frames are real"
        )


def without_empty(
    lengths: np.ndarray, empty: np.ndarray, config: RunConfig
) -> tuple[np.ndarray, list[str]]:
    """Lengths of clips with 0 for those with an empty CTC target that are not trained on, and what
    to tell of them.

    Args:
      empty: bool (clips,).
      config: its `data.keep_empty` says which share is kept.
    """
    chance = np.random.Generator(np.random.Philox(key=[config.seed, 0]))
    left_out = empty & (lengths > 0)
    left_out &= chance.random(len(empty)) >= config.data.keep_empty
    if not left_out.any():
        return lengths, []
    told = f"{left_out.sum()} of {empty.sum()} clips with an empty target left out"
    return np.where(left_out, 0, lengths), [f"{told} (data.keep_empty)"]
