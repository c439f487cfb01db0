"""`signbind`, which waits at one place of a training run until it is told to go on.

python -m tests.multiprocess.held_signbind ARGUMENTS...
HOLD names the place (`PLACES`), or PLACE:N for the N-th time there. MARKS names a directory: a
process writes `came_<id>` into it when it is there, and waits until a signal has come and the
processes have agreed on where to stop. Nothing else ends it: a process that went on by itself could
be through its last step before the others have heard of the signal.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import signbind_jax.train.loop
import signbind_jax.train.step_programs
from signbind_jax import cli
from signbind_jax.processes import interrupts

# What is called at each place.
PLACES = {
    "compile": (signbind_jax.train.step_programs.StepPrograms, "compile"),
    "step": (signbind_jax.train.loop.Feed, "next"),
    "save": (signbind_jax.train.loop.CheckpointDir, "save"),
    "evaluation": (signbind_jax.train.loop._Run, "_score"),
}


def hold(place: str, n: int, marks: Path) -> None:
    """Makes the n-th call at a place wait."""
    owner, name = PLACES[place]
    inner: Callable = getattr(owner, name)
    calls = 0

    def outer(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == n:
            (marks / f"came_{os.getpid()}").touch()
            while not _will_stop():
                time.sleep(0.02)
        return inner(*arguments, **options)

    setattr(owner, name, outer)


def _will_stop() -> bool:
    signals = interrupts.active()
    if signals is None or not signals.shared:
        return signals is not None and signals.received
    return signals._last_call is not None


def hold_as_told() -> None:
    """Holds where the environment says, if it does."""
    if "HOLD" in os.environ:
        where, _, number = os.environ["HOLD"].partition(":")
        hold(where, int(number or 1), Path(os.environ["MARKS"]))


if __name__ == "__main__":
    hold_as_told()
    sys.exit(cli.main())
