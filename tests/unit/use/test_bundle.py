"""Bundles: they load alone, hold what the run held, and nothing else is taken for one."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import signbind_jax as sb
from signbind_jax import cli, sealed
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.data_config import DataConfig
from signbind_jax.errors import SignBindError
from signbind_jax.use import export_command, model_card, opening
from signbind_jax.use.bundle import open_bundle as open_directory
from signbind_jax.use.bundle import write_part
from tests import signed_recordings, untrained_runs
from tests.conftest import signbind_process
from tests.hub import Hub, serving
from tests.unit.hf.tiny_pretrained import write_pretrained


def test_alone_it_writes_what_the_run_writes_to_the_bit(runs, bundle, tmp_path):
    alone = shutil.copytree(bundle, tmp_path / "copy")
    clip = shutil.copyfile(runs / "a.npz", tmp_path / "a.npz")
    away = {"HOME": str(tmp_path / "home"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    (tmp_path / "home").mkdir()
    done = signbind_process("translate", f"--checkpoint={alone}", "--format=json", clip, env=away)
    of_run = signbind_process(
        "translate", f"--checkpoint={runs / 'alignment'}", "--format=json", clip
    )
    assert json.loads(done.stdout) == json.loads(of_run.stdout) and not done.stderr
    assert json.loads(done.stdout)["sentence"]


def weights(run) -> dict:
    return {path: x.get_value() for path, x in nnx.to_flat_state(run.load_params()[1])}


def check_same(one: dict, other: dict):
    assert one.keys() == other.keys()
    for path in one:
        assert one[path].dtype == other[path].dtype, path
        assert np.array_equal(one[path], other[path]), path


def test_every_weight_is_that_of_the_run(runs, bundle):
    run, experts = opening.open_translator(bundle)
    check_same(weights(run), weights(open_artefact(runs / "alignment")))
    check_same(weights(experts["signing"]), weights(open_artefact(runs / "signing")))
    assert run.digest == open_artefact(runs / "alignment").digest
    assert run.tokenizer.digest == open_artefact(runs / "alignment").tokenizer.digest


def test_no_path_of_the_machine_is_in_it(runs, bundle):
    for path in bundle.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert str(runs).encode() not in data and b"../" not in data, path


def test_a_language_model_of_others_is_in_it_with_its_adapters_and_terms(runs, tmp_path):
    llm = write_pretrained(tmp_path / "llm")
    (llm / "LICENSE").write_text("Terms.")
    given = {"parents.signing": str(runs / "signing"), "options.frozen_dtype": "bfloat16"}
    given["parents.language_model"] = str(llm)
    behind = {"alignment": {"parents.fusion": str(runs / "fusion")}}
    behind["translation"] = {"parents.alignment": str(tmp_path / "alignment")}
    behind["translation"]["options.lora_rank"] = "2"
    for name, more in behind.items():
        untrained_runs.write_run(name, runs, workdir=tmp_path / name, **given, **more)
    of_run = weights(open_artefact(tmp_path / "translation"))
    assert {x.dtype.name for x in of_run.values()} == {"float32", "bfloat16"}
    export_command.export_translator(tmp_path / "translation", tmp_path / "out")
    shutil.rmtree(llm)
    check_same(weights(opening.open_translator(tmp_path / "out")[0]), of_run)
    assert (tmp_path / "out" / "translator" / "terms" / "LICENSE").read_text() == "Terms."
    assert (
        "the language model llm, tuned for it, writes"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_bfloat16_halves_the_weights_and_rounds_them_once(runs, bundle, tmp_path):
    out = tmp_path / "half"
    arguments = [f"--checkpoint={runs / 'alignment'}", f"--out={out}", "--dtype=bfloat16"]
    assert cli.main(["export", "translator", *arguments]) == 0
    size, whole = ((x / "translator" / "model.safetensors").stat().st_size for x in (out, bundle))
    assert size < 0.55 * whole
    rounded = {
        path: x.astype("bfloat16").astype("float32")
        for path, x in weights(open_artefact(runs / "alignment")).items()
    }
    check_same(weights(opening.open_translator(out)[0]), rounded)
    assert "rounded to bfloat16" in (out / "README.md").read_text()


def test_int8_makes_a_quarter_of_them_and_rounds_by_half_a_step(runs, bundle, tmp_path, capsys):
    out = tmp_path / "small"
    arguments = [f"--checkpoint={runs / 'alignment'}", f"--out={out}", "--dtype=int8"]
    assert cli.main(["export", "translator", *arguments]) == 0
    size, whole = ((x / "translator" / "model.safetensors").stat().st_size for x in (out, bundle))
    assert size < 0.35 * whole
    found, of_run = (
        weights(x) for x in (opening.open_translator(out)[0], open_artefact(runs / "alignment"))
    )
    for path, x in of_run.items():
        assert found[path].dtype == x.dtype == np.float32, path
        if x.ndim < 2:
            assert np.array_equal(found[path], x), path
        else:
            # 254 steps from the least to the largest weight of an output.
            assert np.abs(found[path] - x).max() <= np.abs(x).max() / 254 * 1.001, path
    # An output whose weights are small is rounded by its own largest.
    path = ("decoder", "layers", "down", "kernel")
    rounded_by = np.abs(found[path] - of_run[path])
    assert (rounded_by <= np.abs(of_run[path]).max(1, keepdims=True) / 254 * 1.001).all()
    assert rounded_by.max() > 0
    assert "rounded to int8" in (out / "README.md").read_text()
    capsys.readouterr()
    assert cli.main(["translate", f"--checkpoint={out}", str(runs / "a.npz")]) == 0
    assert capsys.readouterr().out.startswith("a.npz\t")


def test_a_segmenter_goes_with_it_and_cuts_recordings(runs, bundle, segmenter, tmp_path, capsys):
    out, talk = tmp_path / "with", tmp_path / "talk.npz"
    signed_recordings.write(talk, [(0.5, 3.5), (4.5, 7.5)], 8)
    command = ["export", "translator", f"--checkpoint={runs / 'alignment'}", f"--out={out}"]
    assert cli.main([*command, f"--segmenter={segmenter}"]) == 0
    check_same(weights(open_directory(out).segmenter()), weights(open_artefact(segmenter)))
    data = str((runs / "data").resolve())
    assert open_artefact(segmenter).config.data.directory == data
    card = (out / "README.md").read_text()
    assert "segmentation" in card and data not in card
    assert sb.load_translator(bundle).segmenter is None
    written = []
    for given in ([f"--checkpoint={out}"], [f"--checkpoint={bundle}", f"--segmenter={segmenter}"]):
        capsys.readouterr()
        assert cli.main(["translate", *given, "--segment", "--longest=20", str(talk)]) == 0
        written.append(capsys.readouterr())
    assert written[0] == written[1] and "the segmenter found a boundary" in written[0].err
    assert cli.main([*command, f"--segmenter={runs / 'signing'}", f"--out={tmp_path / 'x'}"]) == 1
    assert "stage: found signing, wanted segmentation" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_no_place_that_a_config_names_goes_with_it(runs, tmp_path):
    places = {}
    for field in dataclasses.fields(DataConfig):
        if field.default == "":
            with contextlib.suppress(SignBindError):  # no place where it takes other values
                DataConfig(**{field.name: "/home/me"})
                places[field.name] = f"/home/me/{field.name}"
    assert {"directory", "spellings", "sign_order"} <= places.keys()
    run = open_artefact(runs / "fusion")
    data = dataclasses.replace(run.config.data, **places)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, data=data))
    write_part(run, tmp_path / "part", "float32", {})
    assert "/home/me" not in (tmp_path / "part" / "part.json").read_text()


def test_the_same_run_gives_the_same_bytes(runs, bundle, tmp_path):
    again = tmp_path / bundle.name
    export_command.export_translator(runs / "alignment", again)
    listed = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert listed == sorted(p.relative_to(bundle) for p in bundle.rglob("*") if p.is_file())
    differ = [x for x in listed if (again / x).read_bytes() != (bundle / x).read_bytes()]
    assert not differ


def flip(path: Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rewrite(change):
    """Changes the manifest, whose own digest then is right again."""

    def spoil(directory: Path):
        record = sealed.read(directory / "bundle.json")
        change(record)
        sealed.write(directory / "bundle.json", record)

    return spoil


def of_another(directory: Path):
    """Its expert is not the one that it was trained with, though all digests hold."""
    path = directory / "experts" / "signing" / "part.json"
    record = json.loads(path.read_text())
    manifest = sealed.unseal(json.loads(record["manifest"]), "")
    manifest["manifest"]["extra"]["step"] = 7
    path.write_text(json.dumps(record | {"manifest": json.dumps(sealed.seal(manifest))}))
    data = path.read_bytes()
    file = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(lambda r: r["files"].update({"experts/signing/part.json": file}))(directory)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: flip(d / "translator/model.safetensors"), "model.safetensors: sha256: found"),
        (lambda d: flip(d / "experts/signing/part.json"), "signing/part.json: sha256: found"),
        (lambda d: flip(d / "translator/tokenizer/tokenizer.json"), "tokenizer.json: sha256"),
        (lambda d: flip(d / "bundle.json"), "bundle.json: "),
        (rewrite(lambda r: r.update(format=2)), "bundle.json: format: found 2, wanted at most 1"),
        (lambda d: shutil.rmtree(d / "translator/tokenizer"), "text_tokenizer.json: no such file"),
        (lambda d: shutil.rmtree(d / "experts"), "signing/model.safetensors: no such file"),
        (lambda d: (d / "translator/part.json").write_text("{}"), "part.json: found 2 bytes"),
        (
            rewrite(lambda r: r["files"].update({"../x": {"bytes": 1, "sha256": ""}})),
            "files: found '../x', wanted the name of a file in it",
        ),
        (
            rewrite(lambda r: [r["files"].pop(n) for n in list(r["files"]) if "experts" in n]),
            "expert: found no 'signing', wanted one of none",
        ),
        (
            rewrite(lambda r: [r["files"].pop(n) for n in list(r["files"]) if "tokenizer" in n])
            and (lambda d: shutil.rmtree(d / "translator/tokenizer")),
            "tokenizer.json: no such file",
        ),
        (of_another, "not the expert that the translator was trained with"),
        (lambda d: (d / "bundle.json").unlink(), "found no bundle.json and no artefact.json there"),
    ],
)
def test_what_is_damaged_or_missing_is_named_in_one_line(bundle, tmp_path, spoil, said):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    spoil(copy)
    with pytest.raises(SignBindError) as error:
        sb.load_translator(copy)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_card_may_be_changed(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "README.md").write_text("Ours.")
    opening.open_translator(copy)


def test_nothing_is_overwritten_and_nothing_left_half_written(runs, tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    (tmp_path / "scores.json").write_text(json.dumps({"stage": "alignment", "step": 2}))
    for checkpoint, more, said in (
        ("alignment", [f"--out={tmp_path / 'taken'}"], "found something there"),
        ("alignment", [f"--scores={tmp_path / 'scores.json'}"], "step: found 2, wanted 1"),
        ("fusion", [], "stage: found fusion, wanted alignment or translation"),
        ("none", [], "none/artefact.json: no such file"),
    ):
        arguments = [f"--checkpoint={runs / checkpoint}", f"--out={tmp_path / 'out'}", *more]
        assert cli.main(["export", "translator", *arguments]) == 1
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert sorted(x.name for x in tmp_path.iterdir()) == ["scores.json", "taken"]


def test_facts_of_a_bundle_are_those_of_its_run(runs, bundle):
    of_run, own = (sb.load_translator(x).facts for x in (runs / "alignment", bundle))
    assert own == of_run | {"name": "translator"} and of_run["name"] == "alignment"
    assert own["data"][0]["corpus"] == "folder" and own["streams"] == {"signing": 1}


def test_a_step_is_a_runs_alone(bundle):
    with pytest.raises(SignBindError, match="--step: found 1 of a bundle, wanted nothing"):
        opening.open_translator(bundle, 1)


def test_evaluate_scores_a_bundle_as_its_run(runs, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = sorted(bundle.rglob("*"))
    found = {}
    for checkpoint in (bundle, runs / "alignment"):
        path = tmp_path / "scores.json"
        arguments = [f"--checkpoint={checkpoint}", f"--data={runs / 'data'}", f"--json={path}"]
        assert cli.main(["evaluate", *arguments, "--variants=all"]) == 0
        found[checkpoint] = json.loads(path.read_text())["scores"]
    assert found[bundle] == found[runs / "alignment"] and found[bundle]["all"]["n"] == 4
    assert sorted(bundle.rglob("*")) == before, "evaluation writes into the bundle"


def test_the_card_says_what_is_known(runs, tmp_path):
    evaluated = tmp_path / "scores.json"
    scores = {"bleu4": 12.345, "bleu_signature": "nrefs:1|case:mixed", "n": 4, "n_names": 0}
    record = {"stage": "alignment", "step": 1, "split": "test", "scores": {"all": scores}}
    evaluated.write_text(json.dumps(record))
    export_command.export_translator(runs / "alignment", tmp_path / "out", evaluated=evaluated)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| folder | 4 | ?, ? | not stated by the dataset |" in card
    assert "| alignment | test | bleu4 | 12.35 | nrefs:1\\|case:mixed |" in card
    assert "**It errs.**" in card and "in place of an interpreter" in card
    assert "ynthetic" not in card


def test_the_card_says_synthetic_and_the_datas_terms(synthetic, runs):
    run = open_artefact(runs / "alignment")
    data = dataclasses.replace(run.config.data, directory=str(synthetic))
    config = dataclasses.replace(run.config, data=data)
    run = dataclasses.replace(run, config=config, parents={})
    facts = model_card.facts_of(run, {})
    assert facts["synthetic"] and facts["data"][0]["clips"] == 48
    card = model_card.render(facts, "float32")
    assert "**Synthetic: " in card and "- synthetic\n" in card and "(synthetic) | 48 | " in card
    # Of data that is not there any more nothing is claimed.
    data = dataclasses.replace(data, directory="gone")
    run = dataclasses.replace(run, config=dataclasses.replace(config, data=data))
    facts = model_card.facts_of(run, {})
    assert not facts["synthetic"] and facts["unknown"] == ["alignment"]
    facts["data"] = [
        {
            "corpus": "how2sign",
            "synthetic": False,
            "licence": "CC BY-NC 4.0",
            "citation": "D. et al.",
        }
        | {"clips": 3, "stages": ["signing"], "text_languages": ["en"], "signed_languages": ["ase"]}
    ]
    card = model_card.render(facts, "float32")
    assert (
        "| how2sign | 3 | ase, en | CC BY-NC 4.0 | signing |" in card
        and "- how2sign: D. et al." in card
    )
    assert "The data of alignment was not there" in card


class FakeHub:
    """What a hub was given; it is somebody else's service."""

    uploaded: dict = {}

    def create_repo(self, name, exist_ok):
        assert exist_ok
        if name == "not/mine":
            raise PermissionError("403 Forbidden\nsecond line")

    def upload_folder(self, repo_id, folder_path):
        self.uploaded[repo_id] = sorted(
            x.relative_to(folder_path).as_posix()
            for x in Path(folder_path).rglob("*")
            if x.is_file()
        )
        return f"hub/{repo_id}"


