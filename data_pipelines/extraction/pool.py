"""Worker processes that extract clips; what happens to one of them costs one clip."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import tempfile
import threading
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


class Pool:
    """Processes that extract clips. They are started as they are needed, and wait for the clips of
    the next call until `close` or the end of a `with` statement.

    Args:
      command: starts a process that serves clips (`worker/serve.py`).
      count: processes.
      timeout_s: how long a process may give no sign of life within a clip.
    """

    def __init__(self, command: Sequence[str], count: int = 1, timeout_s: float = 120.0):
        self._command, self._count, self._timeout_s = command, count, timeout_s
        self._idle: list[_Process] = []
        self._turn = threading.Lock()
        # A thread of its own: the caller's may have a loop that runs, as that of a notebook has.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="signbind extraction", daemon=True
        )
        self._thread.start()

    def extract(
        self, tasks: Sequence[Task], finished: Callable[[Task, Result | Failure], None]
    ) -> None:
        """Extracts clips; calls from several threads take turns.

        Args:
          tasks: begun in this order.
          finished: gets every clip as it is done or has failed, in a thread of the pool.

        Raises:
          SignBindError: no process can be started; there is no room for files.
          Interrupted: SIGINT or SIGTERM came. No half-written file is left.
        """
        stopped = asyncio.Event()
        caught: list[int] = []

        def stop(number: int, _frame) -> None:
            caught.append(number)
            self._loop.call_soon_threadsafe(stopped.set)

        with self._turn, _signals_to(stop):
            work = self._extract_all(tasks, finished, stopped)
            asyncio.run_coroutine_threadsafe(work, self._loop).result()
        if caught:
            raise Interrupted(caught[0])

    def close(self) -> None:
        """Ends the processes."""
        asyncio.run_coroutine_threadsafe(self._end_idle(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    async def _extract_all(self, tasks, finished, stopped: asyncio.Event) -> None:
        waiting = iter(tasks)
        n = min(self._count, len(tasks))
        working = [asyncio.create_task(self._work(waiting, finished)) for _ in range(n)]
        asked = asyncio.create_task(stopped.wait())
        try:
            all_done = asyncio.gather(*working)
            await asyncio.wait([all_done, asked], return_when=asyncio.FIRST_COMPLETED)
            if all_done.done():
                all_done.result()
        finally:
            for task in (*working, asked):
                task.cancel()
            await asyncio.gather(*working, asked, return_exceptions=True)

    async def _work(self, waiting: Iterator[Task], finished) -> None:
        """Extracts what is waiting, one clip after another; a process that died is replaced."""
        process = None
        try:
            for task in waiting:
                if process is None or not process.is_alive():
                    process = await self._ready_process()
                finished(task, await process.extract(task, self._timeout_s))
        finally:
            if process is not None and process.is_alive():
                self._idle.append(process)

    async def _ready_process(self) -> "_Process":
        while self._idle:
            process = self._idle.pop()
            if await process.answers(self._timeout_s):  # it may have died since its last clip
                return process
        return await _Process.started(self._command)

    async def _end_idle(self) -> None:
        while self._idle:
            await self._idle.pop().end()


@contextlib.contextmanager
def _signals_to(stop: Callable) -> Iterator[None]:
    handled = {}
    try:
        for number in _STOPS:
            # Elsewhere than in the main thread there are no signals to handle.
            with contextlib.suppress(ValueError):
                handled[number] = signal.signal(number, stop)
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


class _Died(Exception):
    """The process is gone."""


class _Process:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]):
        self._process, self._errors = process, errors

    @classmethod
    async def started(cls, command: Sequence[str]) -> "_Process":
        """A process that is ready for a clip."""
        quiet = {"GLOG_minloglevel": "2", "TF_CPP_MIN_LOG_LEVEL": "2"}
        errors = tempfile.TemporaryFile()  # noqa: SIM115  what it complains of; `end` closes it
        # Else what it writes behind an emptied file's end would follow as many zeros.
        fcntl.fcntl(errors, fcntl.F_SETFL, os.O_APPEND)
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
            errors.close()
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
        """Whether it was alive when it was last heard of."""
        return self._process.returncode is None

    async def answers(self, timeout_s: float) -> bool:
        """Whether it can take another clip; it is ended where it cannot."""
        try:
            async with asyncio.timeout(timeout_s):
                self._ask(None)
                return "ready" in await self._answer()
        except (_Died, TimeoutError):
            await self.end()
            return False
        except BaseException:
            await self.end()
            raise

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
            self._ask(request)
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

    def _ask(self, request: dict | None) -> None:
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

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
        self._errors.close()
