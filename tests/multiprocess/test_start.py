"""What goes wrong before processes have met ends in one line on each of them."""

import pytest

from tests.conftest import signbind, signbind_process
from tests.multiprocess.together import free_port, run_together, signbind_commands

COMMAND = ("evaluate", "--checkpoint=nowhere", "--data=nowhere")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--process_id=1"], "add --coordinator and --num_processes"),
        (["--coordinator=a:1", "--num_processes=2", "--process_id=2"], "found 2, wanted 0 to 1"),
        (["--coordinator=a", "--num_processes=2", "--process_id=0"], "wanted HOST:PORT"),
    ],
)
def test_flags_that_do_not_fit_together_are_bad_usage(flags, said):
    done = signbind(*COMMAND, *flags, check=False)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_an_unreachable_coordinator_is_told_in_time():
    place = {
        "SIGNBIND_COORDINATOR": f"127.0.0.1:{free_port()}",
        "SIGNBIND_NUM_PROCESSES": "2",
        "SIGNBIND_PROCESS_ID": "1",
    }
    done = signbind_process(*COMMAND, "--host_timeout=1", check=False, env=place, timeout=300)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert place["SIGNBIND_COORDINATOR"] in line and "process 1 of 2 found nobody" in line


def test_process_0_names_the_process_that_did_not_start():
    (alone, _) = signbind_commands(2, *COMMAND, "--host_timeout=2")
    (ended,) = run_together([alone], timeout_s=300)
    assert ended.code == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("signbind:"))
    assert "found no process 1 of 2 within 2 s" in line


def test_a_process_that_fails_ends_the_others_with_its_reason(synthetic, tmp_path):
    commands = signbind_commands(
        2, "train", "--config=language_model:size=tiny", f"--workdir={tmp_path}", "--config.steps=3"
    )
    commands[0].append(f"--config.data.directory={synthetic}")
    commands[1].append(f"--config.data.directory={tmp_path / 'missing'}")
    first, second = run_together(commands, timeout_s=300)
    assert (first.code, second.code) == (1, 1)
    own = next(line for line in second.err.splitlines() if line.startswith("signbind:"))
    assert own.startswith("signbind: process 1 of 2: error: ") and "missing" in own
    told = next(line for line in first.err.splitlines() if line.startswith("signbind:"))
    assert "because process 1 of 2 on " in told and "missing" in told
