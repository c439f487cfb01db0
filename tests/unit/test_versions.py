"""Versions of packages: the same on all hosts and when a run goes on, or one line that says so."""

import pytest

from signbind_jax import versions
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError


def test_the_versions_named_are_those_installed():
    import jax
    import numpy as np

    found = versions.installed()
    assert found["jax"] == jax.__version__ and found["numpy"] == np.__version__
    assert {"python", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers"} < set(
        found
    )
    assert versions.installed(["no-such-package"])["no-such-package"] == ""


def test_a_host_with_another_version_is_named(monkeypatch):
    here = {"python": "3.12.1", "jax": "0.10.2"}
    there = {"python": "3.12.7", "jax": "0.10.3"}
    monkeypatch.setattr(hosts, "all_gather", lambda what, value: [here, here, there])
    with pytest.raises(SignBindError) as raised:
        versions.check_hosts(here)
    assert "jax: found 0.10.3 on process 2 and 0.10.2 on process 0" in str(raised.value)
    monkeypatch.setattr(hosts, "all_gather", lambda what, value: [here, there | {"jax": "0.10.2"}])
    versions.check_hosts(here)


def test_a_run_goes_on_with_the_versions_of_its_newest_step(tmp_path):
    saved = {"python": ["3.12.1"], "jax": ["0.9.0", "0.10.2"], "numpy": ["2.4.6"]}
    here = {"python": "3.12.7", "jax": "0.10.2", "numpy": "2.4.6"}
    versions.check_resumed(saved, here, tmp_path)
    versions.check_resumed({}, here, tmp_path)
    with pytest.raises(SignBindError) as raised:
        versions.check_resumed(saved, here | {"jax": "0.11.0", "numpy": ""}, tmp_path)
    line = str(raised.value)
    assert str(tmp_path) in line and versions.OPTION in line
    assert "jax 0.11.0 (the run: 0.10.2), numpy none (the run: 2.4.6)" in line
    assert "python" not in line


def test_all_versions_of_a_run_are_kept_the_newest_last():
    saved = {"jax": ["0.9.0", "0.10.2"]}
    assert versions.joined(saved, {"jax": "0.11.0", "numpy": "2.4.6"}) == {
        "jax": ["0.9.0", "0.10.2", "0.11.0"],
        "numpy": ["2.4.6"],
    }
    assert versions.joined(saved, {"jax": "0.9.0"}) == {"jax": ["0.10.2", "0.9.0"]}
