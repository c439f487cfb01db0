"""Python processes that the library starts: they import what this one would, and nothing from the
current directory, which may be a stranger's."""

import contextlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
IMPORTS = "SIGNBIND_IMPORT"  # the Python files that a command runs first, as in PATH
_SAFE = {"PYTHONSAFEPATH": "1"}  # Python's -P, for what the child starts as well


def imports(more: Iterable[str] = ()) -> list[str]:
    """Lists the Python files that this process and those it starts run first, with `more`."""
    known = filter(None, os.environ.get(IMPORTS, "").split(os.pathsep))
    paths = list(dict.fromkeys([*known, *map(os.path.abspath, more)]))
    if paths:
        os.environ[IMPORTS] = os.pathsep.join(paths)
    return paths


def xla_flags(*flags: str) -> str:
    """XLA_FLAGS with `flags`, each once: JAX's cache on disk tells programs apart by the text."""
    return " ".join(dict.fromkeys([*os.environ.get("XLA_FLAGS", "").split(), *flags]))


def python(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Gives the command and the environment of `python -m module arguments`."""
    path = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    # A checkout that is not installed is found by its path. The folder of all packages is not put
    # there: it would come before the standard library.
    if _ROOT not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        path.insert(0, _ROOT)
    environment = {**os.environ, **_SAFE, "PYTHONPATH": os.pathsep.join(path)}
    return [sys.executable, "-m", module, *arguments], environment


@contextlib.contextmanager
def safe_spawning() -> Iterator[None]:
    """Lets what `multiprocessing` spawns within import nothing from the current directory either.

    Its processes get the path of this one, but only once they have imported its first modules.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ.update(_SAFE)
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH", None)
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before
