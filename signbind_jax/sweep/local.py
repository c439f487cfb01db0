"""Trains the points of a sweep on this machine, one after the other or several at a time.

Each point is a process of its own. Order of the loop, and why:
1. A point is locked before it is looked at, so that two sweeps in one directory share the work
   instead of doing it twice.
2. SIGTERM and SIGINT only set a flag; the children then get SIGTERM, save and stop, and the loop
   goes on until the last of them has ended. A second signal kills them, which costs the steps
   since their last checkpoint.
"""

import contextlib
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from signbind_jax import files
from signbind_jax.processes import parallel_runs
from signbind_jax.report.wording import figure
from signbind_jax.sweep import record
from signbind_jax.sweep.points import Point
from signbind_jax.sweep.record import FINISHED, Outcome

_TICK = 0.1  # seconds between two looks at the children
_LOOK = 2.0  # seconds between two looks at what they logged, and at points others train
_TAIL = 65536  # bytes of a log that hold its last lines


@dataclass
class _Job:
    point: Point
    process: subprocess.Popen
    share: list[int]
    began_at: int  # bytes of the log before this attempt
    step: int = 0


def train_points(points: Sequence[Point], workdir: Path, jobs: int, conditions: dict) -> bool:
    """Trains the points that are not finished; False where a signal stopped it.

    Args:
      jobs: how many run at a time, each on its share of the cores.
      conditions: by the point's index, see `record.conditions`.
    """
    cores = parallel_runs.usable_cores()
    run = _Run(
        workdir, conditions, len(points), [cores[i % len(cores) :: jobs] for i in range(jobs)]
    )
    with _Signals() as signals, _bar(points, workdir) as bar:
        run.bar = bar
        waiting = deque(points)
        while run.jobs or waiting and not signals.received:
            if not signals.received:
                run.start_some(waiting)
            run.collect(stopping=signals.received > 0)
            if signals.received:
                run.stop(kill=signals.received > 1)
            run.look()
            time.sleep(_TICK)
    return not waiting and not run.stopped


class _Run:
    """The children of a sweep."""

    def __init__(self, workdir: Path, conditions: dict, total: int, shares: list[list[int]]):
        self.workdir, self.conditions, self.total = workdir, conditions, total
        self.free, self.jobs = shares, []
        self.done = self.failed = 0
        self.stopped, self.asked = False, None
        self.busy: set[int] = set()  # points that others train, told once
        self.look_again, self.retry_at = 0.0, 0.0
        self.bar: tqdm

    def start_some(self, waiting: deque[Point]) -> None:
        """Starts points while there is room; those that others train wait at the end."""
        if time.monotonic() < self.retry_at:
            return
        for _ in range(len(waiting)):
            if not self.free:
                return
            point = waiting.popleft()
            if not self._start(point):
                waiting.append(point)
                if point.index not in self.busy:
                    self.busy.add(point.index)
                    self._tell(f"{point.name}: another process trains it, waiting")
        # Every one that is left belongs to others.
        self.retry_at = time.monotonic() + _LOOK if waiting else 0.0

    def _start(self, point: Point) -> bool:
        directory = self.workdir / point.name
        directory.mkdir(parents=True, exist_ok=True)
        with files.trying_to_lock(directory / record.LOCK_FILE) as lock:
            if lock is None:
                return False
            outcome = record.outcome_of(self.workdir, point)
            if outcome.state == FINISHED:
                self._count(outcome, "finished already")
                return True
            record.note_start(self.workdir, point, self.conditions[point.index])
            share = self.free.pop()
            with (directory / record.LOG_FILE).open("ab") as log:
                process = parallel_runs.start(
                    point.command(self.workdir),
                    share,
                    "signbind_jax.sweep.point_process",
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C is for the sweep alone, which passes on what is meant by it.
                    start_new_session=True,
                    pass_fds=(lock,),
                )
                self.jobs.append(_Job(point, process, share, log.tell(), outcome.step))
        goes_on = f", goes on from step {outcome.step}" if outcome.step else ""
        self._tell(f"{point.name}: started{goes_on}")
        return True

    def collect(self, stopping: bool) -> None:
        """Takes in the children that have ended."""
        for job in [job for job in self.jobs if job.process.poll() is not None]:
            self.jobs.remove(job)
            self.free.append(job.share)
            job.process.stdin.close()
            outcome = record.outcome_of(self.workdir, job.point)
            self._advance(job, outcome)
            if outcome.state == FINISHED:
                self._count(outcome, _scores_told(outcome))
            elif stopping:
                self.stopped = True
                self._tell(f"{job.point.name}: stopped at step {outcome.step}")
            else:
                error = _why(job.process.returncode, self._log_tail(job))
                record.note_failure(self.workdir, job.point, error)
                self.failed += 1
                self._count(outcome, f"failed: {error}")

    def stop(self, kill: bool) -> None:
        """Asks the children to save and stop, once; `kill` does not wait for it."""
        wanted = signal.SIGKILL if kill else signal.SIGTERM
        if self.asked == wanted:
            return
        self.asked = wanted
        self._tell(
            "stopping; the points under way "
            + ("are killed" if kill else "save first (once more kills them)")
        )
        for job in self.jobs:
            with contextlib.suppress(ProcessLookupError):
                job.process.send_signal(wanted)

    def look(self) -> None:
        """Moves the progress bar to what the children have logged."""
        if self.bar.disable or time.monotonic() < self.look_again:
            return
        self.look_again = time.monotonic() + _LOOK
        for job in self.jobs:
            self._advance(job, record.outcome_of(self.workdir, job.point))
        self.bar.refresh()

    def _advance(self, job: _Job, outcome: Outcome) -> None:
        # A resumed run repeats the steps since its checkpoint: those count once.
        self.bar.update(max(outcome.step - job.step, 0))
        job.step = max(job.step, outcome.step)

    def _count(self, outcome: Outcome, told: str) -> None:
        self.done += 1
        self._tell(f"[{self.done}/{self.total}] {outcome.name}: {told}")
        failed = f", {self.failed} failed" if self.failed else ""
        self.bar.set_postfix_str(f"{self.done}/{self.total} points{failed}")

    def _tell(self, line: str) -> None:
        self.bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def _log_tail(self, job: _Job) -> list[str]:
        with (self.workdir / job.point.name / record.LOG_FILE).open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(job.began_at, end - _TAIL))
            return log.read().decode("utf-8", "replace").split("\n")


def _why(code: int, lines: list[str]) -> str:
    """The error a process ended with: the command's own where it wrote one."""
    lines = [line.strip() for line in lines if line.strip()]
    own = [line for line in lines if line.startswith("signbind: error: ")]
    last = (own or lines or ["it wrote nothing"])[-1].removeprefix("signbind: error: ")
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}; last line: {last}"
    return last


def _scores_told(outcome: Outcome) -> str:
    scores = ", ".join(f"{name} {figure(value)}" for name, value in outcome.scores.items())
    return f"{outcome.step} steps, {outcome.seconds:.0f} s; {scores or 'no scores'}"


def _bar(points: Sequence[Point], workdir: Path) -> tqdm:
    done = sum(record.outcome_of(workdir, point).step for point in points)
    return tqdm(
        total=sum(point.config.steps for point in points),
        initial=done,
        desc="sweep",
        unit="step",
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )


class _Signals:
    """Counts SIGTERM and SIGINT instead of dying of them."""

    def __enter__(self) -> "_Signals":
        self.received = 0
        self._old = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, number, frame) -> None:
        self.received += 1

    def __exit__(self, *_) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
