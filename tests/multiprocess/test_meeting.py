"""Processes that wait for each other name who did not come; one that fails takes all along."""

import json

from tests.multiprocess.together import check_ended_well, free_port, run_together

GATHER = """
import json, sys
import jax
from signbind_jax.distributed import hosts

port, n, process = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", int(n), int(process))
hosts._ROUND_BYTES = 7 * int(n)  # many rounds, of which the last is not full
# Five batches of two clips over three processes: uneven parts; clip 9 is missing everywhere.
own = {clip: f"sentence {clip}" for step in hosts.own_steps(5)
       for clip in (2 * step, 2 * step + 1) if clip != 9}
print(json.dumps({
    "own": len(own),
    "joined": hosts.join_rows("joining", own),
    "bytes": [len(part) for part in hosts.gather_bytes("bytes", b"x" * 10 * int(process))],
    "first": hosts.broadcast("asking", lambda: {"by": int(process)}),
}))
"""

LATE = """
import sys, time
from pathlib import Path
import jax
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError

port, n, process, told = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", int(n), int(process))
hosts.timeout_s = 3.0
hosts.barrier("the start")
if process == "1":
    while len(list(Path(told).iterdir())) < 2:
        time.sleep(0.05)
    sys.exit(0)
try:
    hosts.barrier("the evaluation of step 20")
except SignBindError as error:
    print(error)
Path(told, process).touch()
"""


def programs(program: str, n: int, *more) -> list[list]:
    port = free_port()
    return [["-c", program, port, n, i, *more] for i in range(n)]


def test_three_processes_gather_uneven_parts_whole():
    ended = run_together(programs(GATHER, 3))
    check_ended_well(ended)
    found = [json.loads(e.out.splitlines()[-1]) for e in ended]
    assert [f["own"] for f in found] == [4, 3, 2]
    for facts in found:
        assert facts["joined"] == {str(c): f"sentence {c}" for c in range(9)}
        assert facts["bytes"] == [0, 10, 20]
        assert facts["first"] == {"by": 0}


def test_a_process_that_does_not_come_is_named_with_what_it_did_last(tmp_path):
    first, _, last = run_together(programs(LATE, 3, tmp_path))
    for ended in (first, last):
        (line,) = (line for line in ended.out.splitlines() if "found no process" in line)
        assert line.startswith("the evaluation of step 20: found no process 1 of 3 on ")
        assert "'the start' last" in line and "within 3 s" in line
