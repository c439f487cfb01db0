"""Signals are noted, agreed on among processes, and obeyed where nothing is lost."""

import os
import signal
import subprocess
import sys

import pytest

from signbind_jax.distributed import hosts
from signbind_jax.errors import Interrupted
from signbind_jax.processes import interrupts


class Store:
    """The part of JAX's key-value store that an agreement needs."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite):
        self.values[key] = value

    def key_value_dir_get(self, prefix):
        return [item for item in self.values.items() if item[0].startswith(prefix)]


@pytest.mark.parametrize("calls", [[0, 0], [3, 2, 5, 4], [0, 1]])
def test_all_processes_stop_at_one_call_that_none_has_passed(calls):
    store, processes = Store(), [interrupts.Interrupts() for _ in calls]
    for process, n in zip(processes, calls, strict=True):
        process.shared = True
        assert not any(process.stops() for _ in range(n))
    for _ in range(2):
        for i, process in enumerate(processes):
            process.agree(store, i, len(processes))
    stopped_at = []
    for process, n in zip(processes, calls, strict=True):
        while not process.stops():
            n += 1
        stopped_at.append(n + 1)
    assert stopped_at == [max(calls) + 1] * len(calls)


def test_an_evaluation_ends_at_a_signal_between_two_batches():
    with interrupts.noted() as signals:
        seen = []
        for batch in interrupts.until_asked(range(9)):
            seen.append(batch)
            if batch == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [0, 1, 2] and signals.received
        with pytest.raises(Interrupted, match="reading: stopped by a signal"):
            hosts.join_rows("reading", {0: "a"})
    assert list(interrupts.until_asked(range(9))) == list(range(9))
    assert hosts.join_rows("reading", {0: "a"}) == {0: "a"}


def test_a_second_ctrl_c_interrupts_and_handlers_are_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt), interrupts.noted():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


IN_THE_MIDDLE = """
import hashlib, os, signal, time
from signbind_jax.processes import interrupts

with interrupts.noted() as signals:
    ear, mouth = os.pipe()
    child = os.fork()
    if not child:
        os.write(mouth, b"x")
        time.sleep(600)
    os.read(ear, 1)
    os.kill(child, signal.SIGTERM)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), signals.received, flush=True)
    signals.end_at_once()
    os.kill(os.getpid(), signal.SIGTERM)
    # Python runs no handler before this returns.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def test_a_busy_main_thread_does_not_delay_the_end_and_a_forked_child_ends_alone():
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_MIDDLE],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"SIGNBIND_INTERRUPTED_CODE": "75"},
    )
    assert done.stdout == f"{int(signal.SIGTERM)} False\n"
    assert done.returncode == 75, done.stderr
    assert done.stderr == f"signbind: {interrupts.BEFORE_FIRST_STEP}\n"


AT_THE_END = """
import atexit, os, signal
from signbind_jax.processes import interrupts

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

with interrupts.noted(to_the_end=True):
    last = Last()
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
"""


def test_a_signal_after_the_end_changes_nothing():
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
