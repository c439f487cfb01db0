"""A run directory is opened whole, or refused in one line that names the file."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx

from signbind_jax import sealed
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from signbind_jax.checkpoint.manifest import artefact_digest
from signbind_jax.checkpoint.model_record import model_record, read_model_config
from signbind_jax.config import RunConfig
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.hf.tokenizer import train_bpe
from signbind_jax.metrics import names
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.train.summary import write_summary
from tests.unit.models.tiny_decoder import tiny_decoder

TEXTS = ["we meet anna at the river", "they meet at the station"]


def write_run(workdir: Path, seed: int = 0, texts=TEXTS, step: int = 1) -> Path:
    """A run of a tiny decoder, as training leaves it."""
    decoder, tokenizer = tiny_decoder(vocab_size=320), train_bpe(texts, 300)
    source = SimpleNamespace(
        known_words=frozenset({"anna"}),
        config=RunConfig("language_model", seed),
        vocabularies={"letters": Vocabulary.letters()},
        parents={},
        parent_directories=dict,
        side_files=lambda: artefact.tokenizer_files(tokenizer),
        longest_s=0.0,
        fps=0.0,
    )
    workdir.mkdir(exist_ok=True)
    manifest = artefact.make_manifest(source, decoder.config)
    artefact.write(workdir, source, decoder.config, manifest)
    with CheckpointDir(workdir / "checkpoints") as checkpoints:
        checkpoints.save(step, {"params": nnx.state(decoder)}, manifest, wait=True)
    return workdir


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """A copy that shares the arrays."""
    copy = tmp_path / "run"
    (copy / "tokenizer").mkdir(parents=True)
    for path in whole.rglob("*.json"):
        target = copy / path.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (copy / "checkpoints/step_00000001/state").symlink_to(whole / "checkpoints/step_00000001/state")
    return copy


class Source(SimpleNamespace):
    """One whose training text nobody wants to read."""

    @property
    def known_words(self):
        raise AssertionError("the training text was read")


def go_on(workdir: Path, kind: type = Source, **more) -> None:
    """Writes what a start in a run directory does, before it trains."""
    found = artefact.open_artefact(workdir)
    source = kind(
        config=found.config,
        vocabularies=found.vocabularies,
        parents={},
        parent_directories=dict,
        side_files=lambda: artefact.tokenizer_files(found.tokenizer),
        **more,
    )
    artefact.write(workdir, source, found.model_config, found.manifest)


def test_a_run_that_goes_on_reads_no_training_text_for_words_that_it_has(run):
    go_on(run)
    assert names.read_known_words(run) == {"anna"}
    words = run / names.KNOWN_WORDS
    for damage in (words.unlink, lambda: words.write_text("{}")):
        damage()
        with pytest.raises(AssertionError, match="training text was read"):
            go_on(run)
        go_on(run, SimpleNamespace, known_words=frozenset({"bo"}))
        assert names.read_known_words(run) == {"bo"}


def content(run: Path) -> str:
    found = artefact.open_artefact(run)
    parts = (
        found.stage,
        found.config,
        found.model_config,
        found.vocabularies,
        found.parents,
        found.manifest,
        found.step,
        found.tokenizer.digest,
        found.tokenizer.tail,
    )
    return repr(parts)


def refusal(run: Path) -> str:
    with pytest.raises(SignBindError) as raised:
        artefact.open_artefact(run)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_whole_run_is_opened_and_says_with_what_it_was_made(run, caplog):
    manifest = artefact.open_artefact(run).manifest
    assert set(manifest.files) == {"tokenizer/tokenizer.json", "tokenizer/text_tokenizer.json"}
    assert manifest.versions["numpy"] == [np.__version__]
    assert not caplog.messages


@pytest.mark.parametrize(
    "name", ["artefact.json", "tokenizer/tokenizer.json", "tokenizer/text_tokenizer.json"]
)
def test_flipped_bits_are_found_or_change_nothing(run, whole, name):
    wanted, path = content(whole), run / name
    intact, rng = path.read_bytes(), random.Random(name)
    for _ in range(60):
        place = rng.randrange(len(intact))
        flipped = intact[place] ^ 1 << rng.randrange(8)
        path.write_bytes(intact[:place] + bytes([flipped]) + intact[place + 1 :])
        try:
            assert content(run) == wanted
        except SignBindError as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("damage", ["gone", "empty"])
@pytest.mark.parametrize("name", ["artefact.json", "tokenizer/tokenizer.json"])
def test_a_file_that_is_gone_or_empty_is_named(run, name, damage):
    (run / name).unlink() if damage == "gone" else (run / name).write_bytes(b"")
    assert str(run / name) in refusal(run)


@pytest.mark.parametrize(
    "other, field", [({"seed": 1}, "config_digest"), ({"texts": TEXTS[:1]}, "files.tokenizer/")]
)
def test_files_of_two_runs_are_told_apart(run, tmp_path, other, field):
    another = write_run(tmp_path / "another", **other)
    for path in another.rglob("*.json"):
        if "checkpoints" not in path.parts:
            (run / path.relative_to(another)).write_bytes(path.read_bytes())
    assert field in refusal(run)


def test_another_keypoint_layout_is_refused_for_what_reads_poses(run, monkeypatch):
    monkeypatch.setattr(artefact.keypoints, "LAYOUT_VERSION", "another")
    artefact.open_artefact(run)  # a language model reads none
    record = sealed.read(run / "artefact.json")
    sealed.write(run / "artefact.json", record | {"model": model_record(ExpertConfig("pose", 2))})
    assert "keypoint_layout: found" in refusal(run)


def test_a_manifest_that_went_missing_is_no_earlier_step(run, whole):
    newer = run / "checkpoints/step_00000002/state"
    newer.mkdir(parents=True)
    assert "step 2: found its arrays and no manifest.json" in refusal(run)
    (newer.parent / "manifest.json.partial").touch()  # a save that is under way
    assert content(run) == content(whole)


def test_a_newest_step_that_is_gone_is_told(run, whole, caplog):
    ended = {"seconds": 1.0, "finished": True, "scores": {}, "config_digest": "0"}
    write_summary(run, ended | {"step": 1})
    assert content(run) == content(whole) and not caplog.messages
    write_summary(run, ended | {"step": 2})
    assert content(run) == content(whole)
    assert "found 1, though summary.json tells of step 2" in caplog.messages[0]


def test_an_artefact_without_digests_is_opened_with_a_note(run, caplog):
    record = sealed.read(run / "artefact.json")
    del record["identity"]
    (run / "artefact.json").write_text(json.dumps(record))
    artefact.open_artefact(run)
    assert f"{run / 'artefact.json'}: found no digest" in caplog.messages[0]
    (run / "artefact.json").write_text(json.dumps(record | {"stage": "translation"}))
    assert "stage: found language_model, wanted translation" in refusal(run)


def test_the_digest_children_know_does_not_hang_on_versions(run):
    manifest = artefact.open_artefact(run).manifest
    wanted = artefact_digest(manifest)
    manifest.versions["jax"] = ["0.1"]
    assert artefact_digest(manifest) == wanted
    manifest.files["tokenizer/tokenizer.json"] = "0" * 64
    assert artefact_digest(manifest) != wanted


@pytest.mark.parametrize(
    "change",
    [
        {"vocabularies": 3},
        {"vocabularies": [{"name": "x"}]},
        {"vocabularies": [[]]},
        {"vocabularies": [{"name": "x", "tokens": [["<blank>"]]}]},
        {"parents": {"fusion": 3}},
        {"parents": None},
        {"config": {"stage": 3}},
        {"config": {"stpes": 3}},
        {"model": []},
        {"stage": None},
    ],
)
def test_what_no_training_writes_is_one_line_that_names_the_file(run, change):
    record = sealed.read(run / "artefact.json")
    identity = {k: v for k, v in record["identity"].items() if k not in change}
    sealed.write(run / "artefact.json", record | {"identity": identity} | change)
    assert str(run / "artefact.json") in refusal(run)


@pytest.mark.parametrize(
    "config, key",
    [
        (RunConfig("language_model", log_every=1, steps=7), "steps: found 1000, wanted 7"),
        (
            RunConfig("language_model", data=DataConfig("d", train="b", threads=3)),
            "data.train: found 'train', wanted 'b'",
        ),
    ],
)
def test_another_run_is_told_by_a_key_that_decides_the_weights(run, config, key):
    with pytest.raises(SignBindError, match=key):
        artefact.check_resumable(run, config)


def test_a_damaged_artefact_is_not_taken_for_another_run(run):
    text = (run / "artefact.json").read_text()
    (run / "artefact.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(SignBindError, match=r"artefact.json: digest: .* put a good copy there"):
        artefact.check_resumable(run, RunConfig("language_model"))


def test_a_field_that_is_gone_is_no_matter_where_it_changed_nothing():
    config = tiny_decoder().config
    record = model_record(config)
    record["config"]["prefix_sees_all"] = False
    assert read_model_config(record, "run: model") == config
    record["config"]["prefix_sees_all"] = True
    with pytest.raises(SignBindError, match=r"run: model\.config\.prefix_sees_all: unknown name"):
        read_model_config(record, "run: model")
