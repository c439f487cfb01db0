"""Damaged and hostile inputs to every reader: within limits, in one line, nothing half-written.

`pytest tests/faults/test_fuzz.py --fuzz_inputs=44` tries 44 inputs a reader instead of a few,
`--fuzz_seed=N` others, and `--fuzz_keep=DIR` keeps those that show a fault.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.faults.fuzz.readers import READERS


class Worker:
    """The process that tries inputs (`tests.faults.fuzz.worker`)."""

    def __init__(self, options: list[str]):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fuzz.worker", *options],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
        )

    def ask(self, *request) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the worker died of {request}: python -m tests.faults.fuzz.worker"
        return json.loads(answer)


@pytest.fixture(scope="module")
def worker(request):
    keep = request.config.getoption("--fuzz_keep")
    found = Worker([f"--keep={keep}"] if keep else [])
    yield found
    found.process.stdin.close()
    found.process.wait(300)


@pytest.mark.parametrize("reader", READERS)
def test_damage_ends_in_one_line_within_limits(reader, worker, request, record_property):
    n, seed = (request.config.getoption(f"--fuzz_{name}") for name in ("inputs", "seed"))
    answer = worker.ask(reader, seed, 0, max(1, round(n * READERS[reader].share)))
    assert "error" not in answer, answer["error"]
    faults = answer["faults"]
    record_property("fuzz", (answer["tried"], len({number for number, *_ in faults})))
    told = [f"  input {number} ({harm}): {fault}" for number, harm, fault in faults]
    again = f"{reader}: --fuzz_seed={seed} --fuzz_inputs={n} --fuzz_keep=DIR keeps its inputs"
    assert not told, "\n".join([again, *told])
