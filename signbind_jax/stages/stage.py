"""Stage: what one training run trains, as pure functions of its config and of shapes.

A stage holds no data: a `BatchSource` does (`signbind_jax.sources`), and an `Evaluator`
(`signbind_jax.evaluate`) scores what was trained.
"""

from typing import Any

import jax
from flax import nnx

from signbind_jax.checkpoint.model_record import ModelConfig, make_model
from signbind_jax.config import RunConfig


class Stage:
    """One stage of training, of the shapes that its data and parents have.

    Attributes:
      Shapes: the frozen dataclass that `shapes` is of; its `assumed(config)` gives those that
        `config.assumed` states, for `signbind preflight`.
      config: the run's config.
      model_config: what the model is made from.
      main_metric: of its scores, the one that says which step is best.
      unit: what the lengths of its batch plan count.
    """

    Shapes: type
    main_metric = "loss"
    unit = "tokens"

    def __init__(self, config: RunConfig, shapes: Any):
        self.config, self.shapes = config, shapes
        if config.convention:
            self.main_metric = f"bleu4_{config.convention}"
        self.model_config: ModelConfig

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.config.stage

    def make_model(self, rngs: nnx.Rngs) -> nnx.Module:
        """A fresh model."""
        return make_model(self.model_config, rngs)

    def trains(self, path: tuple[str, ...]) -> bool:
        """Whether the parameter at `path` is trained; the others stay as they came."""
        del path
        return True

    def stores(self, path: tuple[str, ...]) -> bool:
        """Whether checkpoints hold the parameter at `path`; others stay in a parent's files."""
        del path
        return True

    def stored_dtype(self, path: tuple[str, ...]) -> str:
        """The type in which a run holds the parameter at `path`."""
        del path
        return "float32"

    def batch_spec(self, length: int, rows: int) -> Any:
        """A training batch of `rows` rows padded to `length`, as ShapeDtypeStructs.

        length: one of the batch plan's; where shapes are assumed, the longest.
        """
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), self._one_row(length)
        )

    def _one_row(self, length: int) -> Any:
        """A host batch of one row without a clip, as the stage's source collates it."""
        raise NotImplementedError

    def loss(self, model: nnx.Module, batch: Any, key) -> tuple[Any, Any, dict]:
        """Summed loss, its weight (tokens), and summed metrics of a batch."""
        raise NotImplementedError

    def lower_writing(self, graphdef, params, batch) -> jax.stages.Lowered | None:
        """The program that writes a batch's sentences, for accelerators; None where a stage
        writes none. Arguments may be ShapeDtypeStructs."""
        del graphdef, params, batch
        return None
