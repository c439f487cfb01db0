"""The virtual environment in which landmarks are extracted, made on first use.

It is made under another name and renamed when it works: what is there is whole.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError

MEDIAPIPE = "mediapipe==0.10.21"
PYTHONS = ((3, 9), (3, 12))  # first and last for which that version of MediaPipe is published
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
WORKER = Path(__file__).with_name("worker")


def default_directory() -> Path:
    """Where the environment of these requirements lies: in the user's cache."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + MEDIAPIPE.encode()).hexdigest()
    return files.user_cache(f"extraction-{wanted[:10]}")


def worker_command(environment: Path) -> list[str]:
    """The command that serves clips in an environment (`worker/serve.py`).

    PYTHONPATH and the user's own packages stay out: they are of another environment.
    """
    return [str(_python(environment)), "-E", "-s", str(WORKER)]


def ready_environment(
    directory: Path, tell: Callable[[str], None] = print, python: str | None = None
) -> Path:
    """The environment, made now if it is not there.

    Args:
      directory: of the environment.
      tell: gets the line that says what is being made.
      python: makes it; else one is chosen.

    Raises:
      SignBindError: it cannot be made: no package index, no fitting Python, no room.
    """
    directory = Path(directory).absolute()
    if _python(directory).exists():
        return directory
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SignBindError(
            f"{directory}: found no bin/python, wanted a virtual environment, "
            "or nothing there: name another --environment"
        )
    python = python or _fitting_python()
    try:
        with _alone(directory):
            if not _python(directory).exists():
                _make(directory, python, tell)
    except OSError as error:
        raise SignBindError(
            f"{directory}: the environment for extraction cannot be made: {error.strerror or error}"
        ) from error
    return directory


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _fitting_python() -> str:
    """A Python that MediaPipe is published for: this one, else one on the path."""
    first, last = PYTHONS
    if first <= sys.version_info[:2] <= last:
        return sys.executable
    for minor in range(last[1], first[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise SignBindError(
        f"{MEDIAPIPE} is published for Python {first[0]}.{first[1]} to {last[0]}."
        f"{last[1]}, found {sys.version_info.major}.{sys.version_info.minor} and "
        "no other on the PATH: install one, or make an environment elsewhere and "
        "name it with --environment=DIR"
    )


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Holds other commands back until this one has made the environment."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_name(f".{directory.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(directory: Path, python: str, tell: Callable[[str], None]) -> None:
    tell(f"making the environment for extraction in {directory}: about 500 MB and a minute, once")
    start = time.monotonic()
    for left in directory.parent.glob(f".{directory.name}.partial-*"):  # by killed commands
        shutil.rmtree(left, ignore_errors=True)
    # Of its own name: what a killed command started may still be writing.
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    try:
        _run([python, "-I", "-m", "venv", str(partial)], directory)
        pip = [
            str(_python(partial)),
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries=2",
            "--disable-pip-version-check",
            "--no-input",
        ]
        _run([*pip, "--requirement", str(REQUIREMENTS)], directory)
        _run([*pip, "--no-deps", MEDIAPIPE], directory)
        if directory.is_dir():
            directory.rmdir()
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    tell(f"environment made in {time.monotonic() - start:.0f} s")


def _run(command: list[str], directory: Path) -> None:
    """Runs a step of the making; its last line of error becomes ours."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
    raise SignBindError(
        f"{directory}: the environment for extraction cannot be made: "
        f"{errors[-1][:300]}: it needs a package index once (pip's settings); "
        "without one, copy an environment here and name it with "
        "--environment=DIR"
    )
