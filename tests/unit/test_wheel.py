"""The wheel: what a TPU, a container or `pip install` without a checkout has of this project."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("configs", "data_pipelines", "launch", "signbind_jax")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
# Opens what code opens beside itself, each by the way the code takes.
OPENS = """
import sys
from importlib.util import find_spec
from pathlib import Path
import importlib.util

import signbind_jax.launch.slurm, signbind_jax.launch.tpu
from signbind_jax.cli import COMMANDS
from signbind_jax.data_pipelines.extraction import environment
from signbind_jax.config import config_module
from signbind_jax.cli import COMMANDS
from signbind_jax.hf import published
from signbind_jax.report.page import write_report

assert Path(signbind_jax.__file__).is_relative_to(sys.argv[1]), signbind_jax.__file__
assert all(importlib.util.find_spec(f"signbind_jax.{module}") for module, _ in COMMANDS.values())
assert published.find("smollm2-135m").vocab_size == 49152
Path("results.json").write_text("{}")
assert "SignBind run report" in write_report(Path()).read_text()
assert environment.REQUIREMENTS.read_text() and (environment.WORKER / "__main__.py").is_file()
assert signbind_jax.launch.slurm.SCRIPT.read_text()
assert signbind_jax.launch.tpu.WORKER.read_text()
assert all(find_spec(f"signbind_jax.{module}") for module, _ in COMMANDS.values())
assert config_module("signing") and config_module("sweeps/signing_learning_rate")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, because a build leaves folders beside its sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package)
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    here = {
        f"{'' if package == 'signbind_jax' else 'signbind_jax/'}{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name[0] != "."
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == here
    assert {name.partition("/")[0].split("-")[0] for name in names} == {"signbind_jax"}
    assert "signbind_jax/hf/published.json" in here


def test_code_from_the_wheel_finds_its_files(wheel, tmp_path):
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    done = subprocess.run(
        [sys.executable, "-P", "-c", OPENS, str(place)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