def test_push_uploads_the_bundle_and_keeps_it_where_the_hub_refuses(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    base = ["export", "translator", f"--checkpoint={runs / 'alignment'}"]
    assert cli.main([*base, f"--out={tmp_path / 'a'}", "--push=some/model"]) == 0
    assert "hub/some/model" in capsys.readouterr().out
    assert "bundle.json" in FakeHub.uploaded["some/model"]
    assert "translator/tokenizer/tokenizer.json" in FakeHub.uploaded["some/model"]
    assert cli.main([*base, f"--out={tmp_path / 'b'}", "--push=not/mine"]) == 1
    err = capsys.readouterr().err
    assert "not/mine: the hub says: PermissionError: 403 Forbidden" in err and err.count("\n") == 1
    opening.open_translator(tmp_path / "b")
    with pytest.raises(SystemExit):
        cli.main([*base, f"--out={tmp_path / 'c'}", "--push=nobody"])
    assert not (tmp_path / "c").exists()


def test_a_hub_id_is_downloaded_once_and_then_needs_no_hub(bundle, tmp_path):
    listed = [path for path in bundle.rglob("*") if path.is_file()]
    Hub.files = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in listed}
    Hub.files["pytorch_model.bin"] = b"pickle"
    code = "from signbind_jax.use import opening as o; print(o.open_stage('some/model').digest)"

    def opened(env: dict) -> str:
        command = [sys.executable, "-c", code]
        env = {**os.environ, **env}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    with serving(tmp_path / "hub") as env:
        found = opened(env)
    assert found.strip() == opening.open_translator(bundle)[0].digest
    assert "pytorch_model.bin" not in Hub.asked and "translator/part.json" in Hub.asked
    assert opened(env) == found  # the server is gone


