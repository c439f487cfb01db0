"""Clips of recordings extracted into a directory, by `signbind extract` and others."""

import argparse
import atexit
import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.extraction.environment import (
    default_directory,
    ready_environment,
    worker_command,
)
from signbind_jax.data_pipelines.extraction.pool import Failure, Interrupted, Pool, Task
from signbind_jax.data_pipelines.extraction.report import write_failures
from signbind_jax.data_pipelines.extraction.result import Result, read_result
from signbind_jax.data_pipelines.readers.extracted import file_of
from signbind_jax.errors import SignBindError
from signbind_jax.processes.parallel_runs import usable_cores
from signbind_jax.ranges import Count, Positive, argument


@dataclass(frozen=True)
class Workers:
    """The processes that extract.

    Attributes:
      environment: virtual environment with MediaPipe; None: in the user's cache.
      count: processes.
      timeout_s: how long a process may give no sign of life within a clip.
      keep: whether they wait for the clips of the next call, until this program ends: to load
        MediaPipe takes longer than many a clip. Each takes about 0.4 GB of memory.
    """

    environment: Path | None = None
    count: int = field(default_factory=lambda: len(usable_cores()))
    timeout_s: float = 120.0
    keep: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Workers":
        """Those of `add_worker_arguments`."""
        return cls(arguments.environment, arguments.workers, arguments.timeout)


def add_worker_arguments(parser: argparse._ActionsContainer) -> None:
    """Arguments of every command that extracts."""
    usual = Workers()
    parser.add_argument(
        "--workers",
        type=argument(Count),
        metavar="N",
        default=usual.count,
        help="processes that extract, about 0.4 GB of memory each (default: the "
        "cores, here %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=argument(Positive),
        default=usual.timeout_s,
        metavar="SECONDS",
        help="a clip without a sign of life for as long has failed (default: %(default)g)",
    )
    parser.add_argument(
        "--environment",
        type=Path,
        metavar="DIR",
        help="virtual environment with MediaPipe, made here if it is not there "
        "(default: in the user's cache)",
    )


@dataclass
class Extraction:
    """What became of some clips.

    Attributes:
      results: clip id -> summary of its file, in the order in which the clips were given.
      failures: clip id -> why there is no file.
      n_there: clips whose file was there before.
      n_frames: frames that were extracted now.
      interrupted: the signal that ended it before its end.
    """

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    n_there: int = 0
    n_frames: int = 0
    interrupted: Interrupted | None = None


def extract_clips(
    recordings: Mapping[str, Recording],
    out: Path,
    workers: Workers,
    *,
    overwrite: bool = False,
    failures_file: Path | None = None,
    tell: Callable[[str], None] = print,
) -> Extraction:
    """Extracts recordings into `out/<clip id>.npz`; those that are there are kept.

    Args:
      overwrite: extracts again what is there.
      failures_file: gets what failed, as `write_failures` writes it.
      tell: gets the line that says that an environment is being made.

    Raises:
      SignBindError: a file is there that comes of another recording; no directory, environment
        or process can be made.
    """
    tasks = [
        Task(clip_id, recording, file_of(out, clip_id)) for clip_id, recording in recordings.items()
    ]
    _make_directory(out)
    done = Extraction({} if overwrite else _results_there(tasks))
    done.n_there = len(done.results)
    waiting = [task for task in tasks if task.id not in done.results]
    if waiting:
        environment = ready_environment(workers.environment or default_directory(), tell)
        try:
            with _pool(workers, environment) as pool:
                _extract(waiting, pool, done)
        except Interrupted as signal:
            done.interrupted = signal
        finally:
            if failures_file:
                write_failures(failures_file, done.failures, recordings)
    done.results = {task.id: done.results[task.id] for task in tasks if task.id in done.results}
    return done


def _make_directory(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SignBindError(
            f"{out}: cannot be made a directory: {error.strerror or error}: name another one"
        ) from error


def _results_there(tasks: list[Task]) -> dict[str, Result]:
    """The summaries of clips that were extracted before; torn files do not count.

    Raises:
      SignBindError: a file is there that comes of another video, or of another part of it.
    """
    results = {}
    for task in tasks:
        if not task.out.is_file():
            continue
        result = read_result(task.out)
        if result is None:
            continue
        path, start_s, end_s, _ = task.recording
        found, wanted = (result.video, result.start_s, result.end_s), (path.name, start_s, end_s)
        if found != wanted:
            raise SignBindError(
                f"{task.out}: comes of {_span(*found)}, wanted {_span(*wanted)}: "
                "choose another directory, or extract with --overwrite"
            )
        n_bytes = path.stat().st_size if path.is_file() else 0
        if result.video_bytes and n_bytes and result.video_bytes != n_bytes:
            raise SignBindError(
                f"{task.out}: comes of another {path.name}, of "
                f"{result.video_bytes:,} bytes, wanted {path} of {n_bytes:,}: "
                "choose another directory, or extract with --overwrite"
            )
        results[task.id] = result
    return results


def _span(video: str, start_s: float, end_s: float | None) -> str:
    return f"{video} from {start_s:g} s to " + ("its end" if end_s is None else f"{end_s:g} s")


def _pool(workers: Workers, environment: Path) -> contextlib.AbstractContextManager[Pool]:
    if workers.keep:
        return contextlib.nullcontext(_kept_pool(workers, environment))
    return _new_pool(workers, environment)


def _new_pool(workers: Workers, environment: Path) -> Pool:
    return Pool(worker_command(environment), workers.count, workers.timeout_s)


@functools.cache
def _kept_pool(workers: Workers, environment: Path) -> Pool:
    pool = _new_pool(workers, environment)
    atexit.register(pool.close)
    return pool


def _extract(tasks: list[Task], pool: Pool, done: Extraction) -> None:
    # disable=None: shown on a terminal only
    with tqdm(total=len(tasks), unit="clip", disable=None) as bar:
        start = time.monotonic()

        def finished(task: Task, outcome: Result | Failure) -> None:
            if isinstance(outcome, Failure):
                done.failures[task.id] = outcome
            else:
                done.results[task.id] = outcome
                done.n_frames += outcome.frames
            rate = done.n_frames / (time.monotonic() - start)
            bar.set_postfix_str(f"{rate:.0f} frames/s, {len(done.failures)} failed", refresh=False)
            bar.update()

        pool.extract(tasks, finished)
