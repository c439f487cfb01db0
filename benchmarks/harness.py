"""What benchmarks share: processes that take turns, peak memory, the machine.

The PyTorch sides import it too: JAX and this library are imported by what needs them.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
Result = TypeVar("Result")


def make_parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose --help shows a module's docstring as it stands."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def describe_machine(cores: int = 0) -> str:
    """The device, the cores in use (0: all that this process may use), and the load."""
    import jax

    cores = cores or len(os.sched_getaffinity(0))
    return f"{jax.devices()[0].device_kind}, {cores} cores, load {os.getloadavg()[0]:.1f}"


def use_cores(n: int) -> int:
    """Keeps this process to n of the processors it may run on (0: all); gives their number.

    Threads that run already stay where they are.
    """
    usable = sorted(os.sched_getaffinity(0))
    chosen = usable[:n] if n else usable
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def take_turns(
    sides: Mapping[str, Callable[[], Result]], runs: int, warm: int = 1
) -> dict[str, list[Result]]:
    """What every side gives in each run; they take turns, so that what else the machine does
    hits all alike. The first `warm` runs are not kept."""
    results: dict[str, list[Result]] = {name: [] for name in sides}
    for run in range(warm + runs):
        for name, side in sides.items():
            result = side()
            if run >= warm:
                results[name].append(result)
    return results


def run_alone(module: str, *arguments: str, python: str = sys.executable, **environment: str):
    """Runs a module of this folder in a fresh process; the JSON of the last line it prints."""
    done = subprocess.run(
        [python, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


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
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
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


class Peak:
    """Peak resident memory of this process, and of its accelerator where there is one.

    Args:
      stats: gives the accelerator's {"peak_bytes_in_use"}, or None where memory is the host's.
    """

    def __init__(self, stats: Callable[[], dict | None] = lambda: None):
        self._stats = stats

    def forget(self) -> None:
        """Sets the process's peak to what it holds now (Linux; the accelerator's stays).

        What compilation freed is given back first: it is no part of a step.
        """
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")

    def read(self) -> dict[str, float]:
        """Peak MiB: `resident` (getrusage would count the parent too) and, on an accelerator,
        `device`."""
        lines = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        peak = {"resident": int(fields["VmHWM"].split()[0]) / 2**10}
        stats = self._stats()
        if stats:
            peak["device"] = stats["peak_bytes_in_use"] / 2**20
        return peak


def read_decoder(directory: Path | str):
    """The decoder of a Hugging Face directory, in float32."""
    from flax import nnx

    from signbind_jax.distributed import sharding
    from signbind_jax.hf.families import read_config
    from signbind_jax.hf.weights import open_checkpoint, read_params
    from signbind_jax.models.llm.decoder import Decoder

    config = read_config(Path(directory))
    params = read_params(config, open_checkpoint(directory), sharding.make_mesh())
    return nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))), params)
