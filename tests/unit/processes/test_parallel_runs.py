"""Runs side by side: what others wait for comes first, and what failed keeps them from starting."""

import threading

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.processes import parallel_runs


@pytest.fixture
def ran(monkeypatch):
    """The runs that were started, in order; one whose command is `fail` ends with code 1."""
    names = []
    monkeypatch.setattr(parallel_runs, "usable_cores", lambda: [0, 1])
    freed = threading.Event()

    def run_one(name, arguments, share, log_dir, module):
        if "slowly" in arguments:
            assert freed.wait(60)  # until another run has been started beside it
        names.append(name)
        freed.set()
        return int("fail" in arguments), f"{name} ended"

    monkeypatch.setattr(parallel_runs, "_run_one", run_one)
    return names


def test_a_run_waits_for_those_before_it_and_lets_others_pass(ran, tmp_path):
    commands = {"expert": ["slowly"], "fusion": [], "other": []}
    parallel_runs.run_all(commands, tmp_path, {"fusion": ["expert"]})
    assert ran == ["other", "expert", "fusion"]


def test_nothing_starts_behind_a_run_that_failed_or_was_not_finished(ran, tmp_path):
    after = {"fusion": ["expert"], "alignment": ["fusion"]}
    commands = {"expert": [], "fusion": [], "alignment": []}
    parallel_runs.run_all(commands, tmp_path, after, finished=lambda name: name != "expert")
    assert ran == ["expert"]
    commands["expert"] = ["fail"]
    with pytest.raises(SignBindError, match="expert: expert ended .*exit code 1"):
        parallel_runs.run_all(commands, tmp_path, after)
    assert ran == ["expert", "expert"]
