"""Every stage trains the same on eight devices as on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PROGRAM = Path(__file__).with_name("stage_losses.py")


def run(n_devices: int, *arguments) -> dict[str, list[float]]:
    flags = f"--xla_force_host_platform_device_count={n_devices}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, PROGRAM, *map(str, arguments)], env=environment,
                          text=True, capture_output=True, timeout=900)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(Path(arguments[2], "losses.json").read_text())


def test_first_twenty_losses_of_every_stage_equal_on_a_2x2x2_mesh(synthetic, tmp_path):
    one, eight = tmp_path / "one", tmp_path / "eight"
    single = run(1, synthetic, one, one, 1, 1, 1)
    sharded = run(8, synthetic, one, eight, 2, 2, 2)
    assert set(single) == set(sharded) and len(single) == 7
    for stage, losses in single.items():
        assert len(losses) == 20, stage
        assert np.isfinite(losses).all(), stage
        np.testing.assert_allclose(sharded[stage], losses, rtol=1e-4, err_msg=stage)
