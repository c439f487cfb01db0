"""Ends a process soon after another one has failed, died, or fallen silent.

Every process shows every second that it lives: process 0 looks at all, all look at process 0.
JAX looks too, but only to abort the others from C++ without naming anybody, so it is given more
time (`JAX_SILENCE_S`).
"""

import contextlib
import json
import socket
import sys
import threading
import time
from typing import Any, NoReturn

import jax

from signbind_jax.distributed import hosts
from signbind_jax.errors import interrupted_code
from signbind_jax.processes import interrupts

POLL_S = 1.0
JAX_SILENCE_S = 60  # beyond ours
_MOST_SILENCE_S = 100.0
_GRACE_S = 3.0  # between another's failure and our end: what failed here too is told first
_SUSPECT_S = 5.0  # of silence, where a connection has broken
_TOLD = "signbind/told/"
_FAILED, _STOP, _BEAT_0 = "failed", "stop", "beat"
_BEATS = "signbind/beat/"


def silence_s() -> float:
    """Gives the seconds without a sign of life after which a process counts as gone."""
    return min(hosts.timeout_s, _MOST_SILENCE_S)


def name(process: int | None = None) -> str:
    """Names a process in messages; default: this one."""
    process = jax.process_index() if process is None else process
    return f"process {process} of {jax.process_count()}"


class Watch:
    """Two threads: one talks through JAX's service and may hang there, one watches the clock.

    Args:
      lost: set once the connection to process 0 has ended.
    """

    def __init__(self, lost: threading.Event):
        self._service: Any = hosts.client()
        self._process, self._n = jax.process_index(), jax.process_count()
        self._stopped, self._suspecting = threading.Event(), threading.Event()
        self._lost = lost
        self._ending = threading.Lock()
        self._told: dict[str, str] = {}
        self._beats: dict[int, list] = {}  # by process: a number that grows, its host
        self._threads = [
            threading.Thread(target=run, name="signbind watch", daemon=True)
            for run in (self._talk, self._look)
        ]

    def start(self) -> None:
        """Starts watching: from here on this process may end at any time."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops watching: no end from here on."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(2 * POLL_S)  # `_talk` may hang

    def suspect(self) -> None:
        """Returns only if every process lives: after a connection between two has broken."""
        self._suspecting.set()
        time.sleep(_SUSPECT_S + _GRACE_S + 3 * POLL_S)

    def end(self, code: int, line: str, tell: str = "") -> NoReturn:
        """Prints the one line of this process, tells the others what they print, and ends."""
        self._ending.acquire()  # for good: the first thread to come here ends the process
        print(f"signbind: {name()}: {line}", file=sys.stderr)
        sys.stderr.flush()
        if tell:
            # It may hang where process 0 does.
            teller = threading.Thread(target=self._tell, args=(code, tell), daemon=True)
            teller.start()
            teller.join(3 * POLL_S)
            if self._process == 0:
                time.sleep(2 * POLL_S)  # the others ask this process
        interrupts.end_process(code)

    def _tell(self, code: int, line: str) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # another told before
            self._service.key_value_set(_TOLD + _FAILED, json.dumps([code, line]))

    def _talk(self) -> None:
        n = 0
        while not self._stopped.wait(POLL_S):
            n += 1
            beat = json.dumps([n, socket.gethostname()])
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # `_look` sees the silence
                self._exchange(beat)
                self._pass_signals_on()

    def _exchange(self, beat: str) -> None:
        own = _TOLD + _BEAT_0 if self._process == 0 else f"{_BEATS}{self._process}"
        self._service.key_value_set(own, beat, allow_overwrite=True)
        told = self._service.key_value_dir_get(_TOLD)
        self._told = {key.removeprefix(_TOLD): value for key, value in told}
        beats = {}
        if self._process == 0 or self._suspecting.is_set():  # else it were n² a second
            for key, value in self._service.key_value_dir_get(_BEATS):
                beats[int(key.removeprefix(_BEATS))] = json.loads(value)
        if _BEAT_0 in self._told:
            beats[0] = json.loads(self._told[_BEAT_0])
        self._beats = beats

    def _pass_signals_on(self) -> None:
        signals = interrupts.active()
        if signals is None:
            return
        if signals.too_early:
            line = interrupts.BEFORE_FIRST_STEP
            self.end(interrupted_code(), line, tell=line)
        if signals.received and _STOP not in self._told:
            self._service.key_value_set(_TOLD + _STOP, str(self._process), allow_overwrite=True)
        if _STOP in self._told:
            signals.asked = True
            signals.agree(self._service, self._process, self._n)

    def _look(self) -> None:
        seen: dict[int, Any] = {}
        # Counted, not timed: a process that was stopped itself must not blame the others.
        silent = dict.fromkeys(range(self._n), 0)
        suspecting = False
        while not self._stopped.wait(POLL_S):
            if self._suspecting.is_set() and not suspecting:
                # Of most processes only process 0 has looked for signs of life until now.
                suspecting, silent = True, dict.fromkeys(silent, 0)
            beats = self._beats
            for i in silent:
                alive = i in beats and beats[i] != seen.get(i)
                silent[i] = 0 if alive else silent[i] + 1
                seen[i] = beats.get(i)
            self._judge({i: silent[i] * POLL_S for i in silent if i != self._process})

    def _judge(self, silent: dict[int, float]) -> None:
        if _FAILED in self._told:
            code, line = json.loads(self._told[_FAILED])
            if not self._stopped.wait(0 if code == interrupted_code() else _GRACE_S):
                self.end(code, line)
        if self._lost.is_set():
            # What it told before it went may just have come.
            if not self._stopped.wait(_GRACE_S) and _FAILED not in self._told:
                self.end(
                    1, f"{self._named(0)} has ended without a word, or the connection to it has"
                )
            return
        suspecting = self._suspecting.is_set()
        limit = _SUSPECT_S if suspecting else silence_s()
        watched = silent if suspecting or self._process == 0 else {0: silent[0]}
        late = [i for i, seconds in watched.items() if seconds > limit]
        if late:
            more = f" and {len(late) - 1} more" if len(late) > 1 else ""
            line = (
                f"{self._named(late[0])}{more} gave no sign of life for {limit:g} s "
                "(killed, stopped, or cut off); see its log"
            )
            self.end(1, line, tell=line)

    def _named(self, process: int) -> str:
        host = f" on {self._beats[process][1]}" if process in self._beats else ""
        return f"{name(process)}{host}"
