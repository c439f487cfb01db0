"""Training clips are read by the experts that left them out, and by no others."""

import dataclasses
import shutil

import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.checkpoint.artefact import make_manifest, open_artefact
from signbind_jax.checkpoint.manifest import check_same
from signbind_jax.config import load_config
from signbind_jax.data.folds import HELD_OUT
from signbind_jax.data_pipelines.readers.token_streams import read_lines
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage, unseen_streams
from signbind_jax.stages.read_streams import ExpertReader
from signbind_jax.train.loop import train
from tests import untrained_runs

FOLDS = 2


def write_fold(tree, directory, k, **overrides):
    given = {"steps": "1", "data.fold": f"{k}/{FOLDS}"} | overrides
    return untrained_runs.write_run(
        "signing", tree, workdir=directory / f"fold{k}", weights=k + 1, **given
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Data and, in `crossfit`, experts with random weights, each fold's its own."""
    tree = tmp_path_factory.mktemp("tree")
    untrained_runs.write_dataset(tree)
    untrained_runs.write_run("signing", tree, workdir=tree / "crossfit" / "all", steps="1")
    for k in range(FOLDS):
        write_fold(tree, tree / "crossfit", k)
    return tree


def fusion(tree, crossfit):
    given = {"data.directory": str(tree / "data"), "crossfit.signing": str(crossfit), "steps": "1"}
    return load_config("fusion:size=tiny", given)


def test_each_clip_is_read_by_the_expert_that_left_it_out(tree):
    source = open_source(fusion(tree, tree / "crossfit"))
    clips, tokens = source.dataset.split("train"), source.sentences.streams.experts["signing"]
    seen = []
    for k in range(FOLDS):
        run = open_artefact(tree / "crossfit" / f"fold{k}")
        held_out = (run.workdir / HELD_OUT).read_text().split()
        read = ExpertReader.of(run).read(clips)
        for i in map(clips.ids.index, held_out):
            assert tokens.ids[tokens.of(i)].tolist() == read.ids[read.of(i)].tolist()
            # Rows hold other clips beside them: sums in another order.
            assert np.allclose(tokens.start[tokens.of(i)], read.start[read.of(i)], atol=1e-5)
        seen += held_out
    assert sorted(seen) == sorted(clips.ids) and len(tokens.ids)
    full = ExpertReader.of(open_artefact(tree / "crossfit" / "all"))
    other = source.dataset.split("validation")
    read = source.reader.read(other).experts["signing"]
    assert read.ids.tolist() == full.read(other).ids.tolist()
    assert {"signing", "signing/fold0", "signing/fold1"} == source.parents.keys()
    assert "4 of 4 clips of train are read by the 2 experts" in "\n".join(source.notes)
    files = {p: p.stat().st_mtime_ns for p in (tree / "crossfit" / "streams").glob("*.npz")}
    again = open_source(fusion(tree, tree / "crossfit")).sentences.streams.experts["signing"]
    assert np.array_equal(again.hidden, tokens.hidden)
    assert files == {p: p.stat().st_mtime_ns for p in (tree / "crossfit" / "streams").glob("*.npz")}


def test_a_fold_that_was_trained_again_refuses_what_was_trained_on_it(tree, tmp_path):
    crossfit = shutil.copytree(tree / "crossfit", tmp_path / "crossfit")
    given = {"crossfit.signing": str(crossfit), "steps": "1"}
    run = untrained_runs.write_run("fusion", tree, workdir=tmp_path / "fusion", **given)
    assert open_artefact(run).parents.keys() == {"signing", "signing/fold0", "signing/fold1"}
    shutil.rmtree(crossfit / "fold1")
    untrained_runs.write_run(
        "signing", tree, workdir=crossfit / "fold1", weights=9, **{"steps": "1", "data.fold": "1/2"}
    )
    source = open_source(fusion(tree, crossfit))
    now = make_manifest(source, make_stage(source.config, source.shapes).model_config)
    with pytest.raises(SignBindError, match="run: parents.signing/fold1: found "):
        check_same(open_artefact(run).manifest, now.identity, "run", "")  # as resuming does


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("none", "found no fold0, wanted a --workdir of signbind crossfit"),
        ("missing", "found no fold1, wanted 2 folds"),
        ("named", "fold1: config.data.fold: found '0/2', wanted part 1 of some"),
        ("config", "fold1: config.seed: found 3, wanted 0 as "),
        ("unfinished", "step: found 1, wanted 7: it is not finished"),
        ("vocabulary", "vocabularies.gloss: found "),
    ],
)
def test_folds_that_do_not_go_together_are_told_in_a_line(tree, tmp_path, damage, told):
    crossfit = shutil.copytree(tree / "crossfit", tmp_path / "crossfit")
    for k in range(FOLDS):
        if damage != "named" or k:
            shutil.rmtree(crossfit / f"fold{k}")
    if damage == "missing":
        write_fold(tree, crossfit, 0)
    elif damage == "named":
        shutil.copytree(crossfit / "fold0", crossfit / "fold1")
    elif damage == "config":
        write_fold(tree, crossfit, 0)
        write_fold(tree, crossfit, 1, seed="3")
    elif damage == "unfinished":
        for k in range(FOLDS):
            write_fold(tree, crossfit, k, steps="7")
    elif damage == "vocabulary":
        other = tmp_path / "other"
        other.mkdir()
        sentences = [s.replace("ANNA", "EVE") for s in untrained_runs.SENTENCES]
        untrained_runs.write_dataset(other, sentences)
        for k in range(FOLDS):
            write_fold(other, crossfit, k)
    with pytest.raises(SignBindError) as raised:
        open_source(fusion(tree, crossfit))
    assert told in str(raised.value) and "\n" not in str(raised.value)


