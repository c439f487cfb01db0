"""A signal ends a run well wherever it comes, and the same command goes on from there."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from signbind_jax import cli
from tests.multiprocess.together import Ended, signbind_commands, start, told_by, wait_for

INTERRUPTED = 75
STEPS = 12


class Run:
    """`signbind train` of a tiny model in one directory, one start after the other."""

    def __init__(self, data: Path, directory: Path):
        self.workdir, self.directory = directory / "run", directory
        self.arguments = [
            "train",
            "--config=language_model:size=tiny",
            f"--workdir={self.workdir}",
            f"--config.data.directory={data}",
            "--config.data.batch_multiple=4",
            "--config.log_every=1",
            "--config.checkpoint_every=100",
            "--config.evaluate_every=4",
            f"--config.steps={STEPS}",
        ]
        self.starts = 0

    def start(self, n_processes: int, hold: str = "") -> tuple[list[subprocess.Popen], Path]:
        self.starts += 1
        marks = self.directory / f"marks_{self.starts}"
        marks.mkdir()
        env = {"SIGNBIND_INTERRUPTED_CODE": str(INTERRUPTED), "MARKS": str(marks)}
        commands = signbind_commands(
            n_processes, *self.arguments, module="tests.multiprocess.held_signbind"
        )
        return [start(c, env=env | ({"HOLD": hold} if hold else {})) for c in commands], marks

    def signal_at(self, place: str, number: int, n_processes: int = 1, to: int = 0) -> list[Ended]:
        """Sends a signal to a process once all are at a place."""
        processes, marks = self.start(n_processes, place)
        deadline = time.monotonic() + 200
        while len(list(marks.glob("came_*"))) < n_processes and time.monotonic() < deadline:
            if any(process.poll() is not None for process in processes):
                break  # what they said is told where their end is looked at
            time.sleep(0.02)
        processes[to].send_signal(number)
        ended = wait_for(processes)
        assert [e.code for e in ended] == [INTERRUPTED] * n_processes, told_by(ended)
        return ended

    def finish(self) -> None:
        """Runs to the end, in this process."""
        assert cli.main(self.arguments) == 0

    def saved(self) -> list[int]:
        """The steps of complete checkpoints."""
        manifests = self.workdir.glob("checkpoints/step_*/manifest.json")
        return sorted(int(p.parent.name.removeprefix("step_")) for p in manifests)

    def steps(self, kind: str) -> list[int]:
        """The steps of such records in the log."""
        lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
        return [r["step"] for r in map(json.loads, lines) if r["kind"] == kind]


def pytest_generate_tests(metafunc):
    if "n_processes" in metafunc.fixturenames:
        every = metafunc.config.getoption("--every_stage")
        metafunc.parametrize("n_processes", [2, 4] if every else [2])


@pytest.fixture
def run(synthetic, tmp_path) -> Run:
    return Run(synthetic, tmp_path)


def test_one_process_before_its_first_step_and_in_an_evaluation(run, capsys):
    (ended,) = run.signal_at("compile", signal.SIGTERM)
    assert "stopped by a signal before the first step" in ended.err
    assert run.saved() == []
    (ended,) = run.signal_at("evaluation", signal.SIGTERM)
    assert "stopped by a signal at step 4, saved" in ended.out
    assert run.saved() == [4] and run.steps("validation") == []
    run.finish()
    assert "resumed at step 4" in capsys.readouterr().out
    assert run.steps("train") == list(range(1, STEPS + 1))
    assert run.steps("validation") == [4, 8, STEPS]


def test_several_processes_in_the_loop_before_it_and_after_it(run, n_processes, capsys):
    last = n_processes - 1
    ended = run.signal_at("step:2", signal.SIGTERM, n_processes, last)
    (stopped,) = run.saved()
    assert 0 < stopped < STEPS
    assert f"stopped by a signal at step {stopped}, saved" in ended[0].out
    # Resumed, and deaf neither while it compiles nor in the last evaluation.
    ended = run.signal_at("compile", signal.SIGTERM, n_processes, last)
    assert all("stopped by a signal before the first step" in e.err for e in ended)
    assert run.saved() == [stopped]
    n_evaluations = len([i for i in (4, 8, STEPS) if i > stopped])
    owed = stopped in (4, 8)
    ended = run.signal_at(f"evaluation:{n_evaluations + owed}", signal.SIGINT, n_processes)
    assert run.saved() == [stopped, STEPS]
    assert STEPS not in run.steps("validation")
    run.finish()
    assert f"resumed at step {STEPS}" in capsys.readouterr().out
    assert run.steps("train") == list(range(1, STEPS + 1))
    assert run.steps("validation") == [4, 8, STEPS]
