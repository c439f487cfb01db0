"""A run starts from another one's parameters: by path, tables by token, across vocabularies."""

import contextlib
import dataclasses
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
from tests.unit.hf.tiny_pretrained import write_pretrained
from tests.unit.sources.test_parents import rewritten

# Of the first corpus: ANNA BOB COME HOME SIT.
SENTENCES = ("ANNA COME|Anna came.", "DOG SIT|The dog sat.", "ZOO|Zoo.", "DOG COME|A dog came.")


PARENTS = {
    "fusion": ("signing",),
    "alignment": ("signing", "language_model", "fusion"),
    "translation": ("signing", "language_model", "alignment"),
}


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Runs as of `runs` on another corpus: its glosses are ANNA COME DOG SIT ZOO."""
    tree = tmp_path_factory.mktemp("other")
    untrained_runs.write_alignment(tree, sentences=SENTENCES)
    return tree


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """That corpus alone."""
    return untrained_runs.write_dataset(tmp_path_factory.mktemp("corpus"), SENTENCES)


def parents_of(stage, tree, **other):
    paths = {name: tree / name for name in PARENTS.get(stage, ())} | other
    return {f"parents.{name}": str(path) for name, path in paths.items()}


def config_of(stage, data, init, **overrides):
    given = {"data.directory": str(data), "init.from": str(init), "steps": "3"}
    given |= {name.replace("__", "."): str(value) for name, value in overrides.items()}
    return load_config(f"{stage}:size=tiny", given)


def begun(config, workdir):
    """Parameters that a run starts from, those of `init.from` and their fresh values, by path."""
    init, source = open_init(config, workdir), open_source(config)
    stage, mesh = make_stage(config, source.shapes), sharding.own_mesh()
    init.check(stage, source)
    given = source.initial_params(stage, mesh)
    _, fresh = sharding.init_sharded(stage.make_model, mesh, config.seed, given)
    carried = init.carried(stage, source, mesh, given)
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
    for name in ("head/kernel", "head/bias"):
        check_table(params[name], old[name], fresh[name], ours, theirs)
    for path in params.keys() - {"head/kernel", "head/bias"}:
        np.testing.assert_array_equal(params[path], old[path])


def check_table(new, old, fresh, ours, theirs, axis=-1):
    """Entries of tokens that both have are the old ones, others what they were."""
    new, old, fresh = (np.moveaxis(x, axis, 0) for x in (new, old, fresh))
    assert len(ours) == len(new) and len(theirs) == len(old) and ours != theirs
    for i, token in enumerate(ours):
        wanted = old[theirs.index(token)] if token in theirs else fresh[i]
        np.testing.assert_array_equal(new[i], wanted)


def check_fusion_tables(params, old, fresh, source, run, prefix=""):
    """As `check_table`; the paths of fusion's tables."""
    read, fused = ([r.vocabularies[name] for r in (source, run)] for name in ("gloss", "senses"))
    blanks = ["of fingerspelling", "of lips"]  # streams that no expert reads have a blank alone
    ids = [[*vocabulary.tokens, *blanks] for vocabulary in read]
    targets = [list(vocabulary.tokens) for vocabulary in fused]
    entries = {"id_embed/table": (0, ids), "ctc_head/kernel": (-1, targets)}
    entries["ctc_head/bias"] = entries["ctc_head/kernel"]
    for name, (axis, both) in entries.items():
        check_table(*(x[prefix + name] for x in (params, old, fresh)), *both, axis)
    return {prefix + name for name in entries}


def test_fusion_takes_over_its_tables_by_token(runs, others, tmp_path):
    config = config_of("fusion", others / "data", runs / "fusion")
    config = dataclasses.replace(config, parents={"signing": str(others / "signing")})
    params, old, fresh, source, run = begun(config, tmp_path)
    tables = check_fusion_tables(params, old, fresh, source, run)
    for path in params.keys() - tables:
        np.testing.assert_array_equal(params[path], old[path])


