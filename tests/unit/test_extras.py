"""Packages of extras: nothing of the core needs them, and a command that does names its extra."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from signbind_jax.errors import SignBindError, from_extra
from tests.conftest import ROOT
from tests.unit.test_constraints import extras

FOLDERS = ("signbind_jax", "data_pipelines", "configs", "launch", "docs", "benchmarks")
SUFFIXES = (".py", ".sh", ".md")
# Runs in a process of its own: this one has imported them.
WITHOUT = """
import sys

for package in ("apache_beam", "av", "fastapi", "gguf", "h5py", "pocketsphinx", "pose_format",
                "pympi", "python_multipart", "simplemma", "starlette", "stop_words", "torch",
                "transformers", "uvicorn", "wandb", "webvtt"):
    sys.modules[package] = None
import signbind_jax.data_pipelines.synthetic.corpus
import signbind_jax.data_pipelines.writing.writer
import signbind_jax.evaluate.command
import signbind_jax.hf.inspect_command
import signbind_jax.quickstart.command
import signbind_jax.sweep.command
import signbind_jax.train.command
from signbind_jax.cli import COMMANDS, main

for command in COMMANDS:
    try:
        main([*command.split(), "--help"])
    except SystemExit as end:
        assert not end.code, command
sys.exit(main(["data", "build", "folder", "--source=corpus", "--out=out", "--workers=1"]))
"""


def test_without_the_extras_the_core_works_and_a_command_that_needs_one_names_it(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "manifest.tsv").write_text("id\tsplit\ttext\tpose\na\ttrain\thello\ta.pose\n")
    (corpus / "a.pose").write_bytes(b"a pose")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(
        r"signbind: error: poses: found no package pose_format, wanted: pip install "
        r"'signbind-jax\[corpora\]', or in a checkout pip install -e '\.\[corpora\]'\n",
        done.stderr,
    )
    assert not (tmp_path / "out").exists()


def test_only_a_package_that_is_missing_is_told_as_one():
    missing = pytest.raises(SignBindError, match="clips: found no package no_such_package, wanted")
    with missing, from_extra("corpora", "clips"):
        import no_such_package  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name"), from_extra("corpora", "clips"):
        from json import no_such_name  # noqa: F401


def test_every_extra_that_is_named_exists():
    files = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES]
    named = set()
    for path in [*files, ROOT / "README.md", ROOT / "Makefile", ROOT / "launch" / "Dockerfile"]:
        text = Path(path).read_text(encoding="utf-8")
        named |= set(re.findall(r"(?:from|missing)_extra\(\s*\"(\w+)\"", text))
        for listed in re.findall(r"(?:signbind-jax|'\.)\[([\w,]+)\]", text):
            named |= set(listed.split(","))
    assert named - set(extras()) == set()
    assert {"corpora", "llm", "tpu", "hdf5", "wandb", "beam", "serve"} <= named
