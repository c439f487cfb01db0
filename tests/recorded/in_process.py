"""The real commands without the start-up of a process each: these tests run a dozen."""

import contextlib
import io

import jax

from signbind_jax import cli


def command(*arguments) -> str:
    """Runs a command of the command line in this process; what it printed.

    Raises:
      AssertionError: the command failed.
    """
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        code = cli.main([str(argument) for argument in arguments])
    assert code == 0, f"{arguments}\n{printed.getvalue()}\n{errors.getvalue()}"
    jax.clear_caches()
    return printed.getvalue()
