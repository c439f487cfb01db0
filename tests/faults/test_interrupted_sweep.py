"""A sweep of real training runs: failing points, signals, and going on afterwards."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from signbind_jax.cli import main
from signbind_jax.processes import child
from tests.conftest import ROOT, signbind
from tests.sweeps import sweep_file

STEPS, HELD_AT = 12, 4  # a signal meets the runs before this step


@pytest.fixture
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def rows_of(workdir) -> list[dict]:
    with (workdir / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_failing_point_is_listed_and_the_others_go_on(synthetic, tmp_path, wide_terminal, capsys):
    grid = "h.sweep('data.train', ['train', 'trian', 'test'])"
    config = sweep_file(tmp_path / "s.py", grid, "steps = 6", "log_every = 2")
    work = tmp_path / "w"
    command = [
        "sweep",
        f"--config={config}",
        f"--workdir={work}",
        f"--config.data.directory={synthetic}",
    ]
    done = signbind(*command, "--jobs=2", check=False)
    assert done.returncode == 1, done.stderr
    assert "failed: " in done.stdout and "found 'trian', wanted one of train" in done.stdout
    rows = rows_of(work)
    assert [row["state"] for row in rows] == ["finished", "failed", "finished"]
    assert "found 'trian', wanted one of train" in rows[1]["error"]
    assert all(float(rows[i]["gloss_wer"]) >= 0 and rows[i]["step"] == "6" for i in (0, 2))

    # Given again, it tries the failed point, and scores the one that was killed after its last
    # step and before its scores, when all there was is the summary of an earlier stop.
    kept, killed = (work / f"train={name}" / "summary.json" for name in ("test", "train"))
    written, scores = kept.stat().st_mtime_ns, json.loads(killed.read_text())["scores"]
    stop = {"step": 3, "seconds": 1.0, "finished": False, "scores": {}}
    killed.write_text(json.dumps(stop))
    again = signbind(*command, check=False)
    assert again.returncode == 1 and again.stdout.count("finished already") == 1
    assert kept.stat().st_mtime_ns == written
    summary = json.loads(killed.read_text())
    assert summary["finished"] and summary["step"] == 6 and summary["scores"] == scores

    # The table comes from the points alone.
    before = (work / "sweep.csv").read_text()
    for name in ("sweep.csv", "sweep.html"):
        (work / name).unlink()
    assert main(["sweep", f"--workdir={work}", "--report_only"]) == 0
    assert (work / "sweep.csv").read_text() == before and (work / "sweep.html").exists()

    # One task of an array skips what is finished and tells what is no point.
    assert main([*command, "--point=0"]) == 0
    assert main([*command, "--point=3"]) == 1
    capsys.readouterr()

    # Other steps or another validation split would mix runs that cannot be compared.
    for other, told in (
        ("steps=7", "steps: found 6, wanted 7"),
        ("data.validation=test", "validation: found 'validation', wanted 'test'"),
    ):
        assert main([*command, f"--config.{other}"]) == 1
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, error
    assert rows_of(work)[1]["state"] == "failed"


def test_one_point_trains_alone_and_its_failure_is_kept(synthetic, tmp_path, wide_terminal, capsys):
    grid = "h.sweep('data.train', ['train', 'trian'])"
    config = sweep_file(tmp_path / "s.py", grid, "steps = 4", "log_every = 2")
    command = [
        "sweep",
        f"--config={config}",
        f"--workdir={tmp_path / 'w'}",
        f"--config.data.directory={synthetic}",
    ]
    assert main([*command, "--point=1"]) == 1
    assert "found 'trian'" in capsys.readouterr().err
    signbind(*command, "--point=0")
    assert main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only"]) == 0
    rows = rows_of(tmp_path / "w")
    assert [row["state"] for row in rows] == ["finished", "failed"]
    assert "found 'trian'" in rows[1]["error"]


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)])
def test_points_save_when_their_sweep_is_stopped_and_go_on(synthetic, tmp_path, number, jobs):
    config = sweep_file(
        tmp_path / "s.py",
        "h.seeds(2)",
        f"steps = {STEPS}",
        "log_every = 1",
        f"checkpoint_every = {10 * STEPS}",
        "data.validation = ''",
        stage="language_model",
    )
    work = tmp_path / "w"
    command = [
        "sweep",
        f"--config={config}",
        f"--workdir={work}",
        f"--jobs={jobs}",
        f"--config.data.directory={synthetic}",
    ]
    code, printed = stop_when_training(command, work, jobs, number)
    assert code == (1 if number == signal.SIGTERM else -number), printed
    done = signbind(*command)
    assert "2 finished" in done.stdout
    resumed = [p for p in sorted(work.glob("*/train.log")) if "resumed at step" in p.read_text()]
    assert len(resumed) == jobs, [p.read_text() for p in work.glob("*/train.log")]
    for row in rows_of(work):
        assert row["state"] == "finished" and row["step"] == str(STEPS) and row["loss"]
    # Every step once, in order: the metrics read as if nothing had happened.
    for path in work.glob("*/metrics.jsonl"):
        steps = [
            line.partition(",")[0] for line in path.read_text().splitlines() if '"train"' in line
        ]
        assert steps == [f'{{"step": {i}' for i in range(1, STEPS + 1)]


def stop_when_training(command: list[str], work, n: int, number: int) -> tuple[int, str]:
    """Starts a sweep and sends it a signal when `n` points are under way."""
    marks, held = work.parent / "marks", work.parent / "held.py"
    marks.mkdir()
    held.write_text("from tests.multiprocess import held_signbind\nheld_signbind.hold_as_told()\n")
    hold = {"HOLD": f"step:{HELD_AT}", "MARKS": str(marks), child.IMPORTS: str(held)}
    with (work.parent / "printed").open("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "signbind_jax.cli", *command],
            cwd=ROOT,
            env=os.environ | hold,
            stdout=printed,
            stderr=printed,
        )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if len(list(marks.glob("came_*"))) >= n:
                process.send_signal(number)
                break
            time.sleep(0.02)
        code = process.wait(timeout=300)
        printed.seek(0)
        return code, printed.read()
