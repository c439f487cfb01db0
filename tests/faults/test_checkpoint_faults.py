"""A disk that fills and a process that is killed while a checkpoint is written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir

SAVE_TWICE = """
import resource, sys, time
import jax.numpy as jnp, numpy as np
from signbind_jax import files
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir, Manifest
from signbind_jax.errors import SignBindError

def state(step, n):
    return {"x": jnp.asarray(np.random.default_rng(step).normal(size=(n,)).astype(np.float32))}

directory, what, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
checkpoints = CheckpointDir(directory)
checkpoints.save(1, state(1, n), Manifest("signing", "c"), wait=True)
if what == "full disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
if what == "killed before the manifest":
    files.write = lambda *_: time.sleep(600)
try:
    checkpoints.save(2, state(2, n), Manifest("signing", "c"))
    print("saving", flush=True)
    checkpoints.close()
except SignBindError as error:
    print(error)
    sys.exit(1)
"""


def start(directory: Path, what: str, n: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SAVE_TWICE, directory, what, str(n)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )


def assert_step_1_is_good(directory: Path, n: int) -> None:
    target = {"x": np.zeros((n,), np.float32)}
    step, tree, _ = CheckpointDir(str(directory)).restore_latest(target)
    wanted = np.random.default_rng(1).normal(size=(n,)).astype(np.float32)
    assert step == 1
    np.testing.assert_array_equal(tree["x"], wanted)


def test_a_full_disk_is_one_line_and_the_last_good_step_stays(tmp_path):
    n = 100_000
    process = start(tmp_path, "full disk", n)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    (line,) = [line for line in out.splitlines() if line != "saving"]
    assert "step_00000002: checkpoint not saved (" in line
    assert "step 1 is still good" in line
    assert "Traceback" not in err
    assert not (tmp_path / "step_00000002").exists()
    assert_step_1_is_good(tmp_path, n)


@pytest.mark.parametrize("what", ["killed while writing", "killed before the manifest"])
def test_a_killed_save_leaves_the_step_before_it(tmp_path, what):
    n = 10_000_000 if what == "killed while writing" else 1000
    process = start(tmp_path, what, n)
    state = tmp_path / "step_00000002" / "state"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if what == "killed while writing" and list(state.parent.glob("state.partial")):
            break
        if what == "killed before the manifest" and state.exists():
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, err
    assert state.exists() == (what == "killed before the manifest")

    assert CheckpointDir(str(tmp_path)).steps() == [1]
    assert_step_1_is_good(tmp_path, n)
