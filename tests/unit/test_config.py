"""Configs: overrides reach their place, and what is wrong is named."""

import argparse
import json
import os

import pytest

from signbind_jax import cli, overrides
from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig, from_mapping, load_config
from signbind_jax.configs import common, real
from signbind_jax.errors import SignBindError
from signbind_jax.models.token_noise import TokenNoiseConfig
from signbind_jax.stages.sections import check_sections
from signbind_jax.streams import SHIPPED


def test_overrides_reach_every_section():
    config = load_config(
        "signing:size=tiny",
        {
            "steps": "7",
            "optim.learning_rate": "3e-4",
            "model.d_model": "64",
            "augment.speed": "0.2",
            "data.directory": "/data/with-dash",
            "parents.signing": "runs/1",
        },
    )
    assert isinstance(config, RunConfig)
    assert config.steps == 7 and config.optim.learning_rate == 3e-4
    assert config.model["d_model"] == 64 and config.augment["speed"] == 0.2
    assert config.data.directory == "/data/with-dash" and config.parents["signing"] == "runs/1"


@pytest.mark.parametrize(
    ("spec", "overrides", "words"),
    [
        ("singing", {}, ["--config", "'singing'", "'signing'"]),
        ("signing", {"optim.learning_rat": "1"}, ["config.optim", "'learning_rate'"]),
        ("signing", {"stepz": "1"}, ["'stepz'", "'steps'"]),
        ("signing", {"steps": "many"}, ["config.steps", "'many'", "a whole number"]),
        ("signing:sise=tiny", {}, ["'sise'", "'size'"]),
        ("no/such/file.py", {}, ["no/such/file.py", "no such file"]),
        ("configs/singing.py", {}, ["no such file", "'configs/signing.py'"]),
        ("configs/signing", {}, ["'configs/signing'", "'signing'"]),
    ],
)
def test_what_is_wrong_is_named_with_the_near_miss(spec, overrides, words):
    with pytest.raises(SignBindError) as caught:
        load_config(spec, overrides)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


TWO = "data.weights=(1.0, 3.0)", "data.directory=a,b"
# What is typed -> config -> value at a path
TYPED = [
    (["--config.steps=7"], "steps", 7),
    (["--config.steps", "7"], "steps", 7),
    (["-config.steps=7"], "steps", 7),
    (["--config.steps=7", "--config.steps=8"], "steps", 8),
    (["--config.mesh.data", "-1"], "mesh.data", -1),
    (["--config.optim.b2", "0"], "optim.b2", 0.0),
    (["--config.options.fused_text"], "options.fused_text", True),
    (["--config.options.fused_text", "--config.steps=7"], "options.fused_text", True),
    (["--noconfig.options.fused_text"], "options.fused_text", False),
    (["--noconfig.options.fused_text", "--config.steps=7"], "steps", 7),
    (["--config.options.fused_text=false"], "options.fused_text", False),
    (["--config.options.fused_text", "True"], "options.fused_text", True),
    (["--config.options.fused_text=0"], "options.fused_text", False),
    (
        [f"--config.{text}" for text in TWO] + ["--config.data.weights[0]=2"],
        "data.weights",
        (2.0, 3.0),
    ),
    (
        [f"--config.{text}" for text in TWO] + ["--config.data.weights[-1]", "2"],
        "data.weights",
        (1.0, 2.0),
    ),
    (["--config.options.lora_targets[0]=up"], "options.lora_targets.0", "up"),
    (["--config.data.directory=5"], "data.directory", "5"),
    (["--config.data.train='5'"], "data.train", "5"),
    (["--config.data.directory=a=b"], "data.directory", "a=b"),
    (["--config.data.validation="], "data.validation", ""),
]


def typed(*arguments: str) -> RunConfig:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parsed = overrides.parse(parser, ["--config=translation:size=tiny", *arguments])
    return load_config(parsed.config, parsed.overrides)


