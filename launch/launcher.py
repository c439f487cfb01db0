"""What the launchers of all clusters do alike: tell states, wait, ask before something is lost."""

import argparse
import os
import time
from collections.abc import Callable
from typing import TypeVar

from signbind_jax.errors import SignBindError
from signbind_jax.launch.programs import Done, Programs, confirm
from signbind_jax.launch.redaction import secrets_of

_LONGEST_LINE = 2**24  # characters that are held back until it ends
Outcome = TypeVar("Outcome")


class Launcher:
    """One job on a cluster. A subclass has a method for each ACTION, which gives an exit code.

    Args:
      arguments: of the command line, as `job.parse` gives them.

    Attributes:
      goes_on: what is told who stops watching.
    """

    goes_on = "the job goes on"

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.job, self.dry_run = arguments, arguments.job, arguments.dry_run
        self.programs = Programs(
            dry_run=arguments.dry_run,
            tries=arguments.tries,
            wait_s=arguments.retry_wait,
            secrets=secrets_of(self.job.environment, self.job.command, os.environ),
        )
        self.told = ""

    def act(self) -> int:
        """Does what the command line asks for."""
        return getattr(self, self.arguments.action)()

    def say(self, text: str) -> None:
        """One line to the user."""
        self.programs.say(f"{self.job.name}: {text}")

    def tell(self, state: str) -> None:
        """A state, where it is another than before."""
        if state != self.told:
            self.say(state)
        self.told = state

    def error(self, text: str) -> SignBindError:
        """An error of this job."""
        return SignBindError(f"{self.job.name}: {text}")

    def do(self, argv: list[str], what: str, **how) -> Done:
        """Runs a program; see `Programs.run`."""
        return self.programs.run(argv, f"{self.job.name}: {what}", **how)

    def until(self, look: Callable[[], Outcome | None]) -> Outcome:
        """The first outcome of a look at the job."""
        try:
            while (outcome := look()) is None:
                time.sleep(self.arguments.poll)
            return outcome
        except KeyboardInterrupt:
            self.say(
                f"no longer watched; {self.goes_on}. Watch it again with `watch`, end it with "
                "`delete`"
            )
            raise

    def confirm(self, question: str) -> None:
        """Asks before something is lost.

        Raises:
          SignBindError: the answer is no, or nobody is there to be asked.
        """
        if not self.dry_run:
            confirm(f"{self.job.name}: {question}", yes=self.arguments.yes)


class WholeLines:
    """Output that comes in pieces, line by line: a secret never slips through in two halves."""

    def __init__(self):
        self._rest = ""

    def add(self, text: str, ended: bool = False) -> str:
        """The lines that are complete with `text`, or all of it where it has ended."""
        text = self._rest + text
        cut = text.rfind("\n") + 1
        if ended or not cut and len(text) > _LONGEST_LINE:
            cut = len(text)
        self._rest = text[cut:]
        return text[:cut]
