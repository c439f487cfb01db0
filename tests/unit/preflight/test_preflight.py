"""`signbind preflight`: what it promises of memory, collectives and machines that are not there."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from signbind_jax.cli import main
from signbind_jax.preflight.check import check
from signbind_jax.preflight.outcome import Outcome
from tests.conftest import ROOT, signbind
from tests.golden import make_collectives as golden

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed (extra `tpu`)"
)
SIGNING, EIGHT = "signing:size=tiny", {"data.batch_multiple": "8"}


@pytest.fixture(scope="module")
def outcomes():
    return {name: golden.found(name) for name in golden.CONFIGS}


@pytest.mark.parametrize("name", golden.CONFIGS)
def test_a_config_sends_what_it_sent_before(outcomes, name):
    """After a change that is meant to move other data: python -m tests.golden.make_collectives."""
    assert not outcomes[name].problem
    wanted = json.loads(golden.FILE.read_text())[name]
    assert golden.collectives(outcomes[name]) == wanted


def test_what_is_split_takes_less_of_each_chip(outcomes):
    whole, split = (outcomes[f"signing, {on}"] for on in ("data 8", "fsdp 4 x tensor 2"))
    assert split.held["trained"] < 0.4 * whole.held["trained"]
    assert split.held["optimiser"] < 0.4 * whole.held["optimiser"]
    assert whole.rows == split.rows == 8
    # Eight chips share the rows in one case, four in the other.
    assert split.held["batches"] == pytest.approx(2 * whole.held["batches"], rel=1e-3)
    # AdamW keeps two numbers beside each parameter.
    assert whole.held["optimiser"] == pytest.approx(2 * whole.held["trained"], rel=1e-3)
    assert whole.model_flops == split.model_flops > 0


def test_a_line_of_json_holds_everything(tmp_path):
    done = signbind(
        "preflight",
        f"--config={SIGNING}",
        "--config.data.batch_multiple=2",
        "--topology=cpu:2",
        f"--json={tmp_path / 'found.json'}",
    )
    assert "FITS" in done.stdout and "TFLOP/chip" in done.stdout
    record = json.loads((tmp_path / "found.json").read_text())
    assert record["verdict"] == "fits" and record["mesh"] == {"data": 2, "fsdp": 1, "tensor": 1}
    assert record["programs"]["gradients"]["temporaries"] > 0
    assert record["costs"]["gradients"]["flops"] > 0 and record["estimate"] is None


def test_damaged_lines_of_an_interrupted_call_are_told_and_checked_again(tmp_path, capsys):
    path, whole = tmp_path / "o.json", Outcome("signing", "cpu:8", {"data": 8}, verdict="fits")
    path.write_bytes(whole.to_json().encode() + b'\n{"spec": "\xff\n[]\n{"spec": "fusi')
    arguments = ["--config=signing", "--topology=cpu:8", f"--json={path}", "--go_on"]
    assert main(["preflight", *arguments]) == 0  # nothing is compiled again
    assert f"{path}: 3 damaged lines" in capsys.readouterr().err
    assert path.read_text() == whole.to_json() + "\n"


def test_compiling_that_takes_too_long_is_given_up():
    overrides = {**EIGHT, "seed": "31415"}  # tells its process from those of other tests
    found = check(SIGNING, overrides, "cpu:8", timeout_s=1.0)
    assert found.verdict == "failed" and "within 1 s" in found.problem
    running = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    assert not [
        line
        for line in running
        if "signbind_jax.preflight.compile_process" in line
        and json.dumps(overrides) in line
        and "cpu:8" in line
    ]


def test_compiling_ends_with_the_command_that_was_killed(tmp_path):
    command = psutil.Popen(
        [
            sys.executable,
            "-m",
            "signbind_jax.cli",
            "preflight",
            "--config=language_model",
            "--topology=cpu:1",
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    deadline = time.monotonic() + 300
    while not (compiling := command.children()):
        assert time.monotonic() < deadline and command.poll() is None
        time.sleep(0.05)
    command.kill()
    command.wait()
    assert not psutil.wait_procs(compiling, timeout=300)[1]
    # One that had gone on would have left its outcome.
    assert list(tmp_path.glob("preflight-*/stderr"))
    assert not list(tmp_path.glob("preflight-*/outcome.json"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--config=signing", "--topology=v5e:3x3"], 1, "did you mean"),
        (["--config=signing", "--topology=v5p-32"], 1, "unknown name 'v5p-32'"),
        (["--config=signing"], 2, "give both --config and --topology"),
        (["--all", "--topology=v5e:4x4"], 2, "--all alone"),
        (["--config=singing", "--topology=cpu:1"], 1, "did you mean 'signing'"),
    ],
)
def test_what_cannot_be_compiled_is_told_in_one_line(arguments, code, said):
    done = signbind("preflight", *arguments, check=False)
    assert done.returncode == code
    told = done.stderr if done.stderr else done.stdout
    assert said in told and "Traceback" not in done.stderr


def test_rows_that_do_not_divide_are_an_outcome():
    done = signbind("preflight", f"--config={SIGNING}", "--topology=cpu:8", check=False)
    assert done.returncode == 1
    assert "FAILED: config.data.batch_multiple: found 1" in done.stdout


@needs_libtpu
def test_a_program_that_is_too_large_for_a_tpu_is_told_with_advice():
    done = signbind(
        "preflight",
        "--config=language_model:size=base",
        "--topology=v5e:1x1",
        "--config.data.frames_per_batch=163840",
        check=False,
    )
    assert done.returncode == 1
    assert "DOES NOT FIT: gradients: found" in done.stdout and "15.75G of a chip" in done.stdout
    assert "change first: " in done.stdout


@needs_libtpu
def test_a_tpu_step_is_estimated_as_a_range():
    found = check(SIGNING, {"data.batch_multiple": "4"}, "v5e:2x2", timeout_s=300)
    assert not found.problem and found.verdict == "fits"
    times = [found.estimate[kind] for kind in ("floor", "likely", "worst")]
    assert 0 < times[0] <= times[1] <= times[2]
    assert found.costs["gradients"]["padded_flops"] >= found.costs["gradients"]["flops"]