@pytest.mark.parametrize(
    ("arguments", "path", "wanted"), TYPED, ids=[" ".join(t[0]) for t in TYPED]
)
def test_what_users_of_config_flags_type_works(arguments, path, wanted):
    value = typed(*arguments).to_json()
    for name in path.split("."):
        value = value[int(name)] if name.isdigit() else value[name]
    assert value == wanted and type(value) is type(wanted)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--config.steps", "config.steps: found no value, wanted --config.steps=VALUE"),
        ("--config.data.train", "config.data.train: found no value, wanted --config.data.train=V"),
        ("--noconfig.steps", "config.steps: found --noconfig.steps, wanted --config.steps=VALUE"),
        ("--noconfig.stepz", "config.stepz: unknown name 'stepz'; did you mean 'steps'?"),
        ("--config.data", "config.data: found 'True', wanted one of its fields"),
        ("--config.data.weights[0]=2", "config.data.weights[0]: found 0 values there, wanted an "),
        ("--config.options.lora_targets[9]=q", "lora_targets[9]: found 7 values there"),
        ("--config.steps[0]=2", "config.steps[0]: found an index, wanted config.steps itself"),
        ("--config.steps[x]=2", "--config.PATH: found 'steps[x]', wanted names with dots"),
        ("--config.options.fused_txt", "config.options.fused_txt: unknown name"),
        ("--config.=2", "--config.PATH: found ''"),
    ],
)
def test_a_near_miss_on_the_command_line_is_named(argument, said, capsys, tmp_path):
    workdir = tmp_path / "run"
    command = ["train", "--config=translation:size=tiny", f"--workdir={workdir}", argument]
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not workdir.exists()


@pytest.mark.parametrize("spec", ["configs/signing.py", "configs/sweeps/../signing.py"])
def test_a_config_of_this_repository_by_its_path(spec, monkeypatch):
    monkeypatch.chdir(real.__file__.rpartition("/configs/")[0])
    for arg in ("", ":size=tiny"):
        assert load_config(f"{spec}{arg}") == load_config(f"signing{arg}")


