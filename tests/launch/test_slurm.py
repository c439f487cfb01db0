"""`signbind launch slurm` against a cluster in a folder that runs the batch script."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launch.stand_ins import HARD, HERE, launch, put_program

JOB = ["--name=signing", "--nodes=2", "--gpus_per_node=4", "--partition=gpu", "--time=08:00:00"]
TRAIN = ["--", "signbind", "train", "--workdir=runs/signing"]


class Cluster:
    """What was asked of a stand-in cluster, and its `signbind`."""

    def __init__(self, folder: Path):
        self.folder, self.here, self.bin = folder, folder / "here", folder / "bin"
        self.here.mkdir(parents=True)
        self.fail("none")
        for name in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
            put_program(
                self.bin,
                name,
                f"exec {shlex.quote(sys.executable)} -S "
                f'{shlex.quote(str(HERE / "stand_in_slurm.py"))} {name} "$@"',
            )

    def fail(self, program: str, *calls: int, stderr: str = "Socket timed out") -> None:
        failure = {"program": program, "calls": calls, "stderr": stderr}
        (self.folder / "failures.json").write_text(json.dumps([failure]))

    def behave(self, script: str, told: str = "") -> None:
        """What `signbind` does in a job, and on SIGTERM; its arguments and environment are noted.

        A run is noted once SIGTERM is awaited, so that no test sends it earlier.
        """
        record = f"{shlex.quote(str(self.folder))}/${{SLURM_ARRAY_TASK_ID:-one}}"
        await_it = f"trap {shlex.quote(told)} TERM" if told else ""
        put_program(
            self.bin,
            "signbind",
            f'printf "%s\\0" "$@" > {record}.arguments; env -0 > {record}.environment\n'
            f"SAVED=$SIGNBIND_INTERRUPTED_CODE\n{await_it}\n"
            f"echo begun >> {record}.runs\n{script}",
        )

    def launch(self, *arguments, **how):
        return launch("slurm", *arguments, bin=self.bin, cwd=self.here, **how)

    def calls(self, program: str) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [argv[1:] for argv in map(json.loads, lines) if argv[0] == program]

    def seen(self, name: str) -> list[str]:
        return (self.folder / name).read_text().split("\0")[:-1]

    def signal(self, number: int) -> None:
        """To the batch script, once training is under way."""
        wait_for((self.folder / "one.runs").exists)
        os.kill(int((self.folder / "pid-4711").read_text()), number)


def wait_for(condition, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path / "cluster")
    made.behave("exit 0")
    yield made
    for path in made.folder.glob("pid-*"):  # of a test that failed half-way
        with_children = int(path.read_text())
        if Path(f"/proc/{with_children}").exists():
            os.killpg(with_children, signal.SIGKILL)


UNTIL_TOLD = "sleep 60 & wait $!"
SAVES = "kill $!; echo saved; exit $SAVED"


def test_a_command_reaches_the_tasks_as_it_was_given(cluster):
    cluster.behave('echo "step 1, token $HF_TOKEN"')
    secret = "hf_Xq7'\"$(id) zz"
    done = cluster.launch("run", *JOB, "--env=HF_TOKEN", *TRAIN, *HARD, env={"HF_TOKEN": secret})
    assert done.returncode == 0, done.stderr
    assert cluster.seen("one.arguments") == [*TRAIN[2:], *HARD]
    assert f"HF_TOKEN={secret}" in cluster.seen("one.environment")
    assert "step 1, token ***" in done.stdout and "1 of 1 finished" in done.stdout
    shown = done.stdout + done.stderr + (cluster.folder / "calls.jsonl").read_text()
    assert "hf_Xq7" not in shown
    (argv,) = cluster.calls("sbatch")
    assert {
        "--nodes=2",
        "--ntasks-per-node=4",
        "--gpus-per-node=4",
        "--partition=gpu",
        "--time=08:00:00",
        "--requeue",
        "--signal=B:USR1@120",
    } <= set(argv)
    assert not any(a.startswith("JAX_LOCAL_DEVICE_IDS=") for a in cluster.seen("one.environment"))


def test_one_task_a_node_gets_all_gpus_of_it(cluster):
    assert cluster.launch("run", *JOB, "--tasks_per=node", *TRAIN).returncode == 0
    assert "--ntasks-per-node=1" in cluster.calls("sbatch")[0]
    assert "JAX_LOCAL_DEVICE_IDS=0,1,2,3" in cluster.seen("one.environment")


def test_a_job_at_its_time_limit_saves_and_goes_on_after_a_requeue(cluster):
    cluster.behave(
        f'[ "$(wc -l < "{cluster.folder}/one.runs")" = 2 ] && exit 0\n{UNTIL_TOLD}', told=SAVES
    )
    assert cluster.launch("start", *JOB, *TRAIN).returncode == 0
    cluster.signal(signal.SIGUSR1)
    wait_for(lambda: len((cluster.folder / "one.runs").read_text().split()) == 2)
    done = cluster.launch("watch", *JOB)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "saved" in done.stdout and "start 1 on" in done.stdout
    assert cluster.calls("scontrol")[-1] == ["requeue", "4711"]


def test_a_command_that_was_interrupted_behind_the_scripts_back_is_requeued(cluster):
    """Preemption tells the tasks, and on many clusters not the batch script."""
    cluster.behave(f'[ "$(wc -l < "{cluster.folder}/one.runs")" = 2 ] && exit 0\nexit $SAVED')
    done = cluster.launch("run", *JOB, *TRAIN)
    wait_for(lambda: len((cluster.folder / "one.runs").read_text().split()) == 2)
    assert cluster.calls("scontrol")[-1] == ["requeue", "4711"]
    assert cluster.launch("watch", *JOB).returncode == 0, done.stdout


def test_a_cancelled_job_saves_and_does_not_come_back(cluster):
    cluster.behave(UNTIL_TOLD, told=SAVES)
    cluster.launch("start", *JOB, *TRAIN)
    wait_for((cluster.folder / "one.runs").exists)
    refused = cluster.launch("delete", *JOB)
    assert refused.returncode == 1 and "wanted --yes" in refused.stderr
    assert not cluster.calls("scancel")
    assert cluster.launch("delete", *JOB, "--yes").returncode == 0
    done = cluster.launch("watch", *JOB)
    assert done.returncode == 1 and "saved" in done.stdout
    assert "interrupted and saved; `start` it again" in done.stdout
    assert [argv[0] for argv in cluster.calls("scontrol")] == ["show"]


def test_a_crash_is_told_and_not_requeued(cluster):
    cluster.behave('echo "signbind: error: out of memory"; exit 3')
    done = cluster.launch("run", *JOB, *TRAIN)
    assert done.returncode == 1 and "signbind: error: out of memory" in done.stdout
    assert "failed, exit code 3" in done.stdout and not cluster.calls("scontrol")


def test_restarts_have_an_end(cluster):
    cluster.behave("exit $SAVED")
    cluster.launch("start", *JOB, "--max_resumes=2", *TRAIN)
    exit_file = cluster.here / "runs" / "launch" / "signing" / "exit-4711"
    wait_for(exit_file.exists)
    assert (cluster.folder / "one.runs").read_text().split() == ["begun"] * 3
    assert exit_file.read_text() == "75"


def test_an_array_gives_each_task_its_index(cluster):
    cluster.behave('[ "$SLURM_ARRAY_TASK_ID" = 1 ] && exit 1\nexit 0')
    command = ["--", "signbind", "sweep", "--workdir=runs/a b", "--point={array_index}"]
    done = cluster.launch("run", "--name=sweep", "--gpus_per_node=1", "--array=0-2%2", *command)
    assert done.returncode == 1
    for i in range(3):
        assert cluster.seen(f"{i}.arguments") == [*command[2:-1], f"--point={i}"]
    assert "job 4711_1: failed, exit code 1" in done.stdout and "2 of 3 finished" in done.stdout
    assert "--array=0-2%2" in cluster.calls("sbatch")[0]


def test_setup_is_sourced_before_the_command(cluster):
    (cluster.here / "modules.sh").write_text("export FROM_SETUP='it ran'\n")
    assert cluster.launch("run", *JOB, "--setup=modules.sh", *TRAIN).returncode == 0
    assert "FROM_SETUP=it ran" in cluster.seen("one.environment")


@pytest.mark.parametrize("program", ["sbatch", "squeue"])
def test_a_controller_that_does_not_answer_is_asked_again(cluster, program):
    cluster.fail(program, 1, 2)
    done = cluster.launch("run", *JOB, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "Socket timed out" in done.stdout
    assert (cluster.folder / "one.runs").read_text() == "begun\n"


def test_a_wrong_partition_is_told_once_in_one_line(cluster):
    cluster.fail("sbatch", 1, 2, 3, stderr="sbatch: error: invalid partition specified: gpu")
    done = cluster.launch("start", *JOB, *TRAIN)
    assert done.returncode == 1 and len(cluster.calls("sbatch")) == 1
    assert done.stderr.count("\n") == 1 and "invalid partition specified: gpu" in done.stderr


def test_start_again_leaves_a_job_in_the_queue_and_a_finished_one(cluster):
    cluster.behave(UNTIL_TOLD, told="kill $!; exit 0")
    for _ in range(2):
        assert cluster.launch("start", *JOB, *TRAIN).returncode == 0
    cluster.signal(signal.SIGTERM)
    assert cluster.launch("watch", *JOB).returncode == 0
    again = cluster.launch("start", *JOB, *TRAIN)
    assert "has finished already" in again.stdout and len(cluster.calls("sbatch")) == 1


@pytest.mark.parametrize("action", ["run", "start", "watch", "delete"])
def test_no_dry_run_writes_or_asks_anything(cluster, action):
    done = cluster.launch(action, *JOB, "--dry_run", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert not list(cluster.here.iterdir()) and not (cluster.folder / "calls.jsonl").exists()


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ('{"job_id": "47', "submission.json: not readable as JSON"),
        ("[]", "submission.json: found [], wanted an object with 'job_id'"),
        ('{"job_id": 4711}', "submission.json: job_id: found 4711, wanted str"),
        ('{"job_id": "../x", "indexes": [], "command": []}', "job_id: found '../x'"),
        ('{"job_id": "1", "indexes": ["a"], "command": []}', "indexes: found"),
        ('{"job_id": "1", "indexes": [], "command": [1]}', "command: found '[1]'"),
    ],
)
def test_a_damaged_record_of_a_job_is_told_in_one_line(cluster, record, told):
    folder = cluster.here / "runs" / "launch" / "signing"
    folder.mkdir(parents=True)
    (folder / "submission.json").write_text(record)
    done = cluster.launch("watch", *JOB)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and told in done.stderr


def test_a_damaged_exit_code_is_told_in_one_line(cluster):
    cluster.launch("run", *JOB, *TRAIN)
    (cluster.here / "runs" / "launch" / "signing" / "exit-4711").write_text("\u0660\n")
    done = cluster.launch("watch", *JOB)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "exit-4711: found '\u0660\\n', wanted an exit code" in done.stderr


@pytest.mark.parametrize(
    ("program", "answer", "told"),
    [
        ("sbatch", "\\n\\n", "sbatch: found '', wanted a job's number"),
        ("sbatch", "Submitted ../x", "sbatch: found 'Submitted ../x'"),
        ("squeue", "slurm_load_jobs error", "squeue: state: found 'slurm_load_jobs'"),
    ],
)
def test_an_answer_that_is_none_is_told_in_one_line(cluster, program, answer, told):
    put_program(cluster.bin, program, f"printf '{answer}'")
    done = cluster.launch("run", *JOB, *TRAIN)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and told in done.stderr


def test_dry_run_prints_what_start_submits(cluster):
    dry = cluster.launch(
        "start",
        *JOB,
        "--env=HF_TOKEN",
        "--dry_run",
        *TRAIN,
        *HARD,
        env={"HF_TOKEN": "hf_Xq7secret"},
    )
    assert dry.returncode == 0 and not cluster.calls("sbatch")
    assert not list(cluster.here.iterdir()) and "hf_Xq7" not in dry.stdout + dry.stderr
    cluster.launch("start", *JOB, *TRAIN, *HARD)
    printed = dry.stdout[re.search("^sbatch", dry.stdout, re.MULTILINE).start() :]
    assert shlex.split(printed) == ["sbatch", *cluster.calls("sbatch")[0]]
    subprocess.run(["bash", "-n"], input=dry.stdout, text=True, check=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["start", *JOB], "found no command"),
        (["start", *JOB, "--array=0-3", *TRAIN], "without {array_index}"),
        (["start", *JOB, *TRAIN, "--point={array_index}"], "wanted both or neither"),
        (["start", *JOB, "--array=a", *TRAIN], "--array: found 'a'"),
        (["start", *JOB, "--setup=nowhere.sh", *TRAIN], "found no file 'nowhere.sh'"),
        (["start", *JOB, "--nodes=0", *TRAIN], "--nodes: found 0"),
        (["start", *JOB, "--", "signbind", "train", "--workdir=gs://b/x"], "a path on the cluster"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_submitted(cluster, arguments, told):
    done = cluster.launch(*arguments)
    assert done.returncode == 2 and told in done.stderr and not cluster.calls("sbatch")