def test_a_decoder_takes_over_its_embedding_by_token(runs, others, tmp_path):
    config = config_of("language_model", others / "data", runs / "language_model")
    params, old, fresh, source, run = begun(config, tmp_path)
    (table,) = (path for path in params if path.startswith("embedding"))
    ours, theirs = source.tokenizer.tokens, run.tokenizer.tokens
    rows = len(ours), len(theirs)
    check_table(
        *(x[table][:n] for x, n in zip((params, old, fresh), (*rows, rows[0]), strict=True)),
        ours,
        theirs,
        0,
    )
    for path in params.keys() - {table}:
        np.testing.assert_array_equal(params[path], old[path])


def test_alignment_takes_what_its_parents_do_not_bring(runs, others, tmp_path):
    parents = parents_of("alignment", others)
    config = config_of("alignment", others / "data", runs / "alignment", **parents)
    params, old, given, *_ = begun(config, tmp_path)
    for path in params:
        wanted = old if path.startswith("projector/") else given
        np.testing.assert_array_equal(params[path], wanted[path])


def test_without_that_parent_fusion_comes_from_there_too_by_token(runs, others, tmp_path):
    parents = parents_of("alignment", others, fusion="")
    config = config_of("alignment", others / "data", runs / "alignment", **parents)
    params, old, given, source, run = begun(config, tmp_path)
    tables = check_fusion_tables(params, old, given, source, run, "fusion/")
    for path in params.keys() - tables:
        wanted = given if path.startswith("decoder/") else old
        np.testing.assert_array_equal(params[path], wanted[path])
    assert "fusion" not in source.parents


def test_translation_takes_over_the_adapters_of_the_same_language_model(runs, tmp_path):
    llm = write_pretrained(tmp_path / "llm")
    given = {"data.directory": str(runs / "data"), **parents_of("alignment", runs)}
    alignment = given | {"parents.language_model": str(llm)}
    untrained_runs.write_run("alignment", tmp_path, **alignment)
    given = parents_of("translation", runs, language_model=llm, alignment=tmp_path / "alignment")
    given |= {"options.lora_rank": "2"}
    start = untrained_runs.write_run(
        "translation", tmp_path, **given, **{"data.directory": str(runs / "data")}
    )
    config = config_of("translation", runs / "data", start, **given)
    params, old, given, source, _ = begun(config, tmp_path / "run")
    assert any("lora" in path for path in old) and not any("embedding" in path for path in old)
    for path in params:
        wanted = old if "lora" in path else given
        np.testing.assert_array_equal(params[path], wanted[path])
    source.parents["language_model"] = "0" * 64
    with pytest.raises(SignBindError, match="parents.language_model: found '.*', wanted '000"):
        open_init(config, tmp_path / "run").check(make_stage(config, source.shapes), source)


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


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ("fusion", "stage: found 'fusion', wanted 'signing'"),
        ("none", "artefact.json: no such file; wanted the --workdir of a trained stage"),
        ("begun", "begun: found no complete checkpoint; train the stage first"),
        ("changed", "artefact.json: digest: found "),
        ("layout", "keypoint_layout: found other-5.1, wanted "),
        ("damaged", "cannot be read|is not as it was saved|checksum"),
    ],
)
def test_a_run_that_cannot_be_started_from_is_refused(runs, tmp_path, init, told):
    directory = runs / init if init == "fusion" else tmp_path / init
    if init == "layout":
        rewritten(runs / "signing", directory, keypoint_layout="other-5.1")
    elif init not in ("fusion", "none"):
        shutil.copytree(runs / "signing", directory)
    if init == "begun":
        shutil.rmtree(directory / "checkpoints")
    elif init == "changed":
        file = directory / artefact.FILE
        file.write_text(file.read_text().replace("ANNA", "ANNE"))
    elif init == "damaged":
        for file in (directory / "checkpoints").rglob("d/*"):
            file.write_bytes(file.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(SignBindError, match=told) as raised:
        train(config_of("signing", runs / "data", directory), tmp_path / "run", announce=str)
    line = str(raised.value)
    assert line.startswith("config.init.from: ") and "\n" not in line
    assert not list((tmp_path / "run").rglob("*.json"))


def test_another_name_in_the_section_is_refused():
    with pytest.raises(SignBindError, match="config.init.form: .*did you mean 'from'"):
        load_config("signing:size=tiny", {"init.form": "run"})
