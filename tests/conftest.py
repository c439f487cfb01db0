"""Shared by all tests: where the recordings are, a small synthetic dataset, untrained runs."""

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from signbind_jax import cli
from signbind_jax.processes import child

# Most tests compile more than they compute: what is compiled fast runs fast enough. Those that
# train until something is learnt turn it off (tests/recorded/conftest.py).
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# XLA's older emitters for the CPU compile three times as fast and run a quarter slower
# (docs/develop/training_speed.md): a user gets the newer ones. The other flags are those that
# commands and the processes they start set: the cache below tells programs of other flags apart.
os.environ["XLA_FLAGS"] = child.xla_flags(
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_multi_thread_eigen=false",
)
# Tests compile the same small programs again and again: keep them between processes.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT.parent / "shared" / "data" / "recorded"


def pytest_addoption(parser):
    parser.addoption(
        "--every_stage",
        action="store_true",
        help="tests/multiprocess and tests/fourth_expert: every stage, death and signal on every "
        "mesh and number of processes, which takes about twenty minutes more",
    )
    fuzz = "tests/faults/test_fuzz.py: "
    more = f"{fuzz}damaged inputs a reader (default: %(default)s; 44 make 2,000 in all)"
    parser.addoption("--fuzz_inputs", type=int, default=4, metavar="N", help=more)
    parser.addoption("--fuzz_seed", type=int, default=0, metavar="N", help=f"{fuzz}other inputs")
    kept = f"{fuzz}keeps the inputs that show a fault"
    parser.addoption("--fuzz_keep", metavar="DIR", help=kept)


def pytest_terminal_summary(terminalreporter):
    """How much tests/faults/test_fuzz.py tried, whichever process ran it."""
    reports = (r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind))
    tried = [dict(r.user_properties)["fuzz"] for r in reports if "fuzz" in dict(r.user_properties)]
    if tried:
        inputs, faulty = map(sum, zip(*tried, strict=True))
        terminalreporter.write_line(
            f"fuzz: {inputs} inputs over {len(tried)} readers, {faulty} with faults"
        )


def pytest_configure(config):
    # What flax is about to remove fails here before it fails for a user.
    config.addinivalue_line("filterwarnings", "error:.*flax.nnx.State.*:DeprecationWarning")


def pytest_collection_finish(session):
    # What is imported by now stays: a twentieth of the time went into looking at it for garbage.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of real recordings; skips where it is absent."""
    if not RECORDED.is_dir():
        pytest.skip(f"real recordings not found at {RECORDED}")
    return RECORDED


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """A synthetic dataset of 48 training clips, 8 a split else."""
    out = tmp_path_factory.mktemp("corpus") / "data"
    signbind(
        "data",
        "build",
        "synthetic",
        f"--out={out}",
        "--seed=0",
        "--train=48",
        "--validation=8",
        "--test=8",
        "--time_split=8",
        "--workers=1",
    )
    return out


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """The tree of `untrained_runs.write_alignment`: data, signing, language_model, fusion and
    alignment; not to be changed."""
    from tests import untrained_runs  # imports JAX, which reads what is set above

    tree = tmp_path_factory.mktemp("untrained")
    untrained_runs.write_alignment(tree)
    return tree


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> Path:
    """What stands in for the environment with MediaPipe: its Python starts another worker, which
    finds drawn faces."""
    directory = tmp_path_factory.mktemp("environment")
    python = directory / "bin" / "python"
    python.parent.mkdir()
    worker = ROOT / "tests" / "drawn_face_worker.py"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{worker}" "$@"\n')
    python.chmod(0o755)
    return directory


def simulated(n_devices: int) -> dict[str, str]:
    """The environment of a process with so many simulated devices."""
    flags = child.xla_flags(f"--xla_force_host_platform_device_count={n_devices}")
    # XLA gives the devices it simulates as many threads as there are devices. Where two
    # collectives run at once on a busy machine, each can wait for a thread that the other holds.
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "NPROC": "32"}


def facts_of(*arguments, n_devices: int = 8) -> dict:
    """The JSON in the last line that `python ARGUMENTS...` prints, on so many simulated devices."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=simulated(n_devices),
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def signbind(*arguments, check: bool = True) -> subprocess.CompletedProcess:
    """Runs a command in this process, which saves the start of one."""
    command, out, err = [str(argument) for argument in arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(command)
        except SystemExit as bad_usage:
            code = bad_usage.code
    return _checked(
        subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue()), check
    )


def signbind_process(
    *arguments, check: bool = True, env: dict | None = None, timeout: int = 600
) -> subprocess.CompletedProcess:
    """Runs the real command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "signbind_jax.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **(env or {})},
        text=True,
        capture_output=True,
        timeout=timeout,
    )
    return _checked(done, check)


def _checked(done: subprocess.CompletedProcess, check: bool) -> subprocess.CompletedProcess:
    assert not check or done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done
