"""Signals that ask a run to stop: it finishes the step in flight, saves, and ends well."""

import os
import signal

import jax
from jax.experimental import multihost_utils


class Interrupts:
    """Notes SIGTERM and SIGINT instead of dying; a second SIGINT interrupts at once.

    On several processes one signal to any of them stops all at one step: JAX's preemption
    service, which catches SIGTERM itself, picks the step after the last that any has begun.
    """

    def __enter__(self) -> "Interrupts":
        self._several = jax.process_count() > 1
        self._received = 0
        self._old = {}
        numbers = (signal.SIGINT,) if self._several else (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            try:
                self._old[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals are someone else's
                pass
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def stops(self, step: int) -> bool:
        """Whether the run ends after `step` steps; to be asked once for each, by every process."""
        if self._several:
            return multihost_utils.reached_preemption_sync_point(step)
        return bool(self._received)

    def _note(self, number, frame):
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)
