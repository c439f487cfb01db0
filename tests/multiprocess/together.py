"""Processes of one run, started together and never left behind."""

import concurrent.futures
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.conftest import ROOT, simulated


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


def free_port() -> str:
    """A port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(arguments: Sequence, n_devices: int = 1, env: dict | None = None) -> subprocess.Popen:
    """`python ARGUMENTS...` as the tests' processes run it, with so many simulated devices."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=simulated(n_devices) | (env or {}),
    )


def wait_for(processes: Sequence[subprocess.Popen], timeout_s: float = 300) -> list[Ended]:
    """How each process ended; what has not ended in time is killed, and the test fails."""
    # All at once: one that waits for its pipe to be read would keep the others waiting.
    with ThreadPoolExecutor(len(processes)) as pool:
        reading = [pool.submit(process.communicate) for process in processes]
        try:
            concurrent.futures.wait(reading, timeout_s)
        finally:
            late = [i for i, process in enumerate(processes) if process.poll() is None]
            for process in processes:
                process.kill()
        ended = [Ended(p.returncode, *r.result()) for p, r in zip(processes, reading)]
    assert not late, f"{late} had not ended after {timeout_s:g} s\n{told_by(ended)}"
    return ended


def told_by(ended: Sequence[Ended]) -> str:
    """What all of them said, for the failure of a test."""
    return "\n---\n".join(f"exit code {e.code}\n{e.out[-1500:]}\n{e.err[-3000:]}" for e in ended)


def run_together(commands: Sequence[Sequence], timeout_s: float = 300) -> list[Ended]:
    """Runs `python ARGUMENTS...` for each command at the same time."""
    return wait_for([start(command) for command in commands], timeout_s)


def signbind_commands(n: int, *arguments, module: str = "signbind_jax.cli") -> list[list]:
    """The arguments of `python` for each of n processes of one `signbind` command.

    module: what to run in place of `signbind`, with the same flags.
    """
    if n == 1:
        return [["-m", module, *arguments]]
    flags = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={n}"]
    return [["-m", module, *arguments, *flags, f"--process_id={i}"] for i in range(n)]


def check_ended_well(ended: Sequence[Ended]) -> None:
    """Fails with what all of them said."""
    assert [e.code for e in ended] == [0] * len(ended), told_by(ended)
