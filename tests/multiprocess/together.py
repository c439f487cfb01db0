"""Processes of one run, started together and never left behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.conftest import ROOT

# Little programs on few cores: what is compiled once runs a handful of steps.
_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"


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


def start(arguments: Sequence) -> subprocess.Popen:
    """`python ARGUMENTS...` as the tests' processes run it."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": _FLAGS},
    )  # fmt: skip


def wait_for(processes: Sequence[subprocess.Popen], timeout_s: float = 300) -> list[Ended]:
    """How each process ended; what has not ended in time is killed, and the test fails."""
    try:
        said = [process.communicate(timeout=timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Ended(process.returncode, *texts) for process, texts in zip(processes, said)]


def run_together(commands: Sequence[Sequence], timeout_s: float = 300) -> list[Ended]:
    """Runs `python ARGUMENTS...` for each command at the same time."""
    return wait_for([start(command) for command in commands], timeout_s)


def signbind_commands(n: int, *arguments) -> list[list]:
    """The arguments of `python` for each of n processes of one `signbind` command."""
    flags = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={n}"]
    return [["-m", "signbind_jax.cli", *arguments, *flags, f"--process_id={i}"] for i in range(n)]


def check_ended_well(ended: Sequence[Ended]) -> None:
    """Fails with what all of them said."""
    assert [e.code for e in ended] == [0] * len(ended), "\n---\n".join(
        f"exit code {e.code}\n{e.out[-1500:]}\n{e.err[-3000:]}" for e in ended
    )
