"""The whole system through its own commands, at a size that takes a minute or two."""

import json
import re
import shlex
import shutil

import jax
import numpy as np
import pytest
from flax import nnx

from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.hf.pretrained import open_pretrained
from signbind_jax.use.bundle import open_bundle
from tests.conftest import signbind, signbind_process
from tests.unit.hf.tiny_pretrained import write_pretrained

VARIANTS = {"signing", "signing+fingerspelling", "signing+lips", "all", "oracle_text"}
COLUMNS = {
    "bleu4",
    "bleu_signature",
    "chrf",
    "name_recall",
    "homonym_accuracy",
    "role",
    "lonely_twin",
    "adjacent_names",
}


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """A finished smoke run: its directory and what it printed."""
    run = tmp_path_factory.mktemp("quickstart") / "run"
    done = signbind_process("quickstart", "--smoke", f"--workdir={run}", timeout=900)
    yield run, done.stdout
    jax.clear_caches()


def test_quickstart_trains_scores_and_reports(quickstart):
    run, printed = quickstart
    assert str(run / "report.html") in printed
    results = json.loads((run / "results.json").read_text())
    assert set(results["translation"]) == VARIANTS
    assert all(set(row) >= COLUMNS for row in results["translation"].values())
    assert results["stages"]["signing"]["steps"] == 20
    assert results["seconds_total"] > 0 and results["peak_rss_gb"] > 0.1
    page = (run / "report.html").read_text()
    assert "synthetic" in page and "<script" not in page
    examples = json.loads((run / "examples.json").read_text())
    assert len(examples) == 12 and all(e["id"] in page for e in examples)


def test_finished_run_keeps_its_figures(quickstart):
    run, _ = quickstart
    before = (run / "results.json").read_text()
    done = signbind("quickstart", "--smoke", f"--workdir={run}")
    assert "homonym_accuracy" in done.stdout and str(run / "report.html") in done.stdout
    assert (run / "results.json").read_text() == before


def test_it_says_what_to_do_next_and_that_works(quickstart, tmp_path):
    run, printed = quickstart
    commands = re.findall(r"^[a-z ]+: +signbind (.*)$", printed, re.MULTILINE)
    translate, serve, export = (shlex.split(command, comments=True) for command in commands)
    assert [translate[0], serve[0], export[:2]] == ["translate", "serve", ["export", "translator"]]
    clips = sorted((run / "examples").glob("*.npz"))
    assert len(clips) == 6 and translate[-1] == f"{run / 'examples'}/*.npz"
    done = signbind(*translate)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [x.name for x in clips]
    assert not done.stderr, "an example lacks a stream or was repaired"
    signbind(*[argument.replace("=DIR", f"={tmp_path / 'demo'}") for argument in export])
    bundle = open_bundle(tmp_path / "demo")
    assert bundle.facts["synthetic"]
    assert [e.path.read_bytes() for e in bundle.examples()] == [x.read_bytes() for x in clips]


def test_frozen_experts_are_not_run_again(quickstart):
    run, _ = quickstart
    streams = {path: path.stat().st_mtime_ns for path in (run / "streams").iterdir()}
    done = signbind("evaluate", f"--checkpoint={run / 'translation'}", f"--data={run / 'data'}")
    assert "all/bleu4" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (run / "streams").iterdir()} == streams


@pytest.mark.parametrize(("stage", "metric"), [("signing", "gloss_wer"), ("fusion", "token_error")])
def test_any_stage_can_be_scored(quickstart, stage, metric, tmp_path):
    run, _ = quickstart
    scores = tmp_path / "scores.json"
    done = signbind(
        "evaluate",
        f"--checkpoint={run / stage}",
        f"--data={run / 'data'}",
        "--split=validation",
        f"--json={scores}",
    )
    assert metric in done.stdout
    assert json.loads(scores.read_text())["split"] == "validation"


