"""Metrics of a run: JSON lines, TensorBoard, and one readable line on the terminal."""

import logging
import time
from pathlib import Path

from tensorboardX import SummaryWriter

from signbind_jax import files, hosts
from signbind_jax.config import RunConfig
from signbind_jax.metric_lines import line_of, record_of

logger = logging.getLogger(__name__)

_LOG_BYTES = 2**32


class MetricLog:
    """Appends to `metrics.jsonl` and TensorBoard event files in a run directory.

    On resume the lines past the restored step are cut off, so that the file reads as if
    the run had never stopped.
    """

    def __init__(self, workdir: Path, start_step: int = 0, run: str = "", log_every: int = 0):
        """Opens the log to go on behind `start_step`.

        run: what tells the run from others; stands in every line.
        log_every: steps from one line of training to the next; 0: not known.
        """
        self.path, self.run = workdir / "metrics.jsonl", run
        kept = self._kept(start_step) if self.path.exists() else []
        self._held = {(record["step"], record["kind"]) for record, _ in kept}
        before = max((record["seconds"] for record, _ in kept), default=0.0)
        if self.path.exists():
            files.write(self.path, b"".join(line for _, line in kept))
        wanted = start_step - start_step % log_every if log_every > 0 else 0
        newest = max((r["step"] for r, _ in kept if r["kind"] == "train"), default=0)
        if newest < wanted:
            logger.warning("%s: found lines up to step %d, wanted up to %d: what was logged in "
                           "between is lost", self.path, newest, wanted)  # fmt: skip
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir / "tensorboard"), write_to_disk=True)
        self._start = time.monotonic() - before

    def _kept(self, start_step: int) -> list[tuple[dict, bytes]]:
        """The lines up to a step, read and as they stand; damaged ones are told and left out."""
        kept, damaged = [], []
        for n, line in enumerate(files.read_bytes(self.path, _LOG_BYTES).splitlines(), start=1):
            record = record_of(line)
            if record is None or record.get("run", self.run) != self.run:
                damaged.append(n)
            elif record["step"] <= start_step:
                kept.append((record, line + b"\n"))
        if damaged:
            logger.warning("%s: found %d lines that were damaged, cut short by a kill or written "
                           "by another run, such as line %d: left out", self.path, len(damaged),
                           damaged[0])  # fmt: skip
        return kept

    @property
    def seconds(self) -> float:
        """Wall seconds of this run, those before a resume included."""
        return time.monotonic() - self._start

    def holds(self, step: int, kind: str) -> bool:
        """Whether such a record was there when the run was taken up again."""
        return (step, kind) in self._held

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """One record; `kind` is "train" or the name of the evaluated split."""
        record = {"step": step, "kind": kind, "seconds": round(self.seconds, 3), "run": self.run}
        record |= {name: float(value) for name, value in values.items()}
        self._file.write(line_of(record))
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


def open_log(workdir: Path, start_step: int, config: RunConfig) -> MetricLog | SilentLog:
    """The log of a run; of several processes the first alone writes it."""
    if not hosts.first():
        return SilentLog()
    return MetricLog(workdir, start_step, config.digest[:8], config.log_every)