def test_print_config_shows_all_that_would_train_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--config=signing:size=tiny", "--config.optim.learning_rate=3e-4"]
    assert cli.main([*command, "--print_config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = dict(line.split(" = ", 1) for line in lines)
    config = load_config("signing:size=tiny", {"optim.learning_rate": "3e-4"})
    assert shown.pop("digest") == config.digest
    assert shown["config.optim.learning_rate"] == "0.0003" and shown["config.stage"] == "'signing'"
    assert shown["config.model.conv_kernel"] == "9" and "config.augment.rotation" in shown
    assert not list(tmp_path.iterdir())
    # What is shown can be typed, and gives the same values.
    again = [f"--{path}={value}" for path, value in shown.items()]
    assert cli.main(["train", "--config=signing", *again, "--print_config"]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == lines[:-1]
    assert cli.main([*command, "--print_config", "--config.augment.rotaton=1"]) == 1
    assert "did you mean 'rotation'?" in capsys.readouterr().err


def test_digest_is_about_the_weights_alone():
    base = load_config("signing", {"data.directory": "a"})
    assert base.digest == load_config("signing", {"data.directory": "b"}).digest
    assert base.digest != load_config("signing", {"seed": "1"}).digest
    assert base.digest != load_config("signing", {"model.d_model": "64"}).digest


def test_the_assumed_senses_of_before_are_fusion_targets():
    run = load_config("fusion").to_json()
    run["assumed"]["senses"] = 7
    assert from_mapping(RunConfig, run).assumed.fusion_targets == 7


def test_runs_from_when_streams_were_given_by_position_are_read_and_keep_their_digest(tmp_path):
    config = load_config("fusion:size=few", {"assumed.streams.lipreading": "50"})
    assert config.assumed.streams == {"signing": 1024, "fingerspelling": 32, "lipreading": 50}
    old = config.to_json()
    old["augment"] |= {
        "drop": (0.0,) * 3,
        "substitute": (0.0,) * 3,
        "drop_stream": (0.0, 0.15, 0.3),
    }
    old["assumed"]["streams"] = [1024, 32, 50]
    (tmp_path / "artefact.json").write_text(json.dumps({"config": old}))
    (tmp_path / "checkpoints" / "step_00000001").mkdir(parents=True)
    assert not artefact.check_resumable(tmp_path, config)


def test_a_stream_that_is_not_named_keeps_its_share():
    config = load_config("fusion", {"augment.drop.lipreading": "0.5"})
    noise = from_mapping(TokenNoiseConfig, config.augment)
    assert noise.shares("drop", SHIPPED).tolist() == pytest.approx([0.02, 0.01, 0.5])
    assert noise.shares("drop_stream", SHIPPED).tolist() == pytest.approx([0.05, 0.25, 0.25])


def test_a_config_that_takes_no_argument(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from signbind_jax.configs import common\n"
        "def get_config():\n    return common.run('fusion')\n"
    )
    assert load_config(str(path)).stage == "fusion"
    with pytest.raises(SignBindError, match="takes 0 positional arguments but 1 was given"):
        load_config(f"{path}:size=tiny")


def test_own_config_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from signbind_jax.configs import common\n"
        "def get_config(arg=None):\n"
        "    return common.run('signing', steps=int(arg))\n"
    )
    assert load_config(f"{path}:12").steps == 12


@pytest.mark.parametrize("corpus", sorted(real.CORPORA))
@pytest.mark.parametrize("stage", sorted(real.MODELS))
def test_real_sizes_give_every_chip_a_row_of_the_corpus(stage, corpus):
    for size, chips in (("base", 1), ("base", 8), ("large", 48)):
        config = load_config(f"{stage}:size={size},corpus={corpus},chips={chips}", {})
        row = config.data.row_frames or config.assumed.longest
        rows = config.data.frames_per_batch // row
        assert rows >= chips and rows % chips == 0 and config.data.batch_multiple == chips
        tuned = stage in ("alignment", "translation")
        assert config.epochs >= (2 if tuned else 10) and config.optim.warmup_share
        assert (100 if tuned else 1000) < config.steps < 100_000
        assert 10 < config.evaluate_every < config.steps / 10
        model = config.assumed.fusion if tuned else config.model
        assert model["d_model"] == (512 if size == "base" else 1024)
        check_sections(config)


def test_mouths_of_real_corpora_are_augmented_and_every_phoneme_has_a_step():
    drawn, real_mouths = load_config("lipreading"), load_config("lipreading:size=base")
    assert real_mouths.augment["lip_shift"] > drawn.augment["lip_shift"] == 0
    assert real_mouths.augment["brightness"] > drawn.augment["brightness"] == 0
    assert real_mouths.model["subsample"] == 1 and real_mouths.assumed.lip_size == 96


def test_nobody_labelled_the_clips_of_bobsl_that_have_no_spotting():
    for stage in ("signing", "fusion"):
        assert load_config(f"{stage}:size=base,corpus=bobsl").data.keep_empty == 0
        assert load_config(f"{stage}:size=base,corpus=how2sign").data.keep_empty == 1


def test_open_models_are_tuned_for_epochs_of_whatever_corpus():
    for stage in ("alignment", "translation"):
        assert load_config(f"{stage}:llm=llama-3.2-1b,chip=v5p,chips=4").epochs >= 2


@pytest.mark.parametrize("stage", sorted(common.NATURAL))
def test_every_value_of_the_natural_size_is_one_that_the_stage_has(stage):
    config = load_config(f"{stage}:size=natural")
    check_sections(config)
    assert config.model["dropout"] > load_config(stage).model["dropout"]


def test_a_corpus_or_a_number_of_chips_that_is_none_is_refused():
    with pytest.raises(SignBindError, match="corpus.*how2sign"):
        load_config("signing:size=base,corpus=how2sing", {})
    with pytest.raises(SignBindError, match="chips: found 0"):
        load_config("fusion:size=large,chips=0", {})


@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_what_is_no_config_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "mine.py"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(2**32)
    told = {"pipe": "found a named pipe, wanted a file", "huge": "found 4,294,967,296 bytes"}
    with pytest.raises(SignBindError, match=f"--config: {path}: {told[kind]}"):
        load_config(str(path))
