"""Stage: what one training run is about. The loop in `signbind_jax.train.loop` does the rest."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
from flax import nnx

from signbind_jax.config import AssumedConfig, RunConfig
from signbind_jax.data.batch_plan import BatchPlan
from signbind_jax.data.vocabulary import Vocabulary

_SAMPLES = 4


class Sample(NamedTuple):
    """A clip that is shown at every evaluation: what it says, and what was read or written."""

    clip: str
    reference: str
    hypothesis: str


class Evaluation(NamedTuple):
    """Scores by metric, and a few samples, which no score is made from."""

    scores: dict[str, float]
    samples: list[Sample]


def samples_of(
    ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str]
) -> list[Sample]:
    """The same few clips at every evaluation, spread evenly over a split; each on one line."""
    n = len(ids)
    chosen = sorted({i * n // _SAMPLES for i in range(_SAMPLES)}) if n else []
    return [
        Sample(ids[i], " ".join(references[i].split()), " ".join(hypotheses[i].split()))
        for i in chosen
    ]


class Stage:
    """A stage opens its data and parents when it is made, so that what is wrong shows before
    anything is compiled.

    Attributes:
      config: the run's config.
      model_config: what the model is made from (see `artefact.model_record`).
      plan: which samples make up each step.
      vocabularies: name -> Vocabulary, recorded in the manifest.
      parents: name -> artefact digest of what the stage was built on.
      notes: lines about the data a user should see at start-up.
      unit: what the plan's lengths count.
    """

    name = ""
    main_metric = "loss"
    unit = "tokens"

    def __init__(self, config: RunConfig):
        self.config = config
        self.plan: BatchPlan
        self.vocabularies: dict[str, Vocabulary] = {}
        self.parents: dict[str, str] = {}
        self.notes: list[str] = []

    @classmethod
    def from_sizes(cls, config: RunConfig) -> "Stage":
        """A stage without data and parents, of the sizes that `config.assumed` states.

        Its model, what of it trains and its loss are those of a run; it has no batches, only
        their shapes.
        """
        stage = cls.__new__(cls)
        Stage.__init__(stage, config)
        stage.assume(config.assumed)
        return stage

    def assume(self, sizes: AssumedConfig) -> None:
        """Sets what `__init__` takes from data and parents, as far as a step needs it."""
        raise NotImplementedError

    def empty_batch(self, length: int) -> Any:
        """A host batch of one row without a clip, padded to `length`: for its shapes."""
        raise NotImplementedError

    def lower_writing(self, graphdef, params, batch) -> jax.stages.Lowered | None:
        """The program that writes a batch's sentences, for accelerators; None where a stage
        writes none. Arguments may be ShapeDtypeStructs."""
        del graphdef, params, batch
        return None

    def make_model(self, rngs: nnx.Rngs) -> nnx.Module:
        """A fresh model."""
        raise NotImplementedError

    def trains(self, path: tuple[str, ...]) -> bool:
        """Whether the parameter at `path` is trained; the others stay as they came."""
        del path
        return True

    def adopted(self, mesh) -> dict[tuple, nnx.Variable]:
        """What the parents bring: variables by path, sharded over `mesh`."""
        del mesh
        return {}

    def stores(self, path: tuple[str, ...]) -> bool:
        """Whether checkpoints hold the parameter at `path`; others stay in a parent's files."""
        del path
        return True

    def stored_dtype(self, path: tuple[str, ...]) -> str:
        """The type in which a run holds the parameter at `path`."""
        del path
        return "float32"

    def parent_directories(self) -> dict[str, str]:
        """Where each parent lies; empty for those that are not there."""
        return dict(self.config.parents)

    def dimensions(self) -> dict[str, int]:
        """Sizes that a stage built on this one must agree with, for the manifest."""
        raise NotImplementedError

    def batch(self, i: int) -> Any:
        """The host batch of step i, for compiling ahead."""
        return next(self.batches(i, i + 1))

    def batches(self, start_step: int, stop_step: int | None = None) -> Iterator[Any]:
        """Host batches from `start_step` on."""
        raise NotImplementedError

    def loss(self, model: nnx.Module, batch: Any, key) -> tuple[Any, Any, dict]:
        """Summed loss, its weight (tokens), and summed metrics of a batch."""
        raise NotImplementedError

    def evaluate(self, graphdef, params: nnx.State, split: str) -> Evaluation:
        """Scores and samples of a split."""
        raise NotImplementedError

    def side_files(self) -> dict[str, str]:
        """What the artefact needs besides its weights, such as a tokenizer: path in the run
        directory -> text."""
        return {}
