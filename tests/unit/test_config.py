"""Configs: overrides reach their place, and what is wrong is named."""

import pytest

from signbind_jax.config import RunConfig, load_config
from signbind_jax.errors import SignBindError


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
    assert config.data.directory == "/data/with-dash" and config.parents.signing == "runs/1"


@pytest.mark.parametrize(
    ("spec", "overrides", "words"),
    [
        ("singing", {}, ["--config", "'singing'", "'signing'"]),
        ("signing", {"optim.learning_rat": "1"}, ["config.optim", "'learning_rate'"]),
        ("signing", {"stepz": "1"}, ["'stepz'", "'steps'"]),
        ("signing", {"steps": "many"}, ["config.steps", "'many'", "int"]),
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


def test_own_config_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs import common\n"
        "def get_config(arg=None):\n"
        "    return common.run('signing', steps=int(arg))\n"
    )
    assert load_config(f"{path}:12").steps == 12
