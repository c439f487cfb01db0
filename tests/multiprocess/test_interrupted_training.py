"""A signal to one process stops all at one step; any number of them goes on where they were."""

import itertools
import json
import signal
import time

import numpy as np
import pytest

from tests.multiprocess.together import check_ended_well, signbind_commands, start, wait_for

STEPS = 100
PACE_S = 0.15  # of steps of a run that a signal is to meet under way


class Runs:
    """`signbind train` on so many processes, one start after the other in one directory."""

    def __init__(self, data, workdir):
        self.workdir = workdir
        self.drawn: list[list[int]] = []  # clips of each step, whole batches
        self.arguments = ["train", "--config=signing:size=tiny", f"--workdir={workdir}",
                          f"--config.data.directory={data}", "--config.data.validation=",
                          "--config.data.batch_multiple=4", "--config.data.n_buckets=1",
                          "--config.log_every=1", f"--config.steps={STEPS}",
                          "--config.checkpoint_every=0"]  # fmt: skip
        workdir.mkdir()

    def start(self, n_processes: int, to: int | None = None, number: int = 0) -> list:
        """Runs to the end, or until `number` was sent to process `to`; how each has ended."""
        commands = signbind_commands(n_processes, *self.arguments,
                                     module="tests.multiprocess.recorded_signbind")  # fmt: skip
        files = [self.workdir / f"drawn_{len(self.drawn)}_{i}" for i in range(n_processes)]
        pace = str(0 if to is None else PACE_S)
        processes = [start(command, env={"DRAWN": str(file), "PACE_S": pace})
                     for command, file in zip(commands, files, strict=True)]  # fmt: skip
        if to is not None:
            self._wait_for_step(len(self.drawn) + 3, processes)
            processes[to].send_signal(number)
        ended = wait_for(processes)
        check_ended_well(ended)
        rows = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
        # Every process drew as often: the rows of a step together are its batch.
        self.drawn += [list(itertools.chain(*parts)) for parts in zip(*rows, strict=True)]
        return ended

    def _wait_for_step(self, step: int, processes: list) -> None:
        deadline = time.monotonic() + 200
        while max(self.losses(), default=0) < step:
            if time.monotonic() > deadline or any(p.poll() is not None for p in processes):
                break  # what they said is told by `start`
            time.sleep(0.02)

    def losses(self) -> dict[int, float]:
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        records = [json.loads(line) for line in lines if line.endswith("}")]
        return {r["step"]: r["loss"] for r in records if r["kind"] == "train"}

    def saved(self) -> list[int]:
        """The steps of complete checkpoints."""
        manifests = self.workdir.glob("checkpoints/step_*/manifest.json")
        return sorted(int(path.parent.name.removeprefix("step_")) for path in manifests)


@pytest.fixture(scope="module")
def uninterrupted(synthetic, tmp_path_factory):
    runs = Runs(synthetic, tmp_path_factory.mktemp("runs") / "whole")
    runs.start(1)
    assert len(runs.drawn) == STEPS
    return runs


def test_stopped_on_two_on_four_and_finished_on_one_process(synthetic, uninterrupted, tmp_path):
    runs, stops = Runs(synthetic, tmp_path / "stopped"), []
    # The terminal's Ctrl-C goes to one of them, as a scheduler's SIGTERM may.
    for n_processes, to, number in ((2, 1, signal.SIGTERM), (4, 0, signal.SIGINT)):
        ended = runs.start(n_processes, to, number)
        stops.append(len(runs.drawn))
        assert runs.saved()[-1] == stops[-1] < STEPS
        assert f"stopped by a signal at step {stops[-1]}, saved" in ended[0].out
    ended = runs.start(1)
    assert f"resumed at step {stops[1]}" in ended[0].out
    assert 0 < stops[0] < stops[1]
    assert runs.drawn == uninterrupted.drawn
    losses, wanted = runs.losses(), uninterrupted.losses()
    assert sorted(losses) == sorted(wanted) == list(range(1, STEPS + 1))
    np.testing.assert_allclose([losses[i] for i in sorted(losses)],
                               [wanted[i] for i in sorted(wanted)], rtol=1e-5)  # fmt: skip
