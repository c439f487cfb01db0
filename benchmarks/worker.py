"""Processes that run tasks on demand, so that two programs can be timed turn by turn."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def use_cores(n: int) -> int:
    """Keeps this process to n of the processors it may run on (0: all); gives their number.

    Threads that run already stay where they are.
    """
    usable = sorted(os.sched_getaffinity(0))
    chosen = usable[:n] if n else usable
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def serve(tasks: Mapping[str, Callable]) -> None:
    """Runs the task named by each line of standard input and answers with one line of JSON.

    A task returns what is to be compared with the other program (anything JSON can hold).
    Whatever else is printed goes to standard error.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        start = time.perf_counter()
        result = tasks[line.strip()]()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "result": result}), file=answers, flush=True)


class Worker:
    """A process that serves tasks; use it as a context manager."""

    def __init__(self, python: str, module: str, *arguments: str, environment: Mapping[str, str]):
        command = [python, "-m", module, *arguments]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()

    def run(self, task: str) -> tuple[float, object]:
        """Seconds and result of one run."""
        self._process.stdin.write(task + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmark: task {task}: its process ended without an answer")
        answer = json.loads(line)
        return answer["seconds"], answer["result"]