def test_parts_of_a_bundle_stand_alone(runs, bundle, capsys):
    read = sb.load_expert(bundle)(runs / "a.npz")
    assert read and read == sb.load_expert(runs / "signing")(runs / "a.npz")
    assert read == sb.load_expert(runs / "alignment", "signing")(runs / "a.npz")
    fused = [sb.load_fusion(x)({"signing": read}) for x in (bundle, runs / "alignment")]
    assert fused[0] == fused[1] and set(fused[0]) <= set(sb.load_fusion(bundle).targets)
    assert sb.load_fusion(runs / "fusion")([{"signing": read}, {}])[1] == []
    jax.clear_caches()


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda r, b: sb.load_expert(b, "lipreading"), "expert: found signing, wanted lipreading"),
        (lambda r, b: sb.load_expert(r / "language_model"), "expert: found none, wanted one"),
        (lambda r, b: sb.load_fusion(r / "signing"), "stage: found signing, wanted fusion"),
        (lambda r, b: sb.load_translator(r / "signing"), "stage: found signing, wanted alignment"),
        (lambda r, b: sb.load_translator(r / "data"), "found no bundle.json and no artefact.json"),
        (lambda r, b: sb.load_translator(r / "gone"), "gone: found nothing there, wanted a bundle"),
        (
            lambda r, b: sb.load_fusion(b)({"hands": []}),
            "clip 0: stream: found 'hands', wanted one of signing",
        ),
        (
            lambda r, b: sb.load_fusion(b)({"signing": [("HOME", 2, 1)]}),
            "stream signing: token 0 'HOME': end: found 1",
        ),
    ],
)
def test_the_wrong_thing_is_told_in_one_line(runs, bundle, load, said):
    with pytest.raises(SignBindError) as error:
        load(runs, bundle)
    assert said in str(error.value) and "\n" not in str(error.value)
