"""Python files of a user's: configs, and those that register streams."""

import difflib
import importlib.util
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from signbind_jax import streams
from signbind_jax.errors import SignBindError
from signbind_jax.files import check_regular, shorten
from signbind_jax.processes import child

MOST_BYTES = 10_000_000


def import_files(given: Iterable[str] = ()) -> None:
    """Runs Python files of a user's, such as those that register streams: those that the
    environment's SIGNBIND_IMPORT names, and those given, which child processes then find there.

    Raises:
      SignBindError: there is no such file, or an error in it, with its line.
    """
    for path in (*child.imports(), *given):
        if not path.endswith(".py"):
            raise SignBindError(f"--import: {shorten(path)}: wanted a Python file such as hands.py")
        run(path, "--import")
        child.imports([path])


def run(path: str, option: str) -> ModuleType:
    """The module that a Python file makes; child processes then find what streams it registered.

    Args:
      option: that named it, for errors.

    Raises:
      SignBindError: there is no such file, or an error in it, with its line.
    """
    if not Path(path).exists():
        beside = [file.name for file in Path(path).parent.glob("*.py")]
        near = difflib.get_close_matches(Path(path).name, beside, 1)
        hint = f"; did you mean {str(Path(path).with_name(near[0]))!r}?" if near else ""
        raise SignBindError(f"{option}: {path}: no such file{hint}")
    try:
        size = check_regular(path)
    except SignBindError as error:
        raise SignBindError(f"{option}: {error}") from error
    if size > MOST_BYTES:
        raise SignBindError(
            f"{option}: {path}: found {size:,} bytes, wanted at most {MOST_BYTES:,}"
        )
    known = streams.names()
    spec = importlib.util.spec_from_file_location("signbind_user_config", path)
    module = importlib.util.module_from_spec(spec)
    with placed(path, option):
        spec.loader.exec_module(module)
    if streams.names() != known:
        child.imports([path])
    return module


@contextmanager
def placed(path: str, option: str = "--config") -> Iterator[None]:
    """Ends what goes wrong in a file of a user's in one line with its place there."""
    try:
        yield
    except SignBindError:
        raise
    except (Exception, SystemExit) as error:
        own = Path(path).resolve()
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).resolve() == own
        ]
        if isinstance(error, SyntaxError) and Path(error.filename or "").resolve() == own:
            lines.append(error.lineno)
        place = f"{path}:{lines[-1]}" if lines else path
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise SignBindError(f"{option}: {place}: {told}") from error
