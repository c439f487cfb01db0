"""Pseudo-glosses in the order in which an expert sees them: found by a command, learnt by a run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.checkpoint.artefact import make_manifest, open_artefact
from signbind_jax.config import load_config
from signbind_jax.data.clip import TimedToken
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.sign_order import SignOrder, read_sign_order, write_sign_order
from signbind_jax.data_pipelines.readers.token_streams import write_clips
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from signbind_jax.stages.expert import prepare
from signbind_jax.stages.sections import check_sections
from tests import audit_datasets, untrained_runs


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """`data`, of which only the text is told, and in `signing` an expert with random weights; the
    truth is that signs come in the text's order, backwards."""
    tree = tmp_path_factory.mktemp("order")
    clips = audit_datasets.clean_clips({"train": 6})["train"]
    truth = [
        dataclasses.replace(
            clip, gloss=clip.fusion_targets[::-1], seconds=3.0, streams={"signing": ()}
        )
        for clip in clips
    ]
    write_clips(tree / "truth.jsonl.gz", truth, "train")
    untold = [dataclasses.replace(clip, gloss=(), fusion_targets=(), spelled=()) for clip in clips]
    audit_datasets.write(tree / "data", {"train": untold})
    untrained_runs.write_run("signing", tree, **{"data.validation": ""})
    return tree


def find(tree, *options, checkpoint="signing"):
    given = [
        str(tree / "data"),
        f"--checkpoint={tree / checkpoint}",
        f"--out={tree / 'order.json'}",
    ]
    return cli.main(["data", "order", *given, *options])


def learns(tree, **overrides):
    given = {"data.directory": str(tree / "data"), "data.validation": ""} | overrides
    return open_source(load_config("signing:size=tiny", given))


def alone(expert, clips, i, ids):
    """What an expert says of a clip that is in a row of its own, (steps, tokens), by token."""
    lengths = np.where(np.arange(len(clips)) == i, clips.lengths("pose"), 0)
    (batch,) = clip_batches(clips, reading_plan(lengths), "pose", [[]] * len(clips), 8)
    output = expert.load_model()(*prepare(jax.tree.map(jnp.asarray, batch), "pose"))
    log_probs_sv = np.asarray(output.log_probs_bsv)[np.asarray(output.clip_bs) == 0]
    return log_probs_sv[:, ids]


def test_the_command_finds_where_each_gloss_is_likeliest(tree, capsys):
    counts_file = tree / "counts.json"
    options = (f"--truth={tree / 'truth.jsonl.gz'}", f"--json={counts_file}")
    assert find(tree, *options) == 0
    clips, expert = open_dataset(tree / "data").split("train"), open_artefact(tree / "signing")
    found = read_sign_order(tree / "order.json")
    assert found.split == clips.digest and {*found.seen} == {*clips.ids}
    for i in (0, 4):
        seen = found.seen[clips.ids[i]]
        assert sorted(t.token for t in seen) == sorted(clips.targets[i]["gloss"])
        ids = expert.vocabularies["gloss"].encode([token.token for token in seen])
        log_probs_sn = alone(expert, clips, i, ids)
        seconds = expert.model_config.subsample / audit_datasets.FPS
        starts = [token.start for token in seen]
        np.testing.assert_allclose(starts, log_probs_sn.argmax(0) * seconds, rtol=1e-5)
        np.testing.assert_allclose(
            [token.confidence for token in seen], np.exp(log_probs_sn.max(0)), rtol=1e-3
        )
    counts = json.loads(counts_file.read_text())
    assert counts["neighbours in signed order, text"] < 10  # lemmas are other words now and then
    assert "neighbours in signed order, found" in capsys.readouterr().out


def test_an_expert_learns_glosses_in_that_order(tree):
    clips = open_dataset(tree / "data").split("train")
    gloss = clips.targets[0]["gloss"]
    backwards = {clips.ids[0]: tuple(TimedToken(x, i, i + 1.0) for i, x in enumerate(gloss[::-1]))}
    path = tree / "backwards.json"
    write_sign_order(path, SignOrder(clips.digest, backwards))
    plain, ordered = learns(tree), learns(tree, **{"data.sign_order": str(path)})
    assert ordered.vocabulary == plain.vocabulary
    assert ordered.target_ids[0] == plain.target_ids[0][::-1] != plain.target_ids[0]
    assert ordered.target_ids[1:] == plain.target_ids[1:]
    assert ordered.dataset.digest != plain.dataset.digest
    manifest = make_manifest(ordered, make_stage(ordered.config, ordered.shapes).model_config)
    digest = read_sign_order(path).digest
    assert manifest.parents == {f"data.sign_order of {clips.digest[:12]}": digest}


def test_what_was_not_looked_for_stays_behind_what_stood_before_it():
    seen = (TimedToken("a", 0.5, 0.6), TimedToken("c", 1.0, 1.1), TimedToken("a", 2.0, 2.1))
    order = SignOrder("", {"clip": seen})
    assert order.ordered("clip", ("c", "new", "a", "a")) == ("a", "c", "new", "a")
    assert order.ordered("clip", ("new", "c", "a")) == ("new", "a", "c")
    assert order.ordered("another", ("c", "a")) == ("c", "a")


def test_labelled_glosses_and_other_stages_are_refused(tree, runs, capsys):
    out = f"--out={tree / 'none.json'}"
    command = ["data", "order", str(runs / "data"), f"--checkpoint={runs / 'signing'}", out]
    assert cli.main(command) == 1
    assert "found glosses, which stand in their order" in capsys.readouterr().err
    assert find(tree, out, checkpoint=runs / "fusion") == 1
    assert "stage: found fusion, wanted an expert that reads glosses" in capsys.readouterr().err
    assert not (tree / "none.json").exists()
    with pytest.raises(SignBindError, match="sign_order: found .*: fingerspelling does not read"):
        check_sections(load_config("fingerspelling:size=tiny", {"data.sign_order": "x.json"}))


def test_an_order_of_another_dataset_is_refused(tree):
    path = tree / "other.json"
    write_sign_order(path, SignOrder("0" * 64, {}))
    with pytest.raises(SignBindError, match="sign_order: .*found the signs of a split 000") as told:
        learns(tree, **{"data.sign_order": str(path)})
    assert "\n" not in str(told.value)
