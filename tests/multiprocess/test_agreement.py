"""Hosts that hold different data or configs are stopped before the first step."""

from tests.multiprocess.together import free_port, run_together

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
    port = free_port()
    for ended in run_together([["-c", PROGRAM, i, port, "one", "another"] for i in range(2)]):
        lines = ended.out.splitlines()
        assert "agreed" in lines, ended.err
        (said,) = (line for line in lines[lines.index("agreed") :] if "found" in line)
        assert said.startswith("batch plan: found") and "on process 1" in said
