"""Hosts that hold different data or configs are stopped before the first step."""

import os
import socket
import subprocess
import sys

PROGRAM = """
import hashlib, sys
import jax
from signbind_jax.errors import SignBindError
from signbind_jax.distributed.hosts import check_agreement

process, port, *plans = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(process))
digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
check_agreement({"config": digest("same"), "batch plan": digest("same")})
print("agreed", flush=True)
try:
    check_agreement({"config": digest("same"), "batch plan": digest(plans[int(process)])})
except SignBindError as error:
    print(error)
"""


def test_two_processes_with_different_plans_are_told_on_both():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(i), port, "one", "another"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for out, err in outputs:
        lines = out.splitlines()
        assert "agreed" in lines, err
        (said,) = (line for line in lines[lines.index("agreed") :] if "found" in line)
        assert said.startswith("batch plan: found") and "on process 1" in said