def test_recordings_are_translated_and_what_they_lack_is_told(quickstart, recorded, tmp_path):
    run, _ = quickstart
    pose = recorded / "dgs" / "a1859979.pose"
    torn, extracted = tmp_path / "torn.npz", tmp_path / "extracted.npz"
    torn.write_bytes(b"PK")
    points = np.random.default_rng(0).normal(0, 4, (40, 133, 2)).cumsum(0)
    np.savez(extracted, keypoints=points, fps=25.0, lips=np.zeros((40, 24, 24), np.uint8))
    command = (
        "translate",
        f"--checkpoint={run / 'translation'}",
        "--format=json",
        pose,
        torn,
        extracted,
    )
    done = signbind(*command, check=False)
    assert done.returncode == 1
    first, second = map(json.loads, done.stdout.splitlines())
    assert [first["clip"], second["clip"]] == [str(pose), str(extracted)]
    # The pose has no mouth crops: that stream is absent, not invented.
    assert first["no_input"] == ["lipreading"] and first["streams"]["lipreading"] == []
    assert second["no_input"] == [] and isinstance(second["sentence"], str)
    error, lacks = done.stderr.strip().splitlines()[-2:]
    assert error.startswith(f"signbind: error: {torn}: ")
    assert lacks == f"signbind: lipreading: no input in 1 of 2 clips ({pose.name})"


def refused(*arguments) -> str:
    done = signbind(*arguments, check=False)
    assert done.returncode in (1, 2)
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("signbind: error:") and "Traceback" not in done.stderr
    return lines[-1]


def test_wrong_input_is_refused_in_one_line(quickstart, tmp_path):
    run, _ = quickstart
    data, system = f"--data={run / 'data'}", f"--checkpoint={run / 'translation'}"
    assert "validation" in refused("evaluate", system, data, "--split=tset")
    assert "wanted a bundle" in refused("evaluate", f"--checkpoint={tmp_path}", data)
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"no video")
    assert "cannot be read as a video" in refused("translate", system, video)
    assert "translation" in refused("translate", f"--checkpoint={run / 'signing'}", video)


@pytest.fixture(scope="module")
def other_signing(tmp_path_factory):
    """A signing expert of another corpus."""
    root = tmp_path_factory.mktemp("other")
    signbind(
        "data",
        "build",
        "synthetic",
        f"--out={root / 'data'}",
        "--seed=7",
        "--train=8",
        "--validation=1",
        "--test=1",
        "--time_split=1",
        "--workers=1",
    )
    signbind(
        "train",
        "--config=signing:size=tiny",
        f"--workdir={root / 'signing'}",
        "--config.steps=1",
        f"--config.data.directory={root / 'data'}",
        "--config.data.validation=",
    )
    return root / "signing"


def test_parent_with_another_vocabulary_is_refused(quickstart, other_signing, tmp_path):
    run, _ = quickstart
    parents = {
        name: run / name for name in ("fingerspelling", "lipreading", "language_model", "fusion")
    } | {"signing": other_signing}
    error = refused(
        "train",
        "--config=alignment:size=tiny",
        f"--workdir={tmp_path / 'alignment'}",
        f"--config.data.directory={run / 'data'}",
        *(f"--config.parents.{name}={path}" for name, path in parents.items()),
    )
    assert f"{run / 'fusion'}: vocabularies.gloss: found" in error
    assert "found" in error and "wanted" in error
    assert not (tmp_path / "alignment" / "checkpoints").exists()


def test_expert_trained_again_after_its_child_is_refused(quickstart, other_signing, tmp_path):
    run, _ = quickstart
    copy = tmp_path / "run"
    shutil.copytree(run, copy, symlinks=True)
    shutil.rmtree(copy / "signing")
    shutil.copytree(other_signing, copy / "signing")
    error = refused("evaluate", f"--checkpoint={copy / 'translation'}", f"--data={copy / 'data'}")
    assert "signing" in error and "trained again" in error


