"""BatchSource: the data and parents of one training run."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from flax import nnx

from signbind_jax.config import RunConfig
from signbind_jax.data.batch_plan import BatchPlan
from signbind_jax.data.dataset import DatasetInfo
from signbind_jax.data.mixture import Mixture, open_data
from signbind_jax.data.read_ahead import read_ahead
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.evaluate.evaluators import Evaluator
from signbind_jax.stages.read_streams import Weights
from signbind_jax.stages.stage import Stage


class BatchSource:
    """Opens data and parents when it is made, so that what is wrong shows before anything is
    compiled.

    Attributes:
      config: the run's config.
      dataset: the corpus, or several.
      plan: which samples make up each step.
      shapes: what the stage is made from beside the config (`Stage.Shapes`).
      vocabularies: name -> Vocabulary, recorded in the manifest.
      parents: name -> artefact digest of what the run builds on.
      notes: lines about the data a user should see at start-up.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        self.dataset: DatasetInfo | Mixture = open_data(config.data)
        self.plan: BatchPlan
        self.shapes: Any
        self.vocabularies: dict[str, Vocabulary] = {}
        self.parents: dict[str, str] = {}
        self.notes: list[str] = []

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
        """Where each parent lies; empty for those that are not there."""
        return dict(self.config.parents)

    def side_files(self) -> dict[str, str]:
        """What the artefact needs besides its weights, such as a tokenizer: path in the run
        directory -> text."""
        return {}

    def evaluator(self, weights: Weights) -> Evaluator:
        """What scores weights of the stage that is trained."""
        raise NotImplementedError


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
