"""Configs: overrides reach their place, and what is wrong is named."""

import json

import pytest

from configs import real
from signbind_jax import artefact
from signbind_jax.config import RunConfig, from_mapping, load_config
from signbind_jax.errors import SignBindError
from signbind_jax.streams import SHIPPED
from signbind_jax.token_noise import TokenNoiseConfig


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
    ],
)
def test_what_is_wrong_is_named_with_the_near_miss(spec, overrides, words):
    with pytest.raises(SignBindError) as caught:
        load_config(spec, overrides)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_digest_is_about_the_weights_alone():
    base = load_config("signing", {"data.directory": "a"})
    assert base.digest == load_config("signing", {"data.directory": "b"}).digest
    assert base.digest != load_config("signing", {"seed": "1"}).digest
    assert base.digest != load_config("signing", {"model.d_model": "64"}).digest


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


def test_own_config_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs import common\n"
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
        assert 1000 < config.steps < 100_000 and config.optim.warmup_steps < config.steps
        assert config.model["d_model"] == (512 if size == "base" else 1024)


def test_a_corpus_or_a_number_of_chips_that_is_none_is_refused():
    with pytest.raises(SignBindError, match="corpus.*how2sign"):
        load_config("signing:size=base,corpus=how2sing", {})
    with pytest.raises(SignBindError, match="chips: found 0"):
        load_config("fusion:size=large,chips=0", {})
