"""Jobs: recordings on their way to a sentence, each answered by its id."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from signbind_jax.data.clip import Clip, Frames
from signbind_jax.serve.journal import Journal
from signbind_jax.serve.problems import Problem, busy
from signbind_jax.serve.settings import ServeSettings

LOST = "the server was stopped and has no answer to this job any more: upload the recording again"


class State(StrEnum):
    """How far a job is."""

    QUEUED = "queued"  # waits to be read
    READING = "reading"
    TRANSLATING = "translating"  # read; in a batch, or waits for one
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


# The steps of a job that are behind it in each state: waiting, reading, translating.
_STEPS_DONE = {State.QUEUED: 0, State.READING: 1, State.TRANSLATING: 2}
_N_STEPS = 3


@dataclass(eq=False)
class Job:
    """One recording.

    Attributes:
      id: 32 hexadecimal digits.
      name: of the uploaded file, printable.
      path: where the upload lies until it is read.
      number: ascending in the order in which jobs were taken on.
      state: how far it is.
      since: when that state began, in seconds of `time.monotonic`.
      notes: what a user should know of the recording, one line each.
      clip: what was read, until it is translated.
      pose: its landmarks; None where there are none.
      result: the translation, JSON-ready, once it is done.
      problem: why there is none, in one line.
      ended: set once the job is done, failed or lost.
    """

    id: str
    name: str
    path: Path | None = None
    number: int = 0
    state: State = State.QUEUED
    since: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)
    clip: Clip | None = None
    pose: Frames | None = None
    result: dict[str, Any] | None = None
    problem: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def progress(self) -> float:
        """Share of its steps (waiting, reading, translating) that are behind it."""
        return round(_STEPS_DONE.get(self.state, _N_STEPS) / _N_STEPS, 2)

    def move(self, state: State) -> float:
        """Begins a state; returns the seconds that the last one took."""
        now = time.monotonic()
        took, self.state, self.since = now - self.since, state, now
        return took

    def drop_upload(self) -> None:
        """Deletes the uploaded file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None


class Jobs:
    """All jobs that can be asked for, in the order in which they were taken on.

    Args:
      journal: gets their ids; those it has from an earlier process are lost jobs.
      settings: how many wait, how many answers are kept and for how long.
    """

    def __init__(self, journal: Journal, settings: ServeSettings):
        self._journal, self._settings = journal, settings
        self._jobs: dict[str, Job] = {}
        self._numbers = itertools.count()
        self._arriving = 0
        self.stopping = False
        for job_id in journal.lost:
            self._jobs[job_id] = job = Job(job_id, "")
            self.end(job, State.LOST, problem=LOST)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place for a job whose recording is arriving.

        Raises:
          Problem: no place is free; the server is stopping.
        """
        if self.stopping:
            raise busy("the server is stopping")
        waiting = self._arriving + len(self.unanswered())
        most = self._settings.most_waiting
        if waiting >= most:
            raise busy(f"found {waiting} jobs waiting, wanted less than {most}")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def add(self, job_id: str, path: Path, name: str) -> Job:
        """A new job.

        Args:
          job_id: 32 hexadecimal digits that no other job has.

        Raises:
          OSError: its id cannot be written down.
        """
        job = Job(job_id, name, path, next(self._numbers))
        self._journal.add(job.id)
        self._jobs[job.id] = job
        return job

    def get(self, job_id: str) -> Job:
        """The job of an id.

        Raises:
          Problem: there is none, or none any more.
        """
        if job_id not in self._jobs:
            kept_s = self._settings.keep_s
            raise Problem(404, f"no job of this id: answers are forgotten after {kept_s:g} seconds")
        return self._jobs[job_id]

    def unanswered(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self if not job.ended.is_set()]

    def ahead(self, job: Job) -> int:
        """How many jobs in the same state or further were taken on before one that has not
        ended."""
        if job.ended.is_set():
            return 0
        return sum(other.number < job.number for other in self.unanswered())

    def end(self, job: Job, state: State, *, result=None, problem: str | None = None) -> float:
        """Answers a job; returns the seconds that its last state took."""
        job.drop_upload()
        job.clip = None
        job.result, job.problem = result, problem
        took = job.move(state)
        job.ended.set()
        return took

    def forget(self, job: Job) -> None:
        """Deletes all that is known of a job; one that is under way is not answered."""
        job.drop_upload()
        job.clip = job.pose = job.result = None
        job.ended.set()
        if self._jobs.pop(job.id, None):
            with contextlib.suppress(OSError):  # on a full disk it will be taken for lost
                self._journal.forget(job.id)

    def forget_old(self) -> None:
        """Forgets those that were answered longer ago than answers are kept, and the oldest of
        more answers than are kept."""
        now, answered = time.monotonic(), [job for job in self if job.ended.is_set()]
        answered.sort(key=lambda job: job.since)
        n_too_many = len(answered) - self._settings.most_kept
        for i, job in enumerate(answered):
            if i < n_too_many or now - job.since > self._settings.keep_s:
                self.forget(job)
