"""A process that dies, stalls or has a full disk ends the others in one line that names it."""

import signal
import time

from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from tests.multiprocess.together import (
    check_ended_well,
    signbind_commands,
    start,
    told_by,
    wait_for,
)

HOST_TIMEOUT_S = 5
DEATHS = [
    ("compute", signal.SIGKILL, -1),
    ("wait", signal.SIGKILL, 0),
    ("compute", signal.SIGSTOP, 0),
]
MORE_DEATHS = [
    ("wait", signal.SIGSTOP, 1),
    ("compute", signal.SIGSTOP, -1),
    ("compute", signal.SIGKILL, 0),
    ("wait", signal.SIGKILL, 1),
]


def pytest_generate_tests(metafunc):
    every = metafunc.config.getoption("--every_stage")
    metafunc.parametrize("n_processes", [2, 4] if every else [2])
    if "work" in metafunc.fixturenames:
        deaths = DEATHS + MORE_DEATHS if every else DEATHS
        metafunc.parametrize(("work", "number", "to"), deaths)


def begin(n: int, work: str, directory, patience_s: float = 600) -> list:
    commands = signbind_commands(
        n,
        work,
        directory,
        f"--patience={patience_s}",
        module="tests.multiprocess.lives",
    )
    return [start(command) for command in commands]


def told(err: str) -> str:
    """The one line a process ended in."""
    assert "Traceback" not in err and "Check failure" not in err, err
    (line,) = (line for line in err.splitlines() if line.startswith("signbind:"))
    return line


def test_the_others_name_a_process_that_is_gone(n_processes, tmp_path, work, number, to):
    processes = begin(n_processes, work, tmp_path, HOST_TIMEOUT_S)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("came_*"))) < n_processes and time.monotonic() < deadline:
        time.sleep(0.02)
    to %= n_processes
    processes[to].send_signal(number)
    others = [process for i, process in enumerate(processes) if i != to]
    # The stated time, ten seconds, and what a busy machine needs.
    ended = wait_for(others, HOST_TIMEOUT_S + 40)
    processes[to].kill()
    processes[to].communicate()
    assert [e.code for e in ended] == [1] * len(ended), told_by(ended)
    for e in ended:
        assert f"process {to} of {n_processes}" in told(e.err)


def test_a_full_disk_of_one_process_fails_the_save_on_all(n_processes, tmp_path):
    check_ended_well(wait_for(begin(n_processes, "save", tmp_path)))
    for full in (0, 1):
        for i in range(n_processes):
            line = (tmp_path / f"told_{full}_{i}").read_text()
            assert f"step_00000002: checkpoint not saved on process {full} of" in line
            assert "File too large" in line and "step 1 is still good" in line
        assert CheckpointDir(tmp_path / str(full)).steps() == [1]
        assert not (tmp_path / str(full) / "step_00000002").exists()
