"""Every stage trains and scores on a mesh of eight devices and on several processes as on one.

Unless `--every_stage` is given, each is shown on a mesh or on several processes, not on both.
"""

import json

import numpy as np
import pytest

from signbind_jax.streams import SHIPPED
from tests.conftest import signbind
from tests.multiprocess.together import (
    check_ended_well,
    run_together,
    signbind_commands,
    start,
    wait_for,
)

STAGES = {*SHIPPED, "language_model", "fusion", "alignment", "translation"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus") / "data"
    signbind(
        "data",
        "build",
        "synthetic",
        f"--out={out}",
        "--train=48",
        "--validation=7",
        "--test=7",
        "--time_split=0",
        "--workers=1",
    )
    return out  # seven clips divide among no number of processes


def train(n_processes: int, data, parents, workdir, *flags, n_devices: int = 1) -> list[dict]:
    """The facts that each process tells."""
    workdir.mkdir()
    commands = signbind_commands(
        n_processes,
        f"--data={data}",
        f"--parents={parents}",
        f"--workdir={workdir}",
        *flags,
        module="tests.multiprocess.train_stages",
    )
    check_ended_well(wait_for([start(command, n_devices) for command in commands], 900))
    return [json.loads((workdir / f"facts_{i}.json").read_text()) for i in range(n_processes)]


@pytest.fixture(scope="module")
def single(data, tmp_path_factory):
    """Runs of all stages on one process with one device: (directory, facts)."""
    workdir = tmp_path_factory.mktemp("single") / "runs"
    (facts,) = train(1, data, workdir, workdir)
    assert set(facts["losses"]) == STAGES
    for stage, losses in facts["losses"].items():
        assert len(losses) == 20 and np.isfinite(losses).all(), stage
    return workdir, facts


@pytest.fixture
def every_stage(request) -> bool:
    return request.config.getoption("--every_stage")


def test_first_twenty_losses_of_stages_equal_on_a_2x2x2_mesh(data, single, tmp_path, every_stage):
    parents, alone = single
    stages = STAGES if every_stage else {"fingerspelling", "lipreading", "alignment"}
    (facts,) = train(
        1,
        data,
        parents,
        tmp_path / "eight",
        "--mesh",
        2,
        2,
        2,
        "--stages",
        *sorted(stages),
        n_devices=8,
    )
    assert set(facts["losses"]) == stages
    for stage, losses in facts["losses"].items():
        np.testing.assert_allclose(losses, alone["losses"][stage], rtol=1e-4, err_msg=stage)


@pytest.mark.parametrize(
    ("n_processes", "stages"),
    [(2, {"signing", "language_model", "translation"}), (4, {"fusion"})],
)
def test_stages_train_and_score_on_several_processes_as_on_one(
    data, single, tmp_path, n_processes, stages, every_stage
):
    parents, alone = single
    stages = STAGES if every_stage else stages
    told = train(n_processes, data, parents, tmp_path / "several", "--stages", *sorted(stages))
    assert all(facts == told[0] for facts in told)
    assert set(told[0]["losses"]) == stages
    for stage, losses in told[0]["losses"].items():
        wanted = alone["losses"][stage]
        np.testing.assert_allclose(losses[:10], wanted[:10], rtol=1e-5, err_msg=stage)
        # Sums of another order, grown by ten more steps of training.
        np.testing.assert_allclose(losses, wanted, rtol=1e-4, err_msg=stage)
        assert told[0]["scores"][stage] == alone["scores"][stage], stage
    assert all(told[0]["scores"][s] for s in ("signing", "fusion") if s in stages)


def printed(n_processes: int, *arguments) -> str:
    """What process 0 prints; the others print nothing."""
    ended = run_together(signbind_commands(n_processes, *arguments), 300)
    check_ended_well(ended)
    assert [e.out for e in ended[1:]] == [""] * (n_processes - 1)
    return ended[0].out


def test_three_processes_evaluate_an_odd_number_of_clips_as_one(data, single, tmp_path):
    parents, _ = single
    command = ("evaluate", f"--checkpoint={parents / 'translation'}", f"--data={data}")
    found = {}
    for n_processes in (3, 1):  # the streams of this split are read first by three together
        path = tmp_path / f"{n_processes}.json"
        lines = printed(n_processes, *command, f"--json={path}")
        found[n_processes] = (lines, json.loads(path.read_text()))
    assert found[3] == found[1]
    assert found[1][1]["scores"]["all"]["n"] == 7


@pytest.fixture
def recordings(tmp_path):
    """Five recordings of different lengths."""
    draw = np.random.default_rng(0)
    paths = []
    for n_frames in (40, 25, 130, 60, 250):
        steps = draw.normal(0, 4, (n_frames, 133, 2)).cumsum(0)
        paths.append(tmp_path / f"{n_frames}_frames.npz")
        np.savez(paths[-1], keypoints=500 + steps, fps=25.0, width=1000, height=1000)
    return paths


def test_two_processes_translate_an_odd_number_of_recordings_as_one(single, recordings):
    parents, _ = single
    command = ("translate", f"--checkpoint={parents / 'translation'}", "--format=json", *recordings)
    together = printed(2, *command)
    assert together == printed(1, *command)
    clips = [json.loads(line)["clip"] for line in together.splitlines()]
    assert clips == [str(path) for path in recordings]
