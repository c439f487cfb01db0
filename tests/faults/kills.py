"""Training runs killed at random moments, each compared with one that was never disturbed.

python -m tests.faults.kills [--runs=50] [--workdir=DIR] [--seed=0]

A tiny language model is trained on a synthetic dataset, on one process and on two, with SIGKILL,
SIGTERM or SIGTERM twice to one of them: in start-up, in compilation, in a step, while a checkpoint
is written, in an evaluation. Some are killed a second time. The same command then goes on to the
end, and every array of the last checkpoint has to be that of the undisturbed run, bit for bit.
A run that got SIGTERM has to end with the code of an interruption, or with 0 where it was
through. Ends with status 1 unless all of that held.
"""

import argparse
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax import cli
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from signbind_jax.errors import INTERRUPTED, INTERRUPTED_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 24, 8
HOST_TIMEOUT_S = 20  # where a process is killed, so that the others do not wait longer
LATEST_S = 300.0  # for a start to end
AGAIN = 0.3  # of the runs are killed twice
KILLS = {
    "SIGKILL": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGTERM twice": (signal.SIGTERM, signal.SIGTERM),
}
PHASES = ("start-up", "compilation", "step", "save", "evaluation")


@dataclass(frozen=True)
class Run:
    """One training run: its processes, started together, one start after the other."""

    data: Path
    workdir: Path
    n_processes: int

    def start(self, *flags: str, fresh_programs: bool = False) -> list[subprocess.Popen]:
        """All processes; what they print goes into files beside the run."""
        command = [
            sys.executable,
            "-m",
            "signbind_jax.cli",
            "train",
            "--config=language_model:size=tiny",
            f"--workdir={self.workdir}",
            f"--config.data.directory={self.data}",
            "--config.data.batch_multiple=4",
            f"--config.steps={STEPS}",
            "--config.log_every=1",
            f"--config.checkpoint_every={EVERY}",
            f"--config.evaluate_every={EVERY - 2}",
        ]
        env = os.environ | {"JAX_PLATFORMS": "cpu", INTERRUPTED_VARIABLE: str(INTERRUPTED)}
        if fresh_programs:
            env["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        if self.n_processes > 1:
            command += [
                f"--coordinator=127.0.0.1:{_free_port()}",
                f"--num_processes={self.n_processes}",
                *flags,
            ]
        self.workdir.mkdir(parents=True, exist_ok=True)
        processes = []
        for i in range(self.n_processes):
            own = [f"--process_id={i}"] if self.n_processes > 1 else []
            with self.said(i).open("w") as file:
                processes.append(
                    subprocess.Popen(
                        [*command, *own], cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT
                    )
                )
        return processes

    def said(self, process: int = 0) -> Path:
        """What a process of the last start printed."""
        return self.workdir.with_name(f"{self.workdir.name}.{process}.txt")

    def finish(self) -> list[int]:
        """Runs to the end; the exit codes."""
        return _wait(self.start())

    def arrays(self) -> dict[str, tuple]:
        """The arrays of the last checkpoint by path, as (step, type, shape, bytes)."""
        checkpoints = CheckpointDir(str(self.workdir / "checkpoints"))
        step = checkpoints.latest()
        target: dict = {}
        for path, told in checkpoints.read_manifest(step).arrays.items():
            dtype, sides = re.fullmatch(r"(\w+)\[([\d,]*)\]", told.split()[0]).groups()
            *parents, name = path.split("/")
            place = target
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = np.empty([int(n) for n in sides.split(",") if n], dtype)
        found = checkpoints.restore(step, target)
        return {
            path: (step, str(x.dtype), x.shape, np.asarray(x).tobytes())
            for path, x in _leaves(found)
        }


def _leaves(tree: dict, path: str = ""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}/")
        else:
            yield path + name, value


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait(processes: list[subprocess.Popen]) -> list[int]:
    """The exit codes; of one that does not end, that of SIGKILL."""
    deadline = time.monotonic() + LATEST_S
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return [process.returncode for process in processes]


def _notes_signals(process: subprocess.Popen) -> bool:
    """Whether Python has come to the program's first line; before it SIGTERM ends Python."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def moment(
    run: Run, processes: list[subprocess.Popen], phase: str, chance: random.Random
) -> tuple[Callable[[], bool], float]:
    """When a phase has begun, and a random number of seconds to go on into it."""
    checkpoints, log = run.workdir / "checkpoints", run.workdir / "metrics.jsonl"

    def lines() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def written() -> int:
        artefact = run.workdir / "artefact.json"
        return artefact.stat().st_mtime_ns if artefact.exists() else 0

    before = written()  # every start writes it again, and compiles next

    def compiling() -> bool:
        return written() != before

    if phase == "start-up":
        return (lambda: all(map(_notes_signals, processes))), chance.uniform(0, 4)
    if phase == "compilation":
        return compiling, chance.uniform(0, 1.5)
    if phase == "step":
        wanted = lines() + chance.randrange(1, STEPS)
        return (lambda: lines() >= wanted), chance.uniform(0, 0.1)
    if phase == "save":
        return (lambda: any(checkpoints.glob("step_*/state.partial"))), chance.uniform(0, 0.1)
    last = checkpoints / f"step_{STEPS:08d}" / "manifest.json"
    return last.exists, chance.uniform(0, 1)


def kill(run: Run, phase: str, signals: tuple[int, ...], chance: random.Random) -> list[int]:
    """Starts a run and sends signals to one of its processes; the exit codes of all."""
    processes = run.start(f"--host_timeout={HOST_TIMEOUT_S}", fresh_programs=phase == "compilation")
    begun, more_s = moment(run, processes, phase, chance)
    while not begun() and all(process.poll() is None for process in processes):
        time.sleep(0.005)
    time.sleep(more_s)
    to = chance.choice(processes)
    for i, number in enumerate(signals):
        if i:
            time.sleep(chance.uniform(0, 1))
        to.send_signal(number)
    return _wait(processes)


def ended_well(signals: tuple[int, ...], codes: list[int]) -> bool:
    """Whether processes ended as they should: the one that was hit, and the others."""
    if signal.SIGKILL in signals:
        return all(code in (0, 1, -signal.SIGKILL) for code in codes)
    return set(codes) in ({0}, {INTERRUPTED})


def main() -> int:
    """Kills, goes on, compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--workdir", type=Path, help="a new directory (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workdir = arguments.workdir or Path(tempfile.mkdtemp(prefix="kills_"))
    workdir.mkdir(parents=True, exist_ok=True)
    data = workdir / "data"
    built = cli.main(
        [
            "data",
            "build",
            "synthetic",
            f"--out={data}",
            "--train=48",
            "--validation=8",
            "--test=8",
            "--time_split=8",
        ]
    )
    if built:
        return built
    wanted = {}
    for n in (1, 2):
        run = Run(data, workdir / f"undisturbed_{n}", n)
        if any(run.finish()):
            raise RuntimeError(f"{run.said()}: the undisturbed run failed")
        wanted[n] = run.arrays()
    cases = list(itertools.product(PHASES, KILLS, (1, 2)))
    random.Random(arguments.seed).shuffle(cases)
    exact, wrong = 0, 0
    for i in range(arguments.runs):
        phase, name, n = cases[i % len(cases)]
        chance = random.Random(f"{arguments.seed} {i}")
        run = Run(data, workdir / f"run_{i:03d}", n)
        told, well = [], True
        for again in range(1 + (chance.random() < AGAIN)):
            if again:
                phase, name = chance.choice(PHASES), chance.choice(list(KILLS))
            codes = kill(run, phase, KILLS[name], chance)
            well = well and ended_well(KILLS[name], codes)
            told.append(f"{name} in {phase} ended {codes}")
        finished = run.finish()
        same = finished == [0] * n and run.arrays() == wanted[n]
        exact, wrong = exact + same, wrong + (not well)
        verdict = "bit-exact" if same else f"DIFFERENT, ended {finished}"
        print(
            f"{i + 1}: {n} process{'es' * (n > 1)}, {', then '.join(told)}: {verdict}"
            f"{'' if well else ', ENDED WRONGLY'}",
            flush=True,
        )
        if same and well:
            shutil.rmtree(run.workdir)
    ended = f", {wrong} ended wrongly" if wrong else ""
    print(f"{arguments.runs} kills, {exact} bit-exact, {arguments.runs - exact} different{ended}")
    return int(exact != arguments.runs or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
