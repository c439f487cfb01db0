"""Processes that the library starts in a directory of somebody else's modules."""

import os
import subprocess
from pathlib import Path

import pytest
from tqdm import tqdm

from signbind_jax.data_pipelines.processes import in_processes
from signbind_jax.processes import child


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A current directory whose modules leave a mark when they are imported; gives the mark."""
    cwd, mark = tmp_path / "cwd", tmp_path / "imported"
    cwd.mkdir()
    leave_mark = f"import os\nos.close(os.open({str(mark)!r}, os.O_CREAT))\n"
    for name in ("signbind_jax", "data_pipelines", "multiprocessing", "argparse", "json", "numpy"):
        (cwd / f"{name}.py").write_text(leave_mark)
    monkeypatch.chdir(cwd)
    return mark


@pytest.mark.parametrize("path", ["", os.pathsep, f"{os.pathsep}/nowhere"])
def test_a_child_imports_the_library_and_nothing_from_the_current_directory(
    hostile, monkeypatch, path
):
    monkeypatch.setenv("PYTHONPATH", path)  # an empty part of it is the current directory
    command, environment = child.python("signbind_jax.cli", "--help")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "commands:" in done.stdout, done.stderr
    assert not hostile.exists()


def where(task: int, tick) -> tuple[int, str]:
    return task, os.getcwd()


def test_pools_of_processes_import_nothing_from_the_current_directory(hostile):
    found = list(in_processes(where, range(3), 2, tqdm(disable=True)))
    assert found == [(i, str(Path.cwd())) for i in range(3)]
    assert not hostile.exists()
    assert "PYTHONSAFEPATH" not in os.environ