def test_run_directory_of_another_config_is_refused(quickstart):
    run, _ = quickstart
    error = refused(
        "train",
        "--config=signing:size=tiny",
        f"--workdir={run / 'signing'}",
        f"--config.data.directory={run / 'data'}",
        "--config.seed=5",
    )
    assert "seed: found 0, wanted 5" in error


def test_impossible_targets_stop_the_start(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    points = np.random.default_rng(0).uniform(100, 200, (8, 133, 2))
    np.savez(corpus / "a.npz", keypoints=points, fps=25.0)
    glosses = " ".join(f"G{i}" for i in range(9))
    (corpus / "manifest.tsv").write_text(
        f"id\tsplit\ttext\tpose\tgloss\na\ttrain\tToo much for 8 frames.\ta.npz\t{glosses}\n"
    )
    signbind(
        "data", "build", "folder", f"--source={corpus}", f"--out={tmp_path / 'data'}", "--workers=1"
    )
    error = refused(
        "train",
        "--config=signing:size=tiny",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.directory={tmp_path / 'data'}",
    )
    assert "longer than the CTC output" in error and "data.max_impossible" in error
    assert "9 steps needed, 8 there at a step a frame" in error


def test_adapters_are_tuned_and_the_llm_stays(quickstart, tmp_path):
    run, _ = quickstart
    tuned = tmp_path / "translation"
    parents = ("signing", "fingerspelling", "lipreading", "language_model", "alignment")
    signbind(
        "train",
        "--config=translation:size=tiny",
        f"--workdir={tuned}",
        "--config.steps=3",
        f"--config.data.directory={run / 'data'}",
        "--config.options.lora_rank=4",
        "--config.data.validation=",
        *(f"--config.parents.{name}={run / name}" for name in parents),
    )
    before = open_artefact(run / "alignment").load_model().decoder
    after = open_artefact(tuned).load_model().decoder
    np.testing.assert_array_equal(before.layers.q.kernel[...], after.layers.q.kernel[...])
    assert np.abs(after.layers.q.lora.b[...]).max() > 0


def test_a_pretrained_llm_is_tuned_by_adapters_and_stays_in_its_directory(quickstart, tmp_path):
    run, _ = quickstart
    llm = write_pretrained(tmp_path / "llm")
    own = {name: run / name for name in ("signing", "fingerspelling", "lipreading")}
    own["language_model"] = llm
    for stage, parent, extra in (
        ("alignment", {"fusion": run / "fusion"}, ["--config.options.frozen_dtype=bfloat16"]),
        ("translation", {"alignment": tmp_path / "alignment"}, ["--config.options.lora_rank=4"]),
    ):
        signbind(
            "train",
            f"--config={stage}:size=tiny",
            f"--workdir={tmp_path / stage}",
            "--config.steps=3",
            f"--config.data.directory={run / 'data'}",
            *extra,
            "--config.data.validation=",
            f"--config.data.stream_cache={run / 'streams'}",
            *(f"--config.parents.{k}={v}" for k, v in (own | parent).items()),
        )
    tuned = open_artefact(tmp_path / "translation")
    stored = [name for name in tuned.manifest.arrays if "/decoder/" in name]
    assert stored and all("/lora/" in name for name in stored)
    decoder = tuned.load_model().decoder
    assert np.abs(decoder.layers.q.lora.b[...]).max() > 0
    written = dict(nnx.to_flat_state(open_pretrained(llm).load_params()[1]))
    np.testing.assert_array_equal(
        decoder.layers.q.kernel[...], written["layers", "q", "kernel"][...]
    )
    data = f"--data={run / 'data'}"
    done = signbind("evaluate", f"--checkpoint={tmp_path / 'translation'}", data)
    assert "all/bleu4" in done.stdout
    (llm / "tokenizer.json").write_text((llm / "tokenizer.json").read_text() + " ")
    assert "not the model" in refused("evaluate", f"--checkpoint={tuned.workdir}", data)
