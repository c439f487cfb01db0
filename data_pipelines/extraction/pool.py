"""Worker processes that extract clips; what happens to one of them costs one clip."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.extraction.result import Result
from signbind_jax.errors import SignBindError

_START_S = 300.0  # to load the models, from a slow disk too
_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Task:
    """A clip to be extracted, and the file it goes to."""

    id: str
    recording: Recording
    out: Path


@dataclass(frozen=True)
class Failure:
    """Why there is no file of a clip."""

    reason: str


class Interrupted(Exception):
    """A signal ended the extraction; `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def extract_all(
    tasks: Sequence[Task],
    command: Sequence[str],
    finished: Callable[[Task, Result | Failure], None],
    *,
    workers: int = 1,
    timeout_s: float = 120.0,
) -> None:
    """Extracts clips in several processes.

    Args:
      tasks: begun in this order.
      command: starts a process that serves clips (`worker/serve.py`).
      finished: gets every clip as it is done or has failed.
      workers: processes.
      timeout_s: how long a process may give no sign of life within a clip.

    Raises:
      SignBindError: no process can be started; there is no room for files.
      Interrupted: SIGINT or SIGTERM came. No process and no half-written file is left.
    """
    asyncio.run(_extract_all(tasks, command, finished, workers, timeout_s))


async def _extract_all(tasks, command, finished, workers: int, timeout_s: float) -> None:
    waiting = iter(tasks)
    caught: list[int] = []
    loops = [
        asyncio.create_task(_work(waiting, command, finished, timeout_s))
        for _ in range(min(workers, len(tasks)))
    ]

    def cancel() -> None:
        for loop in loops:
            if not loop.cancelling():  # a second time would disturb its tidying up
                loop.cancel()

    def stop(number: int) -> None:
        caught.append(number)
        cancel()

    with _signals_to(stop):
        try:
            await asyncio.gather(*loops)
        except asyncio.CancelledError:
            if not caught:
                raise
        finally:
            cancel()
            await asyncio.gather(*loops, return_exceptions=True)
    if caught:
        raise Interrupted(caught[0])


@contextlib.contextmanager
def _signals_to(stop: Callable[[int], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handled = []
    for number in _STOPS:
        # Elsewhere than in the main thread there are no signals to handle.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop, number)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def _work(waiting: Iterator[Task], command, finished, timeout_s: float) -> None:
    """Extracts what is waiting, one clip after another; a process that died is replaced."""
    process = None
    with tempfile.TemporaryFile("a+b") as errors:  # what the processes complain of
        try:
            for task in waiting:
                if process is None or not process.is_alive():
                    process = await _Process.started(command, errors)
                outcome = await process.extract(task, timeout_s)
                finished(task, outcome)
        finally:
            if process is not None:
                await process.end()


class _Died(Exception):
    """The process is gone."""


class _Process:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]):
        self._process, self._errors = process, errors

    @classmethod
    async def started(cls, command: Sequence[str], errors: IO[bytes]) -> "_Process":
        """A process that is ready for a clip."""
        quiet = {"GLOG_minloglevel": "2", "TF_CPP_MIN_LOG_LEVEL": "2"}
        try:
            # A session of its own: Ctrl-C reaches this process alone, which ends the others.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, **quiet},
            )
        except OSError as error:
            raise SignBindError(
                f"{command[0]}: cannot be started ({error.strerror or error})"
            ) from error
        started = cls(process, errors)
        try:
            async with asyncio.timeout(_START_S):
                answer = await started._answer()
        except (_Died, TimeoutError) as error:
            await started.end()
            raise SignBindError(
                f"{command[0]}: extraction does not start: "
                f"{error or 'no answer'}: name a working "
                "--environment, or delete this one to have it made "
                "again"
            ) from error
        except BaseException:
            await started.end()
            raise
        if "stop" in answer:
            await started.end()
            raise SignBindError(f"{command[0]}: {answer['stop']}")
        return started

    def is_alive(self) -> bool:
        """Whether it can take another clip."""
        return self._process.returncode is None

    async def extract(self, task: Task, timeout_s: float) -> Result | Failure:
        """A clip's outcome; the process may not survive it."""
        self._errors.truncate(0)
        partial = task.out.with_name(f".{task.out.stem}.{self._process.pid}.partial")
        recording = task.recording
        request = {
            "path": str(recording.path),
            "start_s": recording.start_s,
            "end_s": recording.end_s,
            "fps": recording.fps,
            "out": str(task.out),
            "partial": str(partial),
        }
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            while True:
                async with asyncio.timeout(timeout_s):
                    answer = await self._answer()
                if "stop" in answer:
                    raise SignBindError(answer["stop"])
                if "done" in answer:
                    return Result.from_json(answer["done"])
                if "failed" in answer:
                    return Failure(answer["failed"])
        except _Died as error:
            outcome = Failure(str(error))
        except TimeoutError:
            outcome = Failure(f"no sign of life for {timeout_s:g} s (--timeout)")
        except BaseException:
            await self.end()
            partial.unlink(missing_ok=True)
            raise
        await self.end()
        partial.unlink(missing_ok=True)
        return outcome

    async def _answer(self) -> dict:
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise _Died(await self._last_words())
        return json.loads(line)

    async def _last_words(self) -> str:
        code = await self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line]
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name + (", out of memory?" if code == -9 else "")
        last = f": {lines[-1].strip()[:200]}" if lines else ""
        return f"the process died ({how}){last}"

    async def end(self) -> None:
        """Ends the process and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
