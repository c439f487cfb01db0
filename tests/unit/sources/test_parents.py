"""What a stage is built on is checked when it is opened, before anything is read or compiled."""

import dataclasses
import shutil

import numpy as np
import pytest
from flax import nnx

from signbind_jax import sealed, streams
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.manifest import manifest_from_text, manifest_to_text
from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.sources.translation import prefix_paths
from signbind_jax.stages.read_streams import ExpertReader


@pytest.fixture(autouse=True)
def nothing_is_read(monkeypatch):
    def read(*_, **__):
        raise AssertionError("read before the check")

    monkeypatch.setattr(ExpertReader, "read", read)


def rewritten(run, copy, **fields):
    """A copy of a run whose artefact.json and manifest both say something else."""
    shutil.copytree(run, copy)
    (path,) = copy.glob("checkpoints/step_*/manifest.json")
    manifest = manifest_from_text(path.read_bytes(), str(path))
    changed = {
        name: getattr(manifest, name) | value if isinstance(value, dict) else value
        for name, value in fields.items()
    }
    manifest = dataclasses.replace(manifest, **changed)
    path.write_text(manifest_to_text(manifest))
    record = sealed.read(copy / artefact.FILE)
    sealed.write(copy / artefact.FILE, record | {"identity": manifest.identity})
    return copy


def refusal(runs, stage="alignment", **parents):
    names = ("signing", "language_model", "fusion")
    given = {f"parents.{name}": str(runs / name) for name in names}
    given |= {f"parents.{name}": str(path) for name, path in parents.items()}
    given["data.directory"] = str(runs / "data")
    with pytest.raises(SignBindError) as raised:
        open_source(load_config(f"{stage}:size=tiny", given))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_fused_tokens_reach_the_llm_as_in_alignment(runs):
    names = ("signing", "language_model", "alignment")
    given = {f"parents.{name}": str(runs / name) for name in names}
    given |= {"data.directory": str(runs / "data"), "options.soft_prefix": "read"}
    with pytest.raises(SignBindError, match="soft_prefix: found 'read', wanted 'every' as .*align"):
        open_source(load_config("translation:size=tiny", given))


@pytest.mark.parametrize(
    ("parent", "other"),
    [("signing", "fusion"), ("fusion", "signing"), ("language_model", "fusion")],
)
def test_a_parent_of_another_stage_is_refused(runs, parent, other):
    told = refusal(runs, **{parent: runs / other})
    assert f"config.parents.{parent}: {runs / other}: stage: found {other}, wanted {parent}" in told


def test_a_parent_whose_ids_mean_something_else_is_refused(runs, tmp_path):
    other = {"vocabularies": {"gloss": "0" * 64}}
    told = refusal(runs, fusion=rewritten(runs / "fusion", tmp_path / "fusion", **other))
    assert f"{tmp_path / 'fusion'}: vocabularies.gloss: found 0000000000000000..." in told


def test_a_parent_of_other_hidden_vectors_is_refused(runs, tmp_path):
    wider = rewritten(runs / "signing", tmp_path / "signing", dimensions={"d_model": 8})
    told = refusal(runs, signing=wider)
    assert f"{wider}: checkpoint: dimensions.d_model: found 8, wanted " in told
    other = rewritten(runs / "fusion", tmp_path / "fusion", dimensions={"d_hidden": 8})
    assert f"{other}: checkpoint: dimensions.d_hidden: found 8, wanted " in refusal(
        runs, fusion=other
    )


def test_a_parent_of_another_keypoint_layout_is_refused(runs, tmp_path):
    other = rewritten(runs / "signing", tmp_path / "signing", keypoint_layout="other-5.1")
    assert f"{other}: keypoint_layout: found other-5.1, wanted " in refusal(runs, signing=other)


def test_an_expert_of_another_vocabulary_than_its_stream_is_refused(runs, monkeypatch):
    renamed = dataclasses.replace(streams.SIGNING, vocabulary="signs")
    monkeypatch.setitem(streams._registry, "signing", renamed)
    assert "vocabularies: found gloss, wanted signs" in refusal(runs)
    fixed = dataclasses.replace(streams.SIGNING, alphabet=("A", "B"))
    monkeypatch.setitem(streams._registry, "signing", fixed)
    assert "vocabularies.gloss: found " in refusal(runs)


def test_another_language_model_than_alignment_was_trained_with_is_refused(runs, tmp_path):
    other = rewritten(runs / "language_model", tmp_path / "llm", extra={"note": "trained again"})
    told = refusal(runs, "translation", alignment=runs / "alignment", language_model=other)
    assert f"{other}: artefact digest: found " in told
    assert f"not the language model that {runs / 'alignment'} was trained with" in told


@pytest.mark.parametrize(
    ("run", "field", "value", "told"),
    [
        ("fusion", "n_targets", 99, "model.n_targets: found 99, wanted "),
        ("fusion", "n_ids", [9, 9, 9], r"model.n_ids: found (9, 9, 9), wanted "),
        ("signing", "n_tokens", 99, "dimensions.n_tokens: found "),
        ("language_model", "vocab_size", 8, "dimensions.vocab_size: found "),
        ("signing", "d_model", "wide", "artefact.json: model.config.d_model: found 'wide'"),
    ],
)
def test_a_model_that_is_not_that_of_its_run_is_refused(runs, tmp_path, run, field, value, told):
    shutil.copytree(runs / run, copy := tmp_path / run)
    record = sealed.read(copy / artefact.FILE)
    record["model"]["config"][field] = value
    sealed.write(copy / artefact.FILE, record)
    with pytest.raises(SignBindError) as raised:
        artefact.open_artefact(copy)
    assert told in str(raised.value) and str(copy) in str(raised.value)


def test_a_tokenizer_that_outgrows_its_decoder_is_refused(runs, tmp_path):
    run = artefact.open_artefact(runs / "language_model")
    small = dataclasses.replace(run.model_config, vocab_size=8)
    with pytest.raises(SignBindError, match="model.vocab_size: found 8, wanted at least the "):
        _ = dataclasses.replace(run, model_config=small).tokenizer
    assert run.tokenizer.vocab_size <= run.model_config.vocab_size


def test_initial_parameters_lie_under_their_part():
    params = nnx.State({"a": {"b": nnx.Param(np.ones(2))}})
    assert list(prefix_paths(("fusion",), params)) == [("fusion", "a", "b")]
    assert list(prefix_paths((), params)) == [("a", "b")]
