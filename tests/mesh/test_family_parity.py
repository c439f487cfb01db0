"""The golden families compute on a mesh of 4 x 2 what they compute on one device."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import simulated
from tests.golden.families_of_reference import NAMES
from tests.multiprocess.together import THREADS

ROOT = Path(__file__).parents[2]
CASES = 8  # of the 32 that one device is held to


def test_every_family_equals_its_reference_on_a_mesh_of_4x2():
    environment = simulated(8) | THREADS
    done = subprocess.run(
        [sys.executable, "-m", "tests.mesh.family_parity", "1", "4", "2", str(CASES)],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert sorted(facts) == NAMES
    for name, found in facts.items():
        assert found["logits"] and found["greedy"] and found["beam"], (name, found)
        # Rows and the model dimension over four devices, heads and inner dimension over two;
        # the families have one key head, which stays whole.
        assert found["rows"] == CASES // 4
        layers, d, heads, _ = found["shards"]["q"]
        assert (d, heads) == (16 // 4, 2 // 2)
        assert found["shards"]["k"][:3] == [layers, 16 // 4, 1]
        assert found["shards"]["gate"] == [layers, 16 // 4, 24 // 2]
