"""`signbind launch gke` against a stand-in xpk and kubectl."""

import json
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests.launch.stand_ins import HARD, HERE, launch, put_program

JOB = [
    "--name=signing",
    "--cluster=tpus",
    "--zone=us-central2-b",
    "--accelerator=v5litepod-16",
    "--image=registry/signbind:1",
    "--storage=data",
    "--shared=/mnt/data",
]
TRAIN = ["--", "signbind", "train", "--workdir=/mnt/data/signing"]
SECRET = "hf_Xq7'\"$(id) zz"
FIRST = "2026-01-01T00:00:01.000000001Z step 1\n"


class Cluster:
    """What was asked of a stand-in cluster, and what it answers."""

    def __init__(self, folder):
        self.folder, self.here, self.bin = folder, folder / "here", folder / "bin"
        self.here.mkdir(parents=True)
        self.plan()
        for name in ("xpk", "kubectl"):
            put_program(
                self.bin,
                name,
                f"exec {shlex.quote(sys.executable)} -S "
                f'{shlex.quote(str(HERE / "stand_in_gke.py"))} {name} "$@"',
            )

    def plan(
        self, states=("Suspended", "Running", "Completed"), logs=(FIRST,), there=False, fail=()
    ):
        plan = {"states": states, "logs": logs, "there": there, "fail": fail}
        (self.folder / "plan.json").write_text(json.dumps(plan))

    def launch(self, *arguments, **how):
        return launch("gke", *arguments, bin=self.bin, cwd=self.here, **how)

    def calls(self, *words: str) -> list[dict]:
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if set(words) <= set(call["argv"])]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path / "cluster")


def flag(call: dict, name: str) -> str:
    (found,) = [a for a in call["argv"] if a.startswith(f"--{name}=")]
    return found.partition("=")[2]


def run_as_a_pod_does(command: str, folder, script: str) -> subprocess.Popen:
    """The part of xpk's pod around the command: a shell in the background, signals passed on."""
    put_program(
        folder / "pod_bin",
        "signbind",
        f'printf "%s\\0" "$@" > {folder}/arguments\nSAVED=$SIGNBIND_INTERRUPTED_CODE\n{script}',
    )
    around = f"""_sigterm() (kill -SIGTERM $! 2>/dev/null;)
        trap _sigterm SIGTERM
        ({command}) & PID=$!
        while kill -0 $PID 2>/dev/null; do sleep 0.05; done
        wait $PID
        exit $?"""
    return subprocess.Popen(
        ["bash", "-c", around], env={"PATH": f"{folder / 'pod_bin'}:/usr/bin:/bin"}
    )


def test_a_command_reaches_the_pod_as_it_was_given(cluster):
    done = cluster.launch("run", *JOB, "--env=HF_TOKEN", *TRAIN, *HARD, env={"HF_TOKEN": SECRET})
    assert done.returncode == 0, done.stderr
    (call,) = cluster.calls("xpk", "create")
    assert {
        "--workload=signing",
        "--tpu-type=v5litepod-16",
        "--num-slices=1",
        "--storage=data",
        "--docker-image=registry/signbind:1",
        "--restart-on-exit-codes=75",
        "--zone=us-central2-b",
        "--cluster=tpus",
    } <= set(call["argv"])
    command = flag(call, "command")
    assert not set(command) & set("\n\"'$\\`{}")  # what YAML and the shell around would read
    assert run_as_a_pod_does(command, cluster.folder, "exit $SAVED").wait(300) == 75
    arguments = (cluster.folder / "arguments").read_text().split("\0")[:-1]
    assert arguments == [*TRAIN[2:], *HARD]
    # xpk takes the value from its environment: it is in no file and on no command line.
    assert call["env_file"] == "HF_TOKEN\n" and call["values"] == {"HF_TOKEN": SECRET}
    argv = json.dumps([c["argv"] for c in cluster.calls()])
    assert "hf_Xq7" not in done.stdout + done.stderr + argv


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("{", "kubectl get jobset: not readable as JSON"),
        ("[]", "kubectl get jobset: found [], wanted an object with 'status'"),
        ('{"status": 1}', "kubectl get jobset: status: found 1, wanted dict"),
        ('{"status": {"conditions": {}}}', "status: conditions: found {}, wanted list"),
        ('{"status": {"conditions": [{"status": "True"}]}}', "conditions: type: found nothing"),
        ('{"status": {"restarts": "many"}}', "status: restarts: found 'many', wanted int"),
    ],
)
def test_an_answer_that_is_no_jobset_is_told_in_one_line(cluster, answer, told):
    put_program(cluster.bin, "kubectl", f"printf '%s' {shlex.quote(answer)}")
    done = cluster.launch("watch", *JOB)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and told in done.stderr


