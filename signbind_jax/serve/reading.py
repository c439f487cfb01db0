"""Uploads read in a process of its own: what a broken file does to it costs one job."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError, outcome, printable
from signbind_jax.processes import child

_START_S = 300.0  # to import what reads
_END_S = 5.0  # to end the processes that extract landmarks


@dataclass(frozen=True)
class Reading:
    """How uploads are read.

    Attributes:
      lip_size: side in pixels of the mouth crops that the translator reads; None: it reads none.
      most_seconds: duration of a recording.
      read_s: seconds that one may take to be read.
      environment: virtual environment with MediaPipe; None: in the user's cache.
    """

    lip_size: int | None
    most_seconds: float
    read_s: float
    environment: Path | None = None


@dataclass(frozen=True)
class ReadUpload:
    """What was read of an upload: a clip, or why there is none; and notes, one line each."""

    clip: Clip | None = None
    fault: str = ""
    notes: tuple[str, ...] = ()


class Reader:
    """One process that reads an upload at a time; it is replaced when it dies.

    All but `interrupt` is for one thread.
    """

    def __init__(self, reading: Reading):
        self._reading = reading
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Starts the process and waits until it can read.

        Raises:
          SignBindError: it does not start.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._reading), name="signbind reader"
        )
        with child.safe_spawning():
            self._process.start()
        theirs.close()
        try:
            ready = self._pipe.poll(_START_S) and self._pipe.recv()
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.end()
            raise SignBindError("the process that reads uploads does not start")

    def read(self, path: Path, name: str) -> ReadUpload:
        """Reads an upload that its user calls `name`."""
        try:
            if self._process is not None and not self._process.is_alive():  # since the last one
                self.end()
            if self._process is None:
                self.start()
            self._pipe.send((path, name))
            if self._pipe.poll(self._reading.read_s):
                return self._pipe.recv()
            fault = f"not read within {self._reading.read_s:g} seconds"
        except (EOFError, OSError):
            fault = "the process that read it died (a damaged file, or out of memory?)"
        except SignBindError as error:
            return ReadUpload(fault=str(error))
        self.end()
        return ReadUpload(fault=f"{name}: {fault}")

    def interrupt(self) -> None:
        """Has the process end what it started and itself; from any thread."""
        if (process := self._process) is not None:
            _end(process)

    def end(self) -> None:
        """Ends the process and frees what it had."""
        if self._process is not None:
            _end(self._process)
            self._pipe.close()
            self._process = self._pipe = None


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.terminate()
    process.join(_END_S)
    process.kill()
    process.join()


def _serve(pipe: Connection, reading: Reading) -> None:
    """Reads uploads until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group: the server decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import jax

    from signbind_jax.processes.user_files import import_files

    # It computes nothing, and an accelerator belongs to the process that translates.
    jax.config.update("jax_platforms", "cpu")
    import_files()
    from signbind_jax.data_pipelines import clip_inputs  # noqa: F401  so that the first is fast
    from signbind_jax.data_pipelines.extraction.pool import Interrupted

    with contextlib.suppress(EOFError, OSError):  # the server is gone
        # Ends as a process that is done does, and ends those that extract.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        pipe.send(True)
        while True:
            path, name = pipe.recv()
            try:
                answer = _read(path, reading)
            except Interrupted:
                return
            except SignBindError as error:
                answer = ReadUpload(fault=str(error))
            except Exception as error:
                answer = ReadUpload(fault=f"{name}: {outcome(error)[1]}")
            pipe.send(_named(answer, path, name))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_S)
    os._exit(1)


def _read(path: Path, reading: Reading) -> ReadUpload:
    from signbind_jax.data_pipelines.clip_inputs import read_paths
    from signbind_jax.data_pipelines.extraction.extract import Workers
    from signbind_jax.data_pipelines.readers.clip_file import VIDEOS

    if path.suffix.lower() in VIDEOS:
        _check_duration(path, reading.most_seconds)
    workers = Workers(reading.environment, 1, keep=True)
    read = read_paths([str(path)], reading.lip_size, workers=workers)
    notes = tuple(map(printable, read.notes))
    if read.faults:
        return ReadUpload(fault=read.faults[0], notes=notes)
    if len(read.clips) != 1:
        return ReadUpload(fault=f"{path}: found {len(read.clips)} clips, wanted one", notes=notes)
    clip = read.clips[0]
    seconds = max([clip.seconds, *(frames.seconds for frames in clip.modalities.values())])
    if seconds > reading.most_seconds:
        return ReadUpload(fault=_too_long(path, seconds, reading.most_seconds), notes=notes)
    return ReadUpload(clip, notes=notes)


def _check_duration(video: Path, most_seconds: float) -> None:
    """Refuses a video that says that it is too long, before its landmarks are looked for."""
    from signbind_jax.data_pipelines.extraction.worker.opening import Unreadable, open_video
    from signbind_jax.errors import from_extra

    try:
        with from_extra("corpora", "videos"), open_video(video) as container:
            seconds = (container.duration or 0) / 1e6  # of FFmpeg's time base
    except Unreadable as reason:
        raise SignBindError(f"{video}: {reason}") from reason
    if seconds > most_seconds:
        raise SignBindError(_too_long(video, seconds, most_seconds))


def _too_long(path: Path, seconds: float, most: float) -> str:
    return f"{path}: found {seconds:.1f} seconds, wanted at most {most:g}"


def _named(answer: ReadUpload, path: Path, name: str) -> ReadUpload:
    """The answer with the user's name of the file in place of the server's."""

    def named(text: str) -> str:
        for own in (str(path), path.name, path.stem):  # the stem is the clip's id
            text = text.replace(own, name)
        return text

    return ReadUpload(answer.clip, named(answer.fault), tuple(map(named, answer.notes)))
