"""metrics.jsonl of a run that goes on: damaged lines are told and left out, others stay."""

import json

import pytest

from signbind_jax.report.run_files import read_log
from signbind_jax.train.metric_log import MetricLog


@pytest.fixture
def log(tmp_path):
    """Of four steps."""
    written = MetricLog(tmp_path, run="a", log_every=1)
    for step in range(1, 5):
        written.write(step, "train", {"loss": step / 2})
    written.close()
    return tmp_path / "metrics.jsonl"


def losses(path) -> list:
    return read_log(path).curves.get("loss", {}).get("train", [])


def go_on(path, step: int, run: str = "a") -> list:
    MetricLog(path.parent, step, run, 1).close()
    return losses(path)


def test_a_log_is_cut_at_the_step_a_run_goes_on_from(log, caplog):
    assert go_on(log, 3) == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert not caplog.messages


@pytest.mark.parametrize(
    "old, new",
    [
        (b'"step": 2', b'"st\xe5p": 2'),
        (b": 1.0", b": 1.5"),
        (b'"train"', b'"trbin"'),
        (b"{", b"\x00"),
    ],
)
def test_a_damaged_line_is_counted_told_and_left_out(log, caplog, old, new):
    lines = log.read_bytes().splitlines(keepends=True)
    assert old in lines[1]
    log.write_bytes(b"".join([lines[0], lines[1].replace(old, new), *lines[2:]]))
    assert read_log(log).unreadable_lines == 1
    assert go_on(log, 4) == [(1, 0.5), (3, 1.5), (4, 2.0)]
    (told,) = caplog.messages
    assert f"{log}: found 1 lines" in told and "line 2" in told


@pytest.mark.parametrize("size", [0, 100])
def test_lines_that_are_lost_are_told(log, caplog, size):
    log.write_bytes(log.read_bytes()[:size])
    go_on(log, 4)
    assert "wanted up to 4" in caplog.messages[-1]


def test_lines_of_another_run_are_told_and_left_out(log, caplog):
    assert go_on(log, 4, run="b") == []
    assert "written by another run" in caplog.messages[0]


def test_lines_of_an_earlier_version_are_kept(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "kind": "train", "seconds": 3.0, "loss": 0.5}))
    resumed = MetricLog(tmp_path, 1, "a", 1)
    assert resumed.seconds >= 3.0
    resumed.close()
    assert losses(path) == [(1, 0.5)] and not caplog.messages
