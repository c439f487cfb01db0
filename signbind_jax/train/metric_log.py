"""Metrics and samples of a run: JSON lines and TensorBoard."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from signbind_jax import files
from signbind_jax.config import RunConfig
from signbind_jax.distributed import hosts
from signbind_jax.evaluate.evaluation import ClipOutput
from signbind_jax.train.metric_lines import line_of, record_of
from signbind_jax.train.wandb_log import WandbLog

logger = logging.getLogger(__name__)

_LOG_BYTES = 2**32


class MetricLog:
    """Appends to `metrics.jsonl`, `samples.jsonl` and TensorBoard event files in a run directory.

    On resume the lines past the restored step are cut off, so that the file reads as if
    the run had never stopped.
    """

    def __init__(
        self,
        workdir: Path,
        start_step: int = 0,
        run: str = "",
        log_every: int = 0,
        also: WandbLog | None = None,
    ):
        """Opens the log to go on behind `start_step`.

        run: what tells the run from others; stands in every line.
        log_every: steps from one line of training to the next; 0: not known.
        also: is told the same.
        """
        self._also = also
        self.path, self.run = workdir / "metrics.jsonl", run
        kept = self._cut(self.path, start_step)
        self._held = {(record["step"], record["kind"]): record for record, _ in kept}
        before = max((record["seconds"] for record, _ in kept), default=0.0)
        wanted = start_step - start_step % log_every if log_every > 0 else 0
        newest = max((r["step"] for r, _ in kept if r["kind"] == "train"), default=0)
        if newest < wanted:
            logger.warning(
                "%s: found lines up to step %d, wanted up to %d: what was logged in "
                "between is lost",
                self.path,
                newest,
                wanted,
            )
        self._file = self.path.open("a", encoding="utf-8")
        self._samples = workdir / "samples.jsonl"
        self._cut(self._samples, start_step)
        self._board = SummaryWriter(str(workdir / "tensorboard"), write_to_disk=True)
        self._start = time.monotonic() - before

    def _cut(self, path: Path, start_step: int) -> list[tuple[dict, bytes]]:
        """Leaves the lines up to a step in a file; them, read and as they stand. Damaged ones are
        told and left out."""
        if not path.exists():
            return []
        kept, damaged = [], []
        for n, line in enumerate(files.read_bytes(path, _LOG_BYTES).splitlines(), start=1):
            record = record_of(line)
            if record is None or record.get("run", self.run) != self.run:
                damaged.append(n)
            elif record["step"] <= start_step:
                kept.append((record, line + b"\n"))
        if damaged:
            logger.warning(
                "%s: found %d lines that were damaged, cut short by a kill or written "
                "by another run, such as line %d: left out",
                path,
                len(damaged),
                damaged[0],
            )
        files.write(path, b"".join(line for _, line in kept))
        return kept

    @property
    def seconds(self) -> float:
        """Wall seconds of this run, those before a resume included."""
        return time.monotonic() - self._start

    def held(self, step: int, kind: str) -> dict[str, float] | None:
        """The values of a record that was there when the run was taken up again; else None."""
        record = self._held.get((step, kind))
        if record is None:
            return None
        return {k: v for k, v in record.items() if isinstance(v, float) and k != "seconds"}

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """One record; `kind` is "train" or the name of the evaluated split."""
        record = {"step": step, "kind": kind, "seconds": round(self.seconds, 3), "run": self.run}
        record |= {name: float(value) for name, value in values.items()}
        self._file.write(line_of(record))
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", float(value), step)
        if self._also and values:
            self._also.write(step, kind, values)

    def write_samples(self, step: int, split: str, samples: Sequence[ClipOutput]) -> None:
        """What an evaluation shows, a line a clip."""
        if not samples:
            return
        with self._samples.open("a", encoding="utf-8") as out:
            for sample in samples:
                out.write(
                    line_of({"step": step, "kind": split, "run": self.run, **sample._asdict()})
                )
        text = "\n\n".join(f"**{s.clip}**  \n{s.reference}  \n{s.hypothesis}" for s in samples)
        self._board.add_text(f"{split}/samples", text, step)
        if self._also:
            self._also.write_samples(step, split, samples)

    def close(self) -> None:
        """Flushes and closes the files."""
        self._file.close()
        self._board.close()
        if self._also:
            self._also.close()


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

    def write_samples(self, step: int, split: str, samples: Sequence[ClipOutput]) -> None:
        """Nothing, too."""

    def close(self) -> None:
        """Nothing."""


def open_log(workdir: Path, start_step: int, config: RunConfig) -> MetricLog | SilentLog:
    """The log of a run; of several processes the first alone writes it."""
    if not hosts.is_primary():
        return SilentLog()
    also = WandbLog(workdir, config) if config.wandb else None
    return MetricLog(workdir, start_step, config.digest[:8], config.log_every, also)
