"""The shell that runs on other machines."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from signbind_jax.launch.gke import in_one_line
from tests.conftest import ROOT
from tests.launch.stand_ins import HARD

SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))


def shellcheck(*arguments, **how) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("shellcheck", path=path)
    assert program, "no shellcheck: pip install 'signbind-jax[test]'"
    return subprocess.run([program, *arguments], text=True, capture_output=True, **how)


@pytest.mark.parametrize("script", SCRIPTS, ids=[s.name for s in SCRIPTS])
def test_scripts_pass_shellcheck(script):
    found = shellcheck("--norc", script)
    assert found.returncode == 0, found.stdout


def test_what_a_pod_runs_passes_shellcheck():
    text = in_one_line(("signbind", *HARD))
    found = shellcheck("--norc", "--shell=bash", "-", input=f"({text}) & wait $!\n")
    assert found.returncode == 0, found.stdout


def test_shellcheck_would_find_something():
    assert shellcheck("--shell=bash", "-", input="rm $1/x\n").returncode == 1
