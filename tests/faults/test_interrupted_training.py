"""An interrupted run, taken up again, is the run that was never stopped; on several processes
one signal stops all at one step, and any number of processes goes on from there."""

import itertools
import json
import signal
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.multiprocess.together import Ended, check_ended_well, signbind_commands, start, wait_for

STEPS, SAVE_EVERY = 30, 10  # epochs have three steps: what goes on does so within one


class Runs:
    """`signbind train` on so many processes, one start after the other in one directory."""

    def __init__(self, config: str, data, workdir, n_buckets: int = 1):
        self.workdir = workdir
        self.drawn: list[list[int]] = []  # the clips of each step, whole batches
        self.arguments = [
            "train",
            f"--config={config}:size=tiny",
            f"--workdir={workdir}",
            f"--config.data.directory={data}",
            "--config.data.validation=",
            "--config.data.batch_multiple=4",
            f"--config.data.n_buckets={n_buckets}",
            "--config.log_every=1",
            f"--config.checkpoint_every={SAVE_EVERY}",
            f"--config.steps={STEPS}",
        ]
        workdir.mkdir()

    def go_on(self, n_processes: int = 1) -> list[Ended]:
        """Runs to the end."""
        return self._run(n_processes, {}, lambda processes: None)

    def stop(
        self, number: int, step: int, n_processes: int = 1, to: int = 0, saved: int = 0
    ) -> list[Ended]:
        """Sends a signal to one of the processes when each is about to draw the batch of this
        step since its start and the checkpoint of step `saved` is complete."""
        marks = self.workdir / f"marks_{len(self.drawn)}"
        marks.mkdir()

        def interrupt(processes):
            deadline = time.monotonic() + 200
            while len(list(marks.glob("came_*"))) < n_processes or self.saved() < saved:
                if any(p.poll() is not None for p in processes) or time.monotonic() > deadline:
                    return  # what they said is told where their end is looked at
                time.sleep(0.02)
            processes[to].send_signal(number)

        return self._run(n_processes, {"HOLD": f"step:{step}", "MARKS": str(marks)}, interrupt)

    def _run(self, n_processes: int, env: dict[str, str], interrupt: Callable[[Sequence], None]):
        commands = signbind_commands(
            n_processes, *self.arguments, module="tests.multiprocess.recorded_signbind"
        )
        files = [self.workdir / f"drawn_{len(self.drawn)}_{i}" for i in range(n_processes)]
        processes = [
            start(command, env={"DRAWN": str(file)} | env)
            for command, file in zip(commands, files, strict=True)
        ]
        interrupt(processes)
        ended = wait_for(processes)
        if all(e.code == 0 for e in ended):
            rows = [list(map(json.loads, file.read_text().splitlines())) for file in files]
            # Every process drew as often: the rows of a step together are its batch.
            self.drawn += [list(itertools.chain(*parts)) for parts in zip(*rows, strict=True)]
        return ended

    def losses(self) -> dict[int, float]:
        """By step."""
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        records = [json.loads(line) for line in lines if line.endswith("}")]
        return {r["step"]: r["loss"] for r in records if r["kind"] == "train"}

    def saved(self) -> int:
        """The newest complete checkpoint's step; 0: none."""
        manifests = self.workdir.glob("checkpoints/step_*/manifest.json")
        return max((int(p.parent.name.removeprefix("step_")) for p in manifests), default=0)


def uninterrupted(*arguments) -> Runs:
    runs = Runs(*arguments)
    check_ended_well(runs.go_on())
    assert sorted(runs.losses()) == list(range(1, STEPS + 1))
    assert len(runs.drawn) == STEPS
    return runs


@pytest.fixture(scope="module")
def whole(synthetic, tmp_path_factory):
    """A language model, whose programs compile fastest, with batches of three shapes."""
    return uninterrupted("language_model", synthetic, tmp_path_factory.mktemp("whole") / "run", 3)


def test_after_sigterm_losses_are_the_same_bits(synthetic, tmp_path):
    wanted = uninterrupted("signing", synthetic, tmp_path / "whole")
    runs = Runs("signing", synthetic, tmp_path / "stopped")
    check_ended_well(runs.stop(signal.SIGTERM, SAVE_EVERY + 3, saved=SAVE_EVERY))
    reached = len(runs.drawn)
    assert runs.saved() == max(runs.losses()) == reached < STEPS
    (ended,) = runs.go_on()
    check_ended_well([ended])
    assert f"resumed at step {reached}" in ended.out
    assert runs.drawn == wanted.drawn
    assert runs.losses() == wanted.losses()


def test_after_sigkill_losses_are_the_same_bits(synthetic, whole, tmp_path):
    runs = Runs("language_model", synthetic, tmp_path / "killed", 3)
    (ended,) = runs.stop(signal.SIGKILL, SAVE_EVERY + 3, saved=SAVE_EVERY)
    assert ended.code == -signal.SIGKILL, ended
    assert max(runs.losses()) < STEPS
    (ended,) = runs.go_on()
    check_ended_well([ended])
    assert f"resumed at step {SAVE_EVERY}" in ended.out
    assert runs.losses() == whole.losses()


def test_stopped_on_two_and_on_four_processes_and_finished_on_one(synthetic, whole, tmp_path):
    runs, stops = Runs("language_model", synthetic, tmp_path / "stopped", 3), [0]
    # The terminal's Ctrl-C goes to one of them, as a scheduler's SIGTERM may.
    for n_processes, to, number in ((2, 1, signal.SIGTERM), (4, 0, signal.SIGINT)):
        ended = runs.stop(number, 4, n_processes, to)
        check_ended_well(ended)
        stops.append(len(runs.drawn))
        assert runs.saved() == stops[-1] < STEPS
        assert f"stopped by a signal at step {stops[-1]}, saved" in ended[0].out
    (ended,) = runs.go_on()
    check_ended_well([ended])
    assert f"resumed at step {stops[-1]}" in ended.out
    assert 0 < stops[1] < stops[2]
    assert runs.drawn == whole.drawn
    losses, wanted = runs.losses(), whole.losses()
    assert sorted(losses) == list(range(1, STEPS + 1))
    np.testing.assert_allclose([losses[i] for i in wanted], list(wanted.values()), rtol=1e-5)
