"""An interrupted run, taken up again, gives the losses of a run that was never stopped."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, signbind

STEPS = 300  # long enough that a signal meets it under way


def arguments(config: str, data, workdir) -> list[str]:
    return [
        "train",
        f"--config={config}:size=tiny",
        f"--workdir={workdir}",
        f"--config.data.directory={data}",
        "--config.data.validation=",
        "--config.log_every=1",
        "--config.checkpoint_every=20",
        f"--config.steps={STEPS}",
    ]


def losses(workdir) -> dict[int, float]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {r["step"]: r["loss"] for r in records if r["kind"] == "train"}


def stop_midway(command: list[str], workdir, number: int) -> int:
    """Starts a run, sends it a signal once a checkpoint is complete; its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "signbind_jax.cli", *command], cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if list(workdir.glob("checkpoints/step_*/manifest.json")):
            process.send_signal(number)
            break
        time.sleep(0.02)
    output, _ = process.communicate(timeout=300)
    assert (workdir / "metrics.jsonl").exists(), output
    return process.returncode


@pytest.mark.parametrize(
    ("config", "number", "code"),
    [("fingerspelling", signal.SIGTERM, 0), ("language_model", signal.SIGKILL, -9)],
)
def test_losses_are_the_same_bits_after_a_signal(synthetic, tmp_path, config, number, code):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    signbind(*arguments(config, synthetic, whole))
    stopped.mkdir()
    command = arguments(config, synthetic, stopped)
    assert stop_midway(command, stopped, number) == code
    reached = max(losses(stopped))
    assert reached < STEPS
    output = signbind(*command).stdout
    assert "resumed at step" in output
    assert losses(stopped) == losses(whole)
    assert sorted(losses(stopped)) == list(range(1, STEPS + 1))
