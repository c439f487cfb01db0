"""The one exception for everything a user can cause and mend; what any error comes to, and an
interruption."""

import contextlib
import errno
import os
from collections.abc import Iterator

# EX_TEMPFAIL of sysexits.h, what launchers ask for: saved, not finished. Cluster managers start
# such a command again, as neither 0 (done) nor 1 (failed) would let them.
INTERRUPTED = 75
INTERRUPTED_VARIABLE = "SIGNBIND_INTERRUPTED_CODE"
LONGEST_LINE = 2000  # characters of an error


class SignBindError(Exception):
    """Bad input, bad usage or an impossible request, told in one line.

    The message names the file, the field, the value found and the value wanted.
    The command line prints it without a traceback (`--debug` shows the traceback).
    """


class MissingPackage(SignBindError):
    """A package of an extra is not installed: no fault of what was to be read with it."""


class Interrupted(Exception):
    """A signal ended a run where nothing is lost by it; the message says where it stands."""


@contextlib.contextmanager
def from_extra(extra: str, what: str) -> Iterator[None]:
    """For imports of packages that an extra of setup.py installs.

    Args:
      what: needs them; stands in front of the error.

    Raises:
      MissingPackage: one of them is not installed; names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise missing_extra(extra, what, f"found no package {package}") from error


def missing_extra(extra: str, what: str, found: str) -> MissingPackage:
    """The error of a command whose packages are not installed."""
    return MissingPackage(
        f"{what}: {found}, wanted: pip install 'signbind-jax[{extra}]', or in a checkout "
        f"pip install -e '.[{extra}]'"
    )


def outcome(error: BaseException) -> tuple[int, str]:
    """The exit code and the one line that a failure ends in; empty for an interrupt."""
    if isinstance(error, SignBindError):
        return 1, printable(str(error))
    if isinstance(error, Interrupted):
        return interrupted_code(), printable(str(error))
    if isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        return 130, ""
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        return 1, printable(f"{os.fsdecode(error.filename)}: cannot be used: {error.strerror}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return 1, f"standard output or a file: cannot be written: {error.strerror}"
    line = printable(one_line(error, 300))
    return 1, f"{type(error).__name__}: {line} (--debug shows where)"


def one_line(error: BaseException, most: int = 200) -> str:
    """Writes what an error says on one line of at most `most` characters."""
    return " ".join(str(error).split())[:most]


def printable(text: str) -> str:
    """A text on one line: what a terminal would obey (line breaks, ESC, marks that turn the
    direction of writing) as Python escapes, the middle of a very long one left out."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= LONGEST_LINE else f"{text[:1000]} ... {text[-900:]}"


def prefix(error: BaseException) -> str:
    """What stands before the line of `outcome`."""
    return "" if isinstance(error, Interrupted) else "error: "


def interrupted_code() -> int:
    """The exit code of a command that a signal stopped and that only has to be given again to go
    on: 0, or what the environment asks for."""
    return int(os.environ.get(INTERRUPTED_VARIABLE) or 0)