def test_the_signal_that_ends_a_pod_reaches_the_command(cluster):
    assert cluster.launch("start", *JOB, *TRAIN).returncode == 0
    command = flag(cluster.calls("xpk", "create")[0], "command")
    pod = run_as_a_pod_does(
        command,
        cluster.folder,
        f"trap 'exit $SAVED' TERM; touch {cluster.folder}/begun; while :; do sleep 0.05; done",
    )
    deadline = time.monotonic() + 300
    while not (cluster.folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(300) == 75


def test_the_log_is_shown_once_although_it_is_asked_for_by_the_second(cluster):
    second = "2026-01-01T00:00:01.700000000Z step 2\n"
    cluster.plan(
        states=["Running", "Running", "Completed"], there=True, logs=[FIRST, FIRST + second, second]
    )
    done = cluster.launch("watch", *JOB)
    assert done.returncode == 0
    assert done.stdout.count("step 1\n") == 1 and done.stdout.count("step 2\n") == 1
    assert "signing: Running" in done.stdout and "signing: Completed" in done.stdout


def test_a_failed_workload_is_replaced_and_its_failure_told(cluster):
    cluster.plan(states=["Failed"], there=True)
    assert cluster.launch("watch", *JOB).returncode == 1
    cluster.plan(states=["Failed", "Running", "Completed"], there=True)
    assert cluster.launch("run", *JOB, *TRAIN).returncode == 0
    verbs = [c["argv"][2] for c in cluster.calls("xpk") if c["argv"][2] != "list"]
    assert verbs == ["delete", "create"]
    assert "--force" in cluster.calls("xpk", "delete")[0]["argv"]


def test_start_leaves_a_workload_that_is_there(cluster):
    cluster.plan(states=["Running"], there=True)
    assert cluster.launch("start", *JOB, *TRAIN).returncode == 0
    assert not cluster.calls("create")


@pytest.mark.parametrize("n", [2, 3])
def test_a_call_that_fails_once_does_not_end_the_run(cluster, n):
    cluster.plan(fail=[n])
    done = cluster.launch("run", *JOB, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "connection reset" in done.stdout


def test_dry_run_prints_the_commands_and_runs_none(cluster):
    how = {"env": {"HF_TOKEN": SECRET}}
    dry = cluster.launch("run", *JOB, "--env=HF_TOKEN", "--dry_run", *TRAIN, *HARD, **how)
    assert dry.returncode == 0 and not cluster.calls()
    assert "hf_Xq7" not in dry.stdout + dry.stderr and "HF_TOKEN" in dry.stdout
    subprocess.run(["bash", "-n"], input=dry.stdout, text=True, check=True)
    cluster.launch("start", *JOB, "--env=HF_TOKEN", *TRAIN, *HARD, **how)
    (line,) = [x for x in dry.stdout.splitlines() if x.startswith("xpk workload create")]
    given = cluster.calls("xpk", "create")[0]["argv"]
    printed = [a for a in shlex.split(line) if not a.startswith("--env-file=")]
    assert printed == [a for a in given if not a.startswith("--env-file=")]


def test_delete_asks(cluster):
    cluster.plan(states=["Running"], there=True)
    asked = cluster.launch("delete", *JOB)
    assert asked.returncode == 1 and "wanted --yes" in asked.stderr
    assert not cluster.calls("delete")
    assert cluster.launch("delete", *JOB, "--yes").returncode == 0
    assert "there is none" in cluster.launch("delete", *JOB).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", *JOB, "--", "signbind", "train", "--workdir=gs://b/run"], "not gs:// objects"),
        (["run", *JOB, "--", "signbind", "train", "--workdir=/data/x"], "under /mnt/data"),
        (["run", *JOB, "--image=", *TRAIN], "--image: found none"),
        (["run", *JOB, "--env=TWO=a\nb", *TRAIN], "--env=TWO: found a value of several lines"),
        (["run", *JOB], "found no command"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_asked_for(cluster, arguments, told):
    done = cluster.launch(*arguments)
    assert done.returncode == 2 and told in done.stderr and not cluster.calls()
