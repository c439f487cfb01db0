"""Runs the cloud's own programs: printed, tried again, and told in one line when they fail."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.launch.redaction import Mask

# What no second try can mend. Everything else may be a network, a quota of requests a minute, an
# ssh key that has not reached the new machine yet, or a controller that is being restarted.
_PERMANENT = re.compile(
    r"PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT|ALREADY_EXISTS|gcloud auth login|"
    r"unrecognized arguments|invalid choice|"
    r"[Ii]nvalid (?:account|partition|qos|job id|generic resource|node count|time)",
)


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it said; not masked."""

    code: int
    stdout: str
    stderr: str


class Programs:
    """Starts programs by their arguments, without a shell between.

    Args:
      dry_run: prints each command as a line a shell would take, and starts nothing.
      tries: how often one command is started in all before it counts as failed.
      wait_s: seconds before the second try; doubled before every further one.
      secrets: texts that are masked in everything that is shown (`launch.redaction`).
    """

    def __init__(
        self,
        *,
        dry_run: bool = False,
        tries: int = 5,
        wait_s: float = 10.0,
        secrets: Iterable[str] = (),
    ):
        self.dry_run, self.tries, self.wait_s = dry_run, tries, wait_s
        self.mask = Mask(secrets)

    def say(self, text: str) -> None:
        """One line to the user; a comment in a dry run, whose output is a script."""
        print(self.mask(f"# {text}" if self.dry_run else text), flush=True)

    def show(self, text: str) -> None:
        """Output of others, as it is."""
        print(self.mask(text), end="", flush=True)

    def run(
        self,
        argv: Sequence[str],
        what: str,
        *,
        pretend: str = "",
        stream: bool = False,
        accept: str = "",
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 900.0,
        tries: int | None = None,
    ) -> Done:
        """Runs one program to its end, again where it failed and may do better.

        Args:
          argv: program and arguments.
          what: the step in the user's words, for errors.
          pretend: standard output of a dry run.
          stream: shows what it prints while it runs.
          accept: pattern of a failure that the caller understands; it comes back, unraised.
          environment: variables of this program beside our own.
          tries: instead of those of all programs.

        Raises:
          SignBindError: it is not installed, or failed in every try.
        """
        if self.dry_run:
            print(self.mask(shlex.join(argv)), flush=True)
            return Done(0, pretend, "")
        wait_s, tries = self.wait_s, tries or self.tries
        for attempt in range(1, tries + 1):
            done = self._once(argv, what, stream, environment, timeout_s)
            if done.code == 0 or accept and re.search(accept, f"{done.stdout}\n{done.stderr}"):
                return done
            hopeless = _PERMANENT.search(done.stderr) or done.code == 2
            if hopeless or attempt == tries:
                break
            self.say(
                f"{what}: exit code {done.code} ({_reason(done)}); try {attempt + 1} of "
                f"{tries} in {wait_s:g} s"
            )
            time.sleep(wait_s)
            wait_s *= 2
        times = "once" if attempt == 1 else f"{attempt} times"
        raise SignBindError(
            self.mask(
                f"{what}: {Path(argv[0]).name} failed {times}, exit code "
                f"{done.code}: {_reason(done)} (--dry_run shows the "
                "command)"
            )
        )

    def _once(self, argv, what, stream, environment, timeout_s) -> Done:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if stream else subprocess.PIPE,
                env={**os.environ, **(environment or {})},
                encoding="utf-8",
                errors="replace",
            )
        except FileNotFoundError:
            raise SignBindError(
                f"{what}: found no program {argv[0]!r} on PATH, wanted one: "
                f"{_WHERE.get(argv[0], 'install it')}"
            ) from None
        except OSError as error:  # not executable, arguments too long
            raise SignBindError(
                f"{what}: {argv[0]} cannot be started: {error.strerror or error}"
            ) from error
        with process:
            try:
                if stream:
                    stdout, stderr = self._shown(process), ""
                else:
                    stdout, stderr = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return Done(124, "", f"no answer within {timeout_s:g} s")
        return Done(process.returncode, stdout, stderr)

    def _shown(self, process) -> str:
        lines = []
        for line in process.stdout:
            lines.append(line)
            self.show(line)
        return "".join(lines[-200:])


_WHERE = {
    "gcloud": "install the Google Cloud CLI (cloud.google.com/sdk) and run `gcloud auth login`",
    "xpk": "pip install xpk",
    "kubectl": "gcloud components install kubectl",
    "sbatch": "run this on a login node of the cluster",
    "squeue": "run this on a login node of the cluster",
    "scancel": "run this on a login node of the cluster",
}


def confirm(question: str, *, yes: bool) -> None:
    """Asks before something is lost.

    Raises:
      SignBindError: the answer is no, or nobody is there to be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise SignBindError(f"{question} found no terminal to ask on, wanted --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise SignBindError(f"{question} answered no; nothing was changed")


def _reason(done: Done) -> str:
    """The last line that says something, preferring errors."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if re.search(r"error|fail|denied", line, re.IGNORECASE)]
    return (errors or lines or ["it said nothing"])[-1][:300]
