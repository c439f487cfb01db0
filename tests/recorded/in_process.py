"""The commands of these tests: a dozen, whose programs are large."""

import jax

from tests.conftest import signbind


def command(*arguments) -> str:
    """Runs a command in this process; what it printed.

    Raises:
      AssertionError: the command failed.
    """
    printed = signbind(*arguments).stdout
    jax.clear_caches()
    return printed
