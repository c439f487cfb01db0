"""`checkpoints/best.json`: which saved step scored best on validation."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files, sealed
from signbind_jax.config import RunConfig
from signbind_jax.report.wording import metric_of

FILE = "best.json"


class Best(NamedTuple):
    """The step of a run with the best value of a metric so far."""

    step: int
    metric: str
    value: float

    def beats(self, other: "Best | None") -> bool:
        """Whether it is better; of two equal steps the earlier one stays."""
        if math.isnan(self.value):
            return False
        if other is None or other.metric != self.metric:
            return True
        if metric_of(self.metric).better == "lower":
            return self.value < other.value
        return self.value > other.value


class BestSoFar:
    """The best step of a run under way, and whether it is to be the last word.

    Args:
      metric: the stage's main one.
      best: of earlier starts.
    """

    def __init__(self, config: RunConfig, metric: str, best: Best | None):
        self._config, self._metric, self._best = config, metric, best
        self._scored = 0  # the last step that this start evaluated

    def renewed(self, step: int, scores: Mapping[str, float]) -> Best | None:
        """The step as the best one so far, where it is and the config wants it kept."""
        if not self._config.keep_best or self._metric not in scores:
            return None
        self._scored = step
        new = Best(step, self._metric, scores[self._metric])
        if not new.beats(self._best):
            return None
        self._best = new
        return new

    @property
    def is_final(self) -> bool:
        """Whether as many evaluations as `config.patience` waits for have passed since."""
        every, patience = self._config.evaluate_every, self._config.patience
        if not patience or self._best is None:
            return False
        return self._scored // every - self._best.step // every >= patience

    def __str__(self) -> str:
        return f"{self._metric} {self._best.value:.2f} at step {self._best.step}"


def read_best(path: Path) -> Best | None:
    """What `write_best` wrote; None where there is no such file.

    Raises:
      SignBindError: the file is not as it was written.
    """
    if not path.exists():
        return None
    record, where = sealed.read(path), str(path)
    return Best(
        files.field(record, "step", int, where),
        files.field(record, "metric", str, where),
        files.field(record, "value", float, where),
    )


def write_best(path: Path, best: Best) -> None:
    """Replaces the file, whole."""
    sealed.write(path, best._asdict())
