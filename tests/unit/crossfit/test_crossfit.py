"""`signbind crossfit` trains an expert of all clips and one a fold, and says how wrong they are."""

import json

import pytest

from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.sources import open_source
from tests import untrained_runs
from tests.conftest import signbind


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    untrained_runs.write_dataset(tree)
    return tree


def command(tree, *more, config="signing:size=tiny"):
    given = ("--config.steps=2", "--config.log_every=1", f"--config.data.directory={tree / 'data'}")
    place = f"--workdir={tree / 'crossfit'}"
    return ("crossfit", f"--config={config}", place, "--folds=2", *given, *more)


def test_folds_are_trained_as_points_and_read_the_clips_they_left_out(tree):
    for i in range(3):
        signbind(*command(tree, f"--point={i}"))
        unfinished = signbind(*command(tree, "--report_only"), check=False)
        assert unfinished.returncode == (i < 2)
    told = unfinished.stdout
    assert "all: 2 steps, finished" in told and "fold1: 2 steps, finished" in told
    names = ("fold0, on the clips it left out", "all folds, each on its own", "all, on train")
    assert all(name in told for name in names) and "by the labels of gloss:" in told
    assert f"--config.crossfit.signing={tree / 'crossfit'}" in told

    config = open_artefact(tree / "crossfit" / "fold1").config
    assert (config.data.fold, config.data.fold_by) == ("1/2", "recording")
    whole = open_artefact(tree / "crossfit" / "all").config
    alone = {"steps": "2", "data.directory": str(tree / "data")}
    assert whole.digest == load_config("signing:size=tiny", alone).digest

    done = signbind(*command(tree))
    assert done.stdout.count("finished already") == 3
    # What was read for the table is what a later stage trains on, and is not read again.
    kept = {p: p.stat().st_mtime_ns for p in (tree / "crossfit" / "streams").iterdir()}
    given = {"data.directory": str(tree / "data"), "crossfit.signing": str(tree / "crossfit")}
    assert "signing/fold1" in open_source(load_config("fusion:size=tiny", given)).parents
    assert all(p.stat().st_mtime_ns == written for p, written in kept.items())

    other = signbind(*command(tree, "--config.seed=3"), check=False)
    assert other.returncode == 1 and "seed: found 0, wanted 3" in other.stderr


def test_runs_are_commands_for_whoever_starts_them(tree):
    lines = signbind(*command(tree, "--print_commands", "--by=signer"), check=False)
    assert lines.returncode == 1
    assert "found 2 folds, wanted at most 1: split train has no more signers" in lines.stderr
    lines = signbind(*command(tree, "--print_commands")).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["0", "1", "2"]
    assert "data.fold" not in lines[0] and lines[0].endswith("/crossfit/all")
    assert "--config.data.fold=1/2 --config.data.fold_by=recording" in lines[2]


@pytest.mark.parametrize(
    ("more", "config", "code", "told"),
    [
        ((), "fusion:size=tiny", 1, "--config: found fusion, wanted an expert: signing"),
        (("--folds=9",), "signing:size=tiny", 1, "found 9 folds, wanted at most 4: split train"),
        (("--folds=1",), "signing:size=tiny", 2, "found '1', wanted a whole number, at least 2"),
        (("--config.data.fold=0/2",), "signing", 2, "found it here, wanted --folds and --by"),
    ],
)
def test_what_cannot_be_cross_fitted_is_told_in_a_line(tree, more, config, code, told):
    done = signbind(*command(tree, *more, config=config), check=False)
    assert done.returncode == code and told in done.stderr, done.stderr
    assert json.dumps(done.stderr.splitlines()[-1]).count(told) == 1
