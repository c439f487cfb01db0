"""`checkpoints/best.json`: which saved step scored best on validation."""

import math
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files, sealed
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
