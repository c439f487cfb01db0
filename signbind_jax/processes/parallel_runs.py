"""Independent training runs side by side, each in its own process on its own share of cores."""

import concurrent.futures
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from signbind_jax import streams
from signbind_jax.errors import SignBindError
from signbind_jax.processes import child, xla_cpu


def usable_cores() -> list[int]:
    """Lists the processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_all(
    commands: Mapping[str, Sequence[str]],
    log_dir: Path,
    after: Mapping[str, Sequence[str]] | None = None,
    finished: Callable[[str], bool] = lambda name: True,
    module: str = "signbind_jax.cli",
) -> None:
    """Runs `signbind` commands, as many at a time as there are cores, in the order given as far as
    they need not wait.

    What a run prints goes to `log_dir/<name>.log`; its lines about a stage go to the terminal
    too, after the run's name where that is not the stage's.

    Args:
      after: run -> those before it in the order that it has to wait for; what is no run here is
        done. It does not start where one of them failed or was not `finished`.
      module: see `start`.

    Raises:
      SignBindError: a run failed; its last line says why. Runs under way are finished.
    """
    cores = usable_cores()
    n = min(len(commands), len(cores))
    shares = [cores[i::n] for i in range(n)]
    log_dir.mkdir(parents=True, exist_ok=True)
    waits_for = {name: commands.keys() & (after or {}).get(name, ()) for name in commands}
    ended: dict[str, tuple[int | None, str]] = {}  # exit code, last line
    running: dict[concurrent.futures.Future, tuple[str, list[int]]] = {}
    left = list(commands)

    with concurrent.futures.ThreadPoolExecutor(max(n, 1)) as pool:
        while left or running:
            # What waits for another run does not hold a share that a later run could have.
            for name in [name for name in left if ended.keys() >= waits_for[name]]:
                if not all(ended[one][0] == 0 and finished(one) for one in waits_for[name]):
                    ended[name] = (None, "not started")
                elif shares:
                    share = shares.pop()
                    run = pool.submit(_run_one, name, commands[name], share, log_dir, module)
                    running[run] = name, share
                else:
                    break
                left.remove(name)
            for run in concurrent.futures.wait(running, return_when="FIRST_COMPLETED").done:
                name, share = running.pop(run)
                ended[name] = run.result()
                shares.append(share)
    for name in commands:
        code, last = ended[name]
        if code:
            raise SignBindError(
                f"{name}: {last.removeprefix('signbind: error: ')} "
                f"(exit code {code}; all of it: {log_dir / name}.log)"
            )


def start(
    arguments: Sequence[str], share: Sequence[int], module: str = "signbind_jax.cli", **streams
) -> subprocess.Popen:
    """Starts `signbind` with `arguments` as a process of its own on the cores of `share`.

    Args:
      module: what is run; by default the command itself.
      **streams: of `subprocess.Popen`, such as stdout.
    """
    flags = [xla_cpu.ONE_CORE_FLAG] if len(share) == 1 else []
    command, environment = child.python(module, *arguments)
    own = {"XLA_FLAGS": child.xla_flags(*flags), "PYTHONUNBUFFERED": "1"}
    environment = xla_cpu.ALLOCATOR | environment | own
    process = subprocess.Popen(command, env=environment, **streams)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, share)
    return process


def _run_one(name, arguments, share, log_dir, module) -> tuple[int, str]:
    # Standard input tells those that listen to it when this process is gone.
    pipe = subprocess.PIPE
    piped = {"stdin": pipe, "stdout": pipe, "stderr": subprocess.STDOUT, "text": True}
    process = start(arguments, share, module, **piped)
    last, stage_lines = "", tuple(f"{stage}: " for stage in streams.stages())
    with (log_dir / f"{name}.log").open("w", encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            log.flush()
            last = line.strip() or last
            if last.startswith(stage_lines):
                print(last if last.startswith(f"{name}: ") else f"{name}: {last}", flush=True)
    return process.wait(), last


class MemoryMeter:
    """The most memory this process and all it started held at one moment, sampled."""

    def __init__(self, every_s: float = 0.5):
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._every_s = every_s
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryMeter":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._stop.is_set():
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # ended between listing and asking
                    continue
            self.peak_bytes = max(self.peak_bytes, total)
            self._stop.wait(self._every_s)
