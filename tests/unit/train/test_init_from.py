"""A run starts from another one's parameters: by path, tables by token, across vocabularies."""

import contextlib
import shutil

import numpy as np
import pytest
from flax import nnx

from signbind_jax import sealed
from signbind_jax.checkpoint import artefact
from signbind_jax.config import load_config
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import ExpertEvaluator
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from signbind_jax.train.init_from import FILE, open_init
from signbind_jax.train.loop import train
from tests import untrained_runs

# Of the first corpus: ANNA BOB COME HOME SIT.
SENTENCES = ("ANNA COME|Anna came.", "DOG SIT|The dog sat.", "ZOO|Zoo.", "DOG COME|A dog came.")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another corpus: its glosses are ANNA COME DOG SIT ZOO."""
    return untrained_runs.write_dataset(tmp_path_factory.mktemp("other"), SENTENCES)


def config_of(stage, data, init, **overrides):
    given = {"data.directory": str(data), "init.from": str(init), "steps": "3"}
    return load_config(
        f"{stage}:size=tiny", given | {k.replace("__", "."): str(v) for k, v in overrides.items()}
    )


def begun(config, workdir):
    """Parameters that a run starts from, those of `init.from` and their fresh values, by path."""
    init, source = open_init(config, workdir), open_source(config)
    stage, mesh = make_stage(config, source.shapes), sharding.own_mesh()
    init.check(stage, source)
    given = source.initial_params(stage, mesh)
    _, fresh = sharding.init_sharded(stage.make_model, mesh, config.seed, given)
    carried = init.carried(stage, source, mesh)
    _, params = sharding.init_sharded(stage.make_model, mesh, config.seed, given | carried.whole)
    old = init.run.load_params(imported=False)[1]
    flats = (
        {
            "/".join(map(str, path)): np.asarray(x.get_value())
            for path, x in nnx.to_flat_state(state)
        }
        for state in (carried.into(params), old, fresh)
    )
    return *flats, source, init.run


def test_an_expert_takes_over_its_head_by_token(runs, other, tmp_path):
    params, old, fresh, source, run = begun(config_of("signing", other, runs / "signing"), tmp_path)
    ours, theirs = source.vocabulary.tokens, run.vocabularies["gloss"].tokens
    assert {"DOG", "ZOO"} == set(ours) - set(theirs)
    for i, token in enumerate(ours):
        where = (old, theirs.index(token)) if token in theirs else (fresh, i)
        for name in ("head/kernel", "head/bias"):
            np.testing.assert_array_equal(params[name][..., i], where[0][name][..., where[1]])
    for path in params.keys() - {"head/kernel", "head/bias"}:
        np.testing.assert_array_equal(params[path], old[path])


def test_what_was_taken_over_is_said_and_recorded(runs, other, tmp_path):
    told = []
    config = config_of("signing", other, runs / "signing", steps=1, data__validation="")
    train(config, tmp_path / "run", announce=told.append)
    lines = [line for line in told if "init.from" in line]
    assert lines[0] == f"signing: init.from: {runs / 'signing'}, step 1: 40 arrays taken over"
    assert lines[1] == (
        "signing: init.from: gloss: 4 taken over, 2 new (DOG, ZOO), 2 left there (BOB, HOME)"
    )
    record = sealed.read(tmp_path / "run" / FILE)
    assert record["tables"]["gloss"] == {
        "matched": 4,
        "new": ["DOG", "ZOO"],
        "left": ["BOB", "HOME"],
    }
    run = artefact.open_artefact(tmp_path / "run")
    assert run.manifest.parents == {"init.from": artefact.open_artefact(runs / "signing").digest}
    assert run.parents[artefact.INIT] == runs / "signing"


def test_a_resumed_run_goes_on_alike_and_needs_what_it_started_from_no_more(
    runs, other, tmp_path, monkeypatch
):
    shutil.copytree(runs / "signing", tmp_path / "start")
    config = config_of("signing", other, tmp_path / "start", evaluate_every=2, checkpoint_every=1)
    monkeypatch.setattr(ExpertEvaluator, "run", _interrupted)
    with contextlib.suppress(InterruptedError):
        train(config, tmp_path / "stopped", announce=str)
    monkeypatch.undo()
    whole = train(config, tmp_path / "whole", announce=str)
    shutil.rmtree(tmp_path / "start")
    told = []
    train(config, tmp_path / "stopped", announce=told.append)
    assert "signing: resumed at step 1" in told and not any("init.from" in line for line in told)
    assert whole.finished
    stopped, uninterrupted = (
        artefact.open_artefact(tmp_path / name).manifest for name in ("stopped", "whole")
    )
    assert stopped.arrays == uninterrupted.arrays


def _interrupted(*_):
    raise InterruptedError


def test_a_run_goes_on_from_no_other_start(runs, other, tmp_path):
    shutil.copytree(runs / "signing", tmp_path / "moved")
    given = {"steps": 1, "data__validation": ""}
    config = config_of("signing", other, runs / "signing", **given)
    train(config, tmp_path / "run", announce=str)
    moved = config_of("signing", other, tmp_path / "moved", **given)
    assert train(moved, tmp_path / "run", announce=str).finished
    for init in ("", tmp_path / "run"):
        with pytest.raises(SignBindError, match=r"step 1: parents.init.from: found \w{16}"):
            train(config_of("signing", other, init, **given), tmp_path / "run", announce=str)


def test_without_it_a_run_keeps_its_digest(runs, other):
    config = config_of("signing", other, runs / "signing")
    assert config.digest == config_of("signing", other, "").digest
    assert "init" not in config.deciding() and "min_count" not in config.deciding()["data"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"model__d_model": 64}, "model.d_model: found 32, wanted 64 as this run has it"),
        ({"model__n_layers": 3}, "model.n_layers: found 2, wanted 3"),
        ({"model__frontend": "hand_shape"}, "model.frontend: found 'pose', wanted 'hand_shape'"),
        ({"model__subsample": 2}, "model.subsample: found 4, wanted 2"),
    ],
)
def test_another_model_is_refused(runs, tmp_path, overrides, told):
    config = config_of("signing", runs / "data", runs / "signing", **overrides)
    with pytest.raises(SignBindError) as raised:
        train(config, tmp_path / "run", announce=str)
    assert str(raised.value).startswith(f"config.init.from: {runs / 'signing'}: {told}")
    assert not (tmp_path / "run" / artefact.FILE).exists()
