"""Shared by the tests of what uses a trained system: a bundle and a segmenter, made once."""

import shutil

import pytest

from signbind_jax import cli
from tests import untrained_runs


@pytest.fixture(scope="session")
def bundle(runs, tmp_path_factory):
    """A bundle of a copy of the untrained alignment run, whose directories are gone; not to be
    changed."""
    place = tmp_path_factory.mktemp("bundle")
    names = ("signing", "language_model", "fusion", "alignment")
    for name in names:
        shutil.copytree(runs / name, place / name)
    out = place / "translator"
    assert (
        cli.main(["export", "translator", f"--checkpoint={place / 'alignment'}", f"--out={out}"])
        == 0
    )
    for name in names:
        shutil.rmtree(place / name)
    return out


@pytest.fixture(scope="session")
def segmenter(runs, tmp_path_factory):
    """An untrained run of stage segmentation, which finds boundaries here and there."""
    return untrained_runs.write_run(
        "segmentation", runs, workdir=tmp_path_factory.mktemp("segmenter") / "run"
    )
