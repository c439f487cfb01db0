"""Metrics of a run: JSON lines, TensorBoard, and one readable line on the terminal."""

import json
import time
from pathlib import Path

from tensorboardX import SummaryWriter

from signbind_jax import hosts


class MetricLog:
    """Appends to `metrics.jsonl` and TensorBoard event files in a run directory.

    On resume the lines past the restored step are cut off, so that the file reads as if
    the run had never stopped.
    """

    def __init__(self, workdir: Path, start_step: int = 0):
        self.path = workdir / "metrics.jsonl"
        before, self._held = 0.0, set()
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines()
                    if _record(line).get("step", start_step + 1) <= start_step]  # fmt: skip
            before = max((_record(line).get("seconds", 0.0) for line in kept), default=0.0)
            self._held = {(_record(line)["step"], _record(line).get("kind")) for line in kept}
            self.path.write_text("".join(line + "\n" for line in kept))
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir / "tensorboard"), write_to_disk=True)
        self._start = time.monotonic() - before

    @property
    def seconds(self) -> float:
        """Wall seconds of this run, those before a resume included."""
        return time.monotonic() - self._start

    def holds(self, step: int, kind: str) -> bool:
        """Whether such a record was there when the run was taken up again."""
        return (step, kind) in self._held

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """One record; `kind` is "train" or the name of the evaluated split."""
        record = {"step": step, "kind": kind, "seconds": round(self.seconds, 3)}
        record |= {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", float(value), step)

    def close(self) -> None:
        """Flushes and closes both files."""
        self._file.close()
        self._board.close()


class SilentLog:
    """What the processes have that do not write: a clock."""

    def __init__(self):
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall seconds since this start."""
        return time.monotonic() - self._start

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """Nothing: process 0 writes the same."""

    def close(self) -> None:
        """Nothing."""


def open_log(workdir: Path, start_step: int) -> MetricLog | SilentLog:
    """The log of a run; of several processes the first alone writes it."""
    return MetricLog(workdir, start_step) if hosts.first() else SilentLog()


def _record(line: str) -> dict:
    try:
        return json.loads(line)
    except json.JSONDecodeError:  # the last line of a killed run
        return {}
