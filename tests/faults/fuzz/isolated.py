"""A call in a process of its own, within limits of time and memory, and what it left on disk."""

import contextlib
import json
import os
import resource
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from signbind_jax.errors import printable

CPU_S = 10  # a machine under load is slow: what counts is the processor's time
IDLE_S = 20  # asleep all the time: what it waits for never comes
MEMORY = 2**30  # bytes above the start
# Beyond this nothing is given, or the process ended: a bomb must not take the machine with it.
_DATA = 6 * 2**30
_KILLED_AT = 2 * 2**30
_ROOT = Path(__file__).resolve().parents[3]
_DEVICES = ("/dev/null", "/dev/tty", "/proc/", "/sys/", "/dev/shm/")
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod")


class Outcome(NamedTuple):
    """How a call ended.

    Attributes:
      kind: "returned", or the name of the exception's class; "died" without either.
      code: that it returned or exited with.
      line: the exception's message.
      where: the innermost line of this project in its traceback.
      said: everything it wrote to the terminal.
      forbidden: programs it started, files it changed outside its tree.
      seconds: of processor time; bytes: of memory above the start.
    """

    kind: str
    code: int = 0
    line: str = ""
    where: str = ""
    said: str = ""
    forbidden: tuple[str, ...] = ()
    seconds: float = 0.0
    bytes: int = 0


def call(
    function: Callable[[], int | None],
    tree: Path,
    cpu_s: float = CPU_S,
    allowed: tuple[str, ...] = (),
) -> Outcome:
    """Calls `function` in a forked process that should change nothing outside of `tree`.

    Args:
      allowed: audit events that are no fault here, such as "socket.connect".
    """
    said, told = tree.parent / "said", tree.parent / "told"
    start = psutil.Process().memory_info().rss
    child = os.fork()
    if child == 0:
        _be_child(function, tree, said, told, cpu_s, allowed)
    usage, status = _wait(child, start + _KILLED_AT)
    text = said.read_bytes()[-5000:].decode(errors="replace") if said.exists() else ""
    measured = {
        "said": text,
        "seconds": usage.ru_utime + usage.ru_stime,
        "bytes": max(0, usage.ru_maxrss * 1024 - start),
    }
    ended = {"kind": "died", "code": -status if status < 64 else status, "line": _why(status)}
    if told.exists() and os.WIFEXITED(status):
        ended = json.loads(told.read_text())
        ended["forbidden"] = tuple(ended.get("forbidden", ()))
    for path in (said, told):
        path.unlink(missing_ok=True)
    return Outcome(**ended, **measured)


def _wait(child: int, most_bytes: int):
    """What the child used and its status; SIGALRM and SIGXFSZ stand for time and memory."""
    process, pause = psutil.Process(child), 0.001
    used, moved = None, time.monotonic()
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return usage, status
        now = _used(process) if process.status() == psutil.STATUS_SLEEPING else None
        if now is None or now != used:
            used, moved = now, time.monotonic()
        ended = signal.SIGALRM if time.monotonic() > moved + IDLE_S else None
        if process.memory_info().rss > most_bytes:
            ended = signal.SIGXFSZ
        if ended:
            os.kill(child, signal.SIGKILL)
            return os.wait4(child, 0)[2], ended
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)


def _used(process: psutil.Process) -> float:
    """Seconds of processor time of a process and of those it may be waiting for."""
    seconds = sum(process.cpu_times()[:2])
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(child.cpu_times()[:2])
    return seconds


def _why(status: int) -> str:
    number = status & 0x7F
    if number == signal.SIGALRM:
        return f"hang: nothing happened for {IDLE_S} s"
    if number == signal.SIGXFSZ:
        return "memory: grew without end"
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "hang: the processor's time is used up"
    return f"ended by {signal.Signals(number).name}" if number else "exited without a word"


def _be_child(function, tree: Path, said: Path, told: Path, cpu_s: float, allowed) -> None:
    record: dict = {"kind": "died", "line": "in the harness"}
    try:
        terminal = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(terminal, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name in ("home", "tmp", "cwd"):
            (tree / name).mkdir(exist_ok=True)
        os.environ |= {
            "HOME": f"{tree}/home",
            "TMPDIR": f"{tree}/tmp",
            "XDG_CACHE_HOME": f"{tree}/home/.cache",
        }
        os.chdir(tree / "cwd")
        sys.path.insert(0, str(tree / "cwd"))  # as `python -m` has it
        limit = psutil.Process().memory_info().data + _DATA
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        forbidden = _watch(tree, allowed)
        record = _called(function)
        record["forbidden"] = forbidden[:5]
        told.write_text(json.dumps(record))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(0)


def _called(function: Callable) -> dict:
    try:
        return {"kind": "returned", "code": function() or 0}
    except SystemExit as error:
        return {"kind": "returned", "code": error.code if isinstance(error.code, int) else 1}
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [
            f
            for f in frames
            if f.filename.startswith(str(_ROOT))
            and "tests" not in f.filename
            and ".venv" not in f.filename
        ]
        where = f"{Path(own[-1].filename).relative_to(_ROOT)}:{own[-1].lineno}" if own else ""
        line = printable(str(error))  # as the command line prints it
        return {"kind": type(error).__name__, "line": line, "where": where}


def _watch(tree: Path, allowed: tuple[str, ...]) -> list[str]:
    """Notes what this process does from now on that no reader of files may do."""
    forbidden: list[str] = []
    home = (str(tree), *_DEVICES, os.environ.get("JAX_COMPILATION_CACHE_DIR", str(tree)))

    def is_outside(path) -> bool:
        path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(tree)
        return not os.path.realpath(os.path.dirname(os.path.abspath(path))).startswith(home) and (
            not os.path.abspath(path).startswith(home)
        )

    def hook(event: str, arguments: tuple) -> None:
        if event in allowed:
            return
        if event in _RUNS:
            forbidden.append(f"{event} {str(arguments)[:200]}")
        elif event in _CHANGES and is_outside(arguments[0]):
            forbidden.append(f"{event} {arguments[0]}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes and is_outside(arguments[0]):
                forbidden.append(f"{event} for writing {arguments[0]}")

    sys.addaudithook(hook)
    return forbidden


def listing(tree: Path) -> dict[str, tuple]:
    """Every file and directory below a tree, and what changes when somebody writes to it."""
    found = {}
    for directory, _, names in os.walk(tree):
        for path in (Path(directory), *(Path(directory) / name for name in names)):
            status = path.lstat()
            is_directory = stat.S_ISDIR(status.st_mode)
            found[str(path.relative_to(tree))] = (
                (status.st_mode,)
                if is_directory
                else (status.st_mode, status.st_size, status.st_mtime_ns)
            )
    return found