def test_folds_of_another_dataset_are_refused(tree, tmp_path):
    crossfit = shutil.copytree(tree / "crossfit", tmp_path / "crossfit")
    rows = (tree / "manifest.tsv").read_text().replace("train", "other", 1)
    source = shutil.copytree(tree, tmp_path / "source", ignore=lambda *_: {"data", "crossfit"})
    (source / "manifest.tsv").write_text(rows.replace("train", "x").replace("\tx\t", "\ttrain\t"))
    out = tmp_path / "data"
    assert cli.main(["data", "build", "folder", f"--source={source}", f"--out={out}"]) == 0
    config = fusion(tree, crossfit)
    data = dataclasses.replace(config.data, directory=str(out))
    with pytest.raises(SignBindError, match="hold out no clip of split train, wanted those of"):
        open_source(dataclasses.replace(config, data=data))


def test_hidden_vectors_of_a_fold_are_brought_into_the_language_of_the_full_expert():
    """Of two experts that say the same in other directions, one is turned into the other."""
    d = 32
    turn_dd = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    random = np.random.default_rng(1)
    states = [random.normal(size=(40, d)) for _ in range(20)]
    turned = [state @ turn_dd + 0.5 for state in states]
    map_dd, shift_d = unseen_streams._hidden_map(states, turned, d)
    assert np.abs(map_dd - turn_dd).max() < 0.02 and np.abs(shift_d - 0.5).max() < 0.02


def test_an_expert_alone_holds_out_a_fold_and_a_stage_behind_it_alone_is_cross_fitted(tree):
    source = open_source(
        load_config("signing:size=tiny", {"data.directory": str(tree / "data"), "data.fold": "0/2"})
    )
    assert set(source.plan.step(0).ids.ravel()) - {-1} == {
        i for i, n in enumerate(source.lengths) if n
    }
    told = "fold 0/2 by recording: 2 of 4 clips held out; 4 of no known recording count as one each"
    assert told in source.notes
    assert len(source.held_out) == 2 and len(source.vocabulary) == 6
    manifest = make_manifest(source, make_stage(source.config, source.shapes).model_config)
    assert manifest.files.keys() == {HELD_OUT}
    for name, given, told in (
        ("fusion", {"data.fold": "0/2"}, "config.data.fold: found '0/2', wanted nothing: fusion"),
        ("signing", {"crossfit.signing": "x"}, "config.crossfit.signing: found 'x', wanted noth"),
    ):
        with pytest.raises(SignBindError, match=told):
            train(load_config(name, given), tree / "nowhere", announce=str)


def test_a_fold_writes_streams_of_the_clips_that_it_left_out(tree, tmp_path, capsys):
    run, out = tree / "crossfit" / "fold0", tmp_path / "read.jsonl"
    place = [f"--checkpoint={run}", f"--data={tree / 'data'}", "--split=train", "--held_out"]
    assert cli.main(["evaluate", *place, f"--streams={out}"]) == 0
    assert {line.id for line in read_lines(out)} == set((run / HELD_OUT).read_text().split())
    assert cli.main(["evaluate", *place]) == 1
    assert "--held_out: found it alone" in capsys.readouterr().err
