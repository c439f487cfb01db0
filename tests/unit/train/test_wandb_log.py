"""Weights & Biases beside the other logs; a stand-in takes the library's place."""

import json
import sys

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluation import ClipOutput
from signbind_jax.train.loop import train
from signbind_jax.train.metric_log import open_log
from signbind_jax.train.wandb_log import FILE
from tests.unit.train.test_train_metrics import tiny

STAND_IN = """
import json, os

class Table:
    def __init__(self, columns, data):
        self.rows = [dict(zip(columns, row)) for row in data]

class Run:
    def __init__(self, **arguments):
        self.calls = open(os.environ["STAND_IN_CALLS"], "a")
        self.note("init", arguments)

    def note(self, name, value):
        print(json.dumps([name, value], default=lambda table: table.rows), file=self.calls)

    def define_metric(self, name, step_metric):
        self.note("define_metric", [name, step_metric])

    def log(self, values):
        self.note("log", values)

    def finish(self):
        self.note("finish", None)
        self.calls.close()

def init(**arguments):
    if arguments["project"] == "forbidden":
        raise RuntimeError("permission\\ndenied")
    return Run(**arguments)
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Puts the stand-in on the path; what was called, by name."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path/wandb.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "path")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("STAND_IN_CALLS", str(tmp_path / "calls"))

    def read(name):
        found = map(json.loads, (tmp_path / "calls").read_text().splitlines())
        return [value for called, value in found if called == name]

    yield read
    sys.modules.pop("wandb", None)


def test_a_run_logs_the_same_there_and_ends_it(synthetic, tmp_path, calls):
    config = tiny(synthetic, wandb="signs", steps="2")
    losses = train(config, tmp_path / "run", announce=str).losses
    logged = calls("log")
    assert [(values["step"], values["train/loss"]) for values in logged] == [
        (1, losses[0]),
        (2, losses[1]),
    ]
    assert all(values["train/gradient_norm"] > 0 for values in logged)
    (begun,) = calls("init")
    assert begun["project"] == "signs" and begun["config"]["steps"] == 2
    assert calls("finish") == [None]


def test_a_resumed_run_goes_on_with_the_same_one(synthetic, tmp_path, calls):
    config = tiny(synthetic, wandb="signs")
    for start in (0, 4):
        log = open_log(tmp_path, start, config)
        log.write_samples(start, "validation", [ClipOutput("clip", "a", "b")])
        log.close()
    first, second = calls("init")
    assert first["id"] == second["id"] and second["resume"] == "allow"
    samples = calls("log")[1]["validation/samples"]
    assert samples == [{"clip": "clip", "reference": "a", "hypothesis": "b"}]


@pytest.mark.parametrize("change", [{"wandb": "other"}, {"seed": "7"}])
def test_another_project_or_run_begins_a_new_one(synthetic, tmp_path, calls, change):
    for overrides in ({}, change):
        open_log(tmp_path, 0, tiny(synthetic, **({"wandb": "signs"} | overrides))).close()
    first, second = calls("init")
    assert first["id"] != second["id"]


def test_a_damaged_note_of_the_run_is_told(synthetic, tmp_path, calls, caplog):
    config = tiny(synthetic, wandb="signs")
    (tmp_path / FILE).write_text("{}")
    open_log(tmp_path, 0, config).close()
    assert f"{tmp_path / FILE}: " in caplog.text and "a new run is begun" in caplog.text


def test_a_missing_library_is_told_before_anything_else(synthetic, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SignBindError, match=r"pip install 'signbind-jax\[wandb\]'"):
        train(tiny(synthetic, wandb="signs"), tmp_path / "run", announce=str)
    assert not (tmp_path / "run").exists()


def test_a_project_that_refuses_is_one_line(synthetic, tmp_path, calls):
    with pytest.raises(SignBindError, match="refuses .permission denied.*WANDB_MODE=offline"):
        open_log(tmp_path, 0, tiny(synthetic, wandb="forbidden"))


def test_without_the_option_the_library_is_not_imported(synthetic, tmp_path, calls):
    open_log(tmp_path, 0, tiny(synthetic)).close()
    assert "wandb" not in sys.modules
