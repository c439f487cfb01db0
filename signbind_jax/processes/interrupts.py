"""Signals that ask a run to stop: it finishes the step in flight, saves, and ends well.

Before the first step of a start there is nothing to save: the same command, given again, loses
nothing. In an evaluation only the evaluation is lost, and the next start makes it anew.

On several processes one signal to any of them stops all at one step. JAX's preemption service
does not serve: it knows neither SIGINT nor signals before it runs, and cannot be asked between
the batches of an evaluation.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from signbind_jax.errors import interrupted_code

BEFORE_FIRST_STEP = "stopped by a signal before the first step; run the same command to go on"

_CALLS = "signbind/calls/"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_active: "Interrupts | None" = None


class Interrupts:
    """What is known of signals; one for all of a process.

    Attributes:
      received: whether a signal has come to this process.
      asked: whether one has come to any.
      cut_short: whether an evaluation has left out batches for it.
      shared: whether other processes have to agree on where to stop; set before the first step.
    """

    def __init__(self):
        self.received = self.asked = self.cut_short = self.shared = False
        self._at_once = False
        # How often `stops` was called here, whether that stands, and the call that says yes.
        self._calls, self._frozen, self._last_call = 0, False, None
        self._changed = threading.Condition()

    @property
    def too_early(self) -> bool:
        """Whether a signal has come before the first step of this start."""
        with self._changed:
            return self.received and not self._calls

    def end_at_once(self) -> None:
        """Lets a signal before the first step end the process from here on, whatever it is in."""
        self._at_once = True
        if self.too_early:
            _end_before_first_step()

    def note(self) -> None:
        """Notes that a signal has come."""
        self.received = self.asked = True
        with self._changed:
            if self._at_once and not self._calls:
                _end_before_first_step()

    def stops(self) -> bool:
        """Says whether the run ends here.

        To be asked before the first step of a start and after each, by every process.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._frozen or self._last_call is not None)
            self._calls += 1
            if not self.shared:
                return self.received
            return self._last_call is not None and self._calls >= self._last_call

    def agree(self, service: Any, process: int, n: int) -> None:
        """Agrees, once `asked`, with the other processes on the call of `stops` that says yes.

        For a thread of every process to call now and then: it never waits for another one.

        Args:
          service: JAX's coordination client.
        """
        if self._last_call is not None:
            return
        with self._changed:
            self._frozen = True
        # Each time: an earlier try may have failed.
        service.key_value_set(f"{_CALLS}{process}", str(self._calls), allow_overwrite=True)
        calls = service.key_value_dir_get(_CALLS)
        if len(calls) == n:
            with self._changed:
                # The first that nobody has come to yet.
                self._last_call = max(int(value) for _, value in calls) + 1
                self._changed.notify_all()


@contextlib.contextmanager
def noted(*, to_the_end: bool = False) -> Iterator[Interrupts]:
    """Notes SIGTERM and SIGINT instead of obeying; a second SIGINT interrupts at once.

    Inside another one it changes nothing.

    Args:
      to_the_end: the process ends with it; signals are ignored from there on.
    """
    global _active
    if _active is not None:
        yield _active
        return
    _active = signals = Interrupts()
    restore = None
    if threading.current_thread() is threading.main_thread():  # else signals are someone else's
        restore = _listen(signals)
    try:
        yield signals
    finally:
        if restore is not None and to_the_end:
            # What has come to its end cannot stop; Python takes its own handlers away first.
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        elif restore is not None:
            restore()
        _active = None


def _listen(signals: Interrupts) -> Callable[[], None]:
    """Installs the handlers; returns what takes them away again."""

    def handle(number, frame):
        if handled and number == signal.SIGINT:
            raise KeyboardInterrupt
        handled.append(number)
        signals.received = signals.asked = True

    def hear():
        # Python calls `handle` in the main thread, which may be compiling or waiting.
        while (number := os.read(ear, 1)) and number[0]:
            if number[0] in _SIGNALS:
                signals.note()
        os.close(ear)

    handled: list[int] = []
    old = {number: signal.signal(number, handle) for number in _SIGNALS}
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    old_mouth = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    threading.Thread(target=hear, name="signbind signals", daemon=True).start()

    def restore():
        signal.set_wakeup_fd(old_mouth)
        for number, handler in old.items():
            signal.signal(number, handler)
        os.write(mouth, b"\0")
        os.close(mouth)

    return restore


def _forget() -> None:
    """Keeps a forked child from telling its parent of its own signals."""
    if _active is not None:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget)


def active() -> Interrupts | None:
    """Gives what is known of signals; None where they are not noted."""
    return _active


def until_asked(batches: Iterable) -> Iterator:
    """Gives an evaluation's batches, to its end or to a signal; `hosts.join_rows` looks which."""
    for batch in batches:
        if _active is not None and _active.asked:
            _active.cut_short = True
            return
        yield batch


def _end_before_first_step() -> NoReturn:
    print(f"signbind: {BEFORE_FIRST_STEP}", file=sys.stderr)
    end_process(interrupted_code())


def end_process(code: int) -> NoReturn:
    """Ends the process at once, from any thread; what was printed is printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
