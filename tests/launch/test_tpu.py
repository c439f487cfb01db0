"""`signbind launch tpu` against a cloud in a folder, whose workers run what they are sent."""

import os
import re
import shlex
import signal
import subprocess
import time

import pytest

from tests.launch.stand_ins import HARD, Cloud, begin, launch

SECRET = "hf_Xq7'\"$(id) zz"
POD = [
    "--name=signing",
    "--zone=us-central2-b",
    "--accelerator=v5litepod-16",
    "--source=signbind-jax",
]
JOB = [*POD, "--mount=gs://bucket:/mnt/b"]
TRAIN = ["--", "signbind", "train", "--workdir=/mnt/b/signing"]


@pytest.fixture
def cloud(tmp_path):
    (tmp_path / "here").mkdir()
    return Cloud.make(tmp_path / "cloud")


def tpu(cloud, *arguments, **how):
    return launch("tpu", *arguments, bin=cloud.bin, cwd=cloud.folder.parent / "here", **how)


def one_line(text: str) -> str:
    assert text.count("\n") == 1 and text.startswith("signbind: error: "), text
    return text


def test_a_command_reaches_every_worker_as_it_was_given(cloud):
    cloud.behave('echo "step 1 on $(hostname)"; sleep 0.2; echo "token $HF_TOKEN"')
    done = tpu(
        cloud,
        "run",
        *JOB,
        "--env=HF_TOKEN",
        "--env=MODE=a b",
        *TRAIN,
        *HARD,
        env={"HF_TOKEN": SECRET},
    )
    assert done.returncode == 0, done.stderr
    for i in range(2):
        assert cloud.worker(i, "arguments").split("\0")[:-1] == [*TRAIN[2:], *HARD]
        seen = cloud.worker(i, "environment_seen").split("\0")
        assert f"HF_TOKEN={SECRET}" in seen and "MODE=a b" in seen
        assert "gcsfuse --implicit-dirs" in cloud.worker(i, "programs")
        assert not (cloud.folder / f"worker{i}" / "pwned").exists()
    # Process 0's log, once, without the secret; the states on the way.
    assert done.stdout.count("step 1 on worker0") == 1 and "on worker1" not in done.stdout
    assert "token ***" in done.stdout
    assert re.findall(r"signing: ([A-Z_]+)$", done.stdout, re.MULTILINE) == [
        "ABSENT",
        "WAITING_FOR_RESOURCES",
        "PROVISIONING",
        "ACTIVE",
    ]
    everything = done.stdout + done.stderr + (cloud.folder / "calls.jsonl").read_text()
    assert "hf_Xq7" not in everything


def test_environment_is_readable_by_its_owner_alone_and_not_left_here(cloud):
    assert (
        tpu(cloud, "run", *JOB, "--env=HF_TOKEN", *TRAIN, env={"HF_TOKEN": SECRET}).returncode == 0
    )
    assert not list((cloud.folder / "worker0" / "signbind").rglob("environment*"))
    (copied,) = [word for argv in cloud.calls("scp") for word in argv if "environment" in word]
    assert not os.path.exists(copied)


def test_no_job_gets_the_environment_of_another_nor_one_left_behind(cloud):
    cloud.put("states", ["ACTIVE"])
    tpu(cloud, "install", *POD)
    for i in range(2):  # of starts that were cut off between the copy and the start
        for name in ("environment-other", "environment-signing"):
            (cloud.folder / f"worker{i}" / "signbind" / name).write_text("export LEFT=behind\n")
    assert tpu(cloud, "start", *JOB, *TRAIN).returncode == 0
    wait_for((cloud.folder / "worker0" / "signbind" / "jobs" / "signing" / "exit_code").exists)
    assert "LEFT=behind" not in cloud.worker(0, "environment_seen")
    assert not (cloud.folder / "worker0" / "signbind" / "environment-signing").exists()


def test_variables_may_have_any_name_and_value(cloud):
    cloud.put("states", ["ACTIVE"])
    tpu(cloud, "install", *POD)
    values = {"argv": "a\nb", "dir": "'\"$(id)", "file": "-x", "child": "\\", "code": " "}
    given = [f"--env={name}={value}" for name, value in values.items()]
    assert tpu(cloud, "start", *JOB, *given, *TRAIN).returncode == 0
    wait_for((cloud.folder / "worker0" / "signbind" / "jobs" / "signing" / "exit_code").exists)
    seen = cloud.worker(0, "environment_seen").split("\0")
    assert {f"{name}={value}" for name, value in values.items()} <= set(seen)
    assert cloud.worker(0, "arguments").split("\0")[:-1] == TRAIN[2:]


def test_a_preempted_run_is_created_and_started_again(cloud):
    cloud.plan(["ACTIVE"] * 4 + ["SUSPENDING", "SUSPENDED"], ["PROVISIONING", "ACTIVE"])
    # Training is under way on the first machines and ends on the second.
    cloud.behave('[ "$(cat "$HOME/runs")" = runrun ] && { echo resumed; exit 0; }\nexec sleep 60')
    done = tpu(cloud, "run", *JOB, "--capacity=spot", *TRAIN, "--seed=1")
    assert done.returncode == 0, done.stderr
    assert "resumed" in done.stdout and "resume 1" in done.stdout
    created = cloud.calls("create")
    assert len(created) == 2 and created[0] == created[1] and "--spot" in created[0]
    assert len(cloud.calls("delete", "--force")) == 1
    started = [argv[6] for argv in cloud.calls("ssh") if "worker.sh start" in argv[6]]
    assert len(started) == 2 and started[0] == started[1]


def test_resume_brings_a_failed_resource_back(cloud):
    cloud.put("states", ["FAILED"])
    cloud.plan(["ACTIVE"])
    refused = tpu(cloud, "create", *POD)
    assert refused.returncode == 1 and "found it FAILED" in one_line(refused.stderr)
    assert tpu(cloud, "resume", *JOB, *TRAIN).returncode == 0
    assert [argv[3] for argv in cloud.calls() if argv[3] in ("delete", "create")] == [
        "delete",
        "create",
    ]


def test_an_interrupted_command_is_started_again_where_the_machines_stay(cloud):
    cloud.behave('[ "$(cat "$HOME/runs")" = run ] && exit $SAVED\nexit 0')
    done = tpu(cloud, "run", *JOB, *TRAIN)
    assert done.returncode == 0 and "interrupted, saved; resume 1" in done.stdout
    assert cloud.worker(0, "runs") == "runrun" and len(cloud.calls("create")) == 1


@pytest.mark.parametrize("n", [3, 6, 8])
def test_a_call_that_fails_once_is_made_again(cloud, n):
    cloud.fail(n)
    done = tpu(cloud, "run", *JOB, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "Service Unavailable" in done.stdout
    assert cloud.worker(0, "runs") == "run" and cloud.worker(1, "runs") == "run"


def test_what_no_second_try_can_mend_is_told_in_one_line(cloud):
    cloud.fail(
        2, stderr="ERROR: (gcloud.x) PERMISSION_DENIED: tpu.googleapis.com has not been used"
    )
    done = tpu(cloud, "create", *POD)
    assert done.returncode == 1
    line = one_line(done.stderr)
    assert "creating the queued resource" in line and "PERMISSION_DENIED" in line
    assert len(cloud.calls("create")) == 1


def test_run_again_finds_everything_there(cloud):
    for _ in range(2):
        assert tpu(cloud, "run", *JOB, *TRAIN).returncode == 0
    assert len(cloud.calls("create")) == 1 and cloud.worker(0, "runs") == "run"
    assert cloud.worker(0, "programs").count("uv pip install") == 1
    # Another command on the same machines is another run.
    assert tpu(cloud, "run", *JOB, *TRAIN, "--seed=2").returncode == 0
    assert cloud.worker(0, "runs") == "runrun"


def test_start_leaves_a_running_command_alone(cloud):
    cloud.put("states", ["ACTIVE"])
    cloud.behave("exec sleep 60")
    tpu(cloud, "install", *POD)
    for _ in range(2):
        assert tpu(cloud, "start", *JOB, *TRAIN).returncode == 0
    assert cloud.worker(0, "runs") == "run"
    tpu(cloud, "delete", *POD, "--yes")


def test_a_failed_command_says_how_every_worker_ended(cloud):
    cloud.behave('echo "signbind: error: out of memory on $(hostname)" >&2; exit 1')
    done = tpu(cloud, "run", *JOB, *TRAIN)
    assert done.returncode == 1
    for name in ("worker0", "worker1"):
        assert f"signbind worker {name}: exited 1: signbind: error: out of memory" in done.stdout
    assert "failed on process 0, exit code 1" in done.stdout


def test_a_machine_that_was_started_anew_does_not_end_the_run(cloud):
    """It knows nothing of its command any more; the others fail without it."""
    # Worker 1 goes while it is watched (a command that is gone before `start` has seen it did not
    # start), and worker 0 fails after that.
    cloud.behave(
        '[ "$(cat "$HOME/runs")" = runrun ] && exit 0\n'
        'gone="$STAND_IN_CLOUD/gone"\n'
        'if [ "$(hostname)" = worker0 ]; then\n'
        '  until [ -e "$gone" ] && ! kill -0 $(cat "$gone"); do sleep 0.1; done\n'
        "  exit 1\n"
        "fi\n"
        'until grep -q "worker.sh report" "$STAND_IN_CLOUD/calls.jsonl"; do\n'
        "  sleep 0.1\n"
        "done\n"
        'echo $$ > "$gone.part"; mv "$gone.part" "$gone"\n'
        "kill -KILL $PPID $$"
    )
    done = tpu(cloud, "run", *JOB, *TRAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "interrupted on one of the workers; resume 1" in done.stdout


def test_a_request_that_fails_is_told_with_what_the_service_says(cloud):
    cloud.plan(["PROVISIONING", "FAILED"])
    done = tpu(cloud, "run", *JOB, *TRAIN)
    assert done.returncode == 1 and "found it FAILED, wanted ACTIVE" in one_line(done.stderr)
    assert len(cloud.calls("create")) == 1


def test_control_c_leaves_the_command_running(cloud):
    cloud.behave("exec sleep 60")
    running = begin("tpu", "run", *JOB, *TRAIN, bin=cloud.bin, cwd=cloud.folder.parent / "here")
    # Watching begins when the first report is asked for.
    wait_for(lambda: any("report" in argv[6] for argv in cloud.calls("ssh")))
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=300)
    assert running.returncode == 130 and "the command goes on there" in stdout, stdout + stderr
    assert "Traceback" not in stderr
    os.kill(int(cloud.worker(0, "processes").split()[1]), 0)  # raises where there is none
    tpu(cloud, "delete", *POD, "--yes")


def test_dry_run_prints_the_commands_that_a_run_gives(cloud):
    how = {"env": {"HF_TOKEN": SECRET}}
    dry = tpu(cloud, "run", *JOB, "--env=HF_TOKEN", "--dry_run", *TRAIN, *HARD, **how)
    assert dry.returncode == 0 and not cloud.calls()
    assert not list((cloud.folder.parent / "here").iterdir())
    assert "hf_Xq7" not in dry.stdout + dry.stderr
    assert tpu(cloud, "run", *JOB, "--env=HF_TOKEN", *TRAIN, *HARD, **how).returncode == 0
    subprocess.run(["bash", "-n"], input=dry.stdout, text=True, check=True)
    printed = [argv[1:] for argv in commands(dry.stdout)]
    # The waiting in between apart, and the place of a file that is gone afterwards.
    given = [argv for argv in cloud.calls() if "describe" not in argv]
    printed = [argv for argv in printed if "describe" not in argv]
    assert [without_place(a) for a in printed] == [without_place(a) for a in given]


def commands(script: str) -> list[list[str]]:
    """The commands of a shell script of single commands, newlines in quotes included."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        if not text and line.startswith("#"):
            continue
        text += line
        try:
            found.append(shlex.split(text))
            text = ""
        except ValueError:  # inside quotes
            continue
    return found


def without_place(argv: list[str]) -> list[str]:
    return [re.sub(r".*/environment-", "environment-", a) for a in argv]


def test_delete_asks(cloud):
    cloud.put("states", ["ACTIVE"])
    asked = tpu(cloud, "delete", *POD)
    assert asked.returncode == 1 and "wanted --yes" in one_line(asked.stderr)
    assert not cloud.calls("delete")
    assert tpu(cloud, "delete", *POD, "--yes").returncode == 0
    assert len(cloud.calls("delete")) == 1
    assert "there is none" in tpu(cloud, "delete", *POD).stdout


def test_slices_are_asked_for_and_started_together(cloud):
    done = tpu(cloud, "run", *JOB, "--slices=2", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert {"--node-count=2", "--node-prefix=signing"} <= set(cloud.calls("create")[0])
    started = [argv[4] for argv in cloud.calls("ssh") if "worker.sh start" in argv[6]]
    assert started == ["signing-0", "signing-1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", *JOB], "found no command"),
        (["run", *JOB, "--", "signbind", "train", "--workdir=gs://b/run"], "not gs:// objects"),
        (["run", *JOB, "--", "signbind", "train", "--workdir", "runs/x"], "an absolute path"),
        (["run", *JOB, "--", "signbind", "train", "--workdir=/home/me/x"], "under /mnt/b"),
        (["run", *JOB, "--", "signbind", "train", "--workdir=/mnt/b/../x"], "under /mnt/b"),
        (["run", *JOB, "--env=NO_SUCH_THING", *TRAIN], "found no such variable here"),
        (["run", *JOB, "--env=A B=hf_Xq7secret", *TRAIN], "wanted NAME"),
        (["run", *JOB, "--mount=bucket", *TRAIN], "--mount: found 'bucket'"),
        (["run", "--name=a", "--zone=z", "--accelerator=h100-8", *TRAIN], "v5litepod"),
        (["run", "--name=a", "--zone=z", *TRAIN], "--accelerator: found none"),
        (["run", "--name=Signing", "--zone=z", *TRAIN], "found 'Signing'"),
        (["fly", *JOB, *TRAIN], "invalid choice: 'fly'"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_asked_for(cloud, arguments, told):
    done = tpu(cloud, *arguments)
    assert done.returncode == 2 and told in done.stderr and not cloud.calls()
    assert "hf_Xq7" not in done.stderr


def test_a_missing_gcloud_is_told_in_one_line(cloud):
    (cloud.bin / "gcloud").unlink()
    done = tpu(cloud, "create", *POD, env={"PATH": str(cloud.bin)})
    assert done.returncode == 1 and "install the Google Cloud CLI" in one_line(done.stderr)


def test_a_worker_that_is_told_to_stop_passes_it_on(cloud):
    """What a TPU VM does when it is taken away: SIGTERM, and some seconds."""
    home = cloud.folder / "worker0"
    cloud.put("states", ["ACTIVE"])
    cloud.behave(
        "trap 'kill $!; sleep 0.2; echo saved; exit $SAVED' TERM; sleep 60 & echo begun; wait $!"
    )
    tpu(cloud, "install", *POD)
    tpu(cloud, "start", *JOB, *TRAIN)
    job = home / "signbind" / "jobs" / "signing"
    wait_for(lambda: "begun" in (job / "log.txt").read_text())
    supervisor = int((home / "processes").read_text().split()[0])
    os.kill(supervisor, signal.SIGTERM)
    wait_for((job / "exit_code").exists)
    assert (job / "exit_code").read_text() == "75"
    assert (job / "log.txt").read_text() == "begun\nsaved\n"
    watched = tpu(cloud, "watch", *POD)
    assert watched.returncode == 1 and "interrupted, saved" in one_line(watched.stderr)


def wait_for(condition, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_uncommitted_changes_are_shipped_and_new_files_counted(cloud, tmp_path):
    checkout = tmp_path / "checkout"
    git = ["git", "-C", str(checkout), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    (checkout / "model.py").write_text("width = 1\n")
    (checkout / "constraints.txt").write_text("jax==0.10.2\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    (checkout / "model.py").write_text("width = 2\n")
    (checkout / "notes.txt").write_text("new\n")
    cloud.put("states", ["ACTIVE"])
    done = tpu(
        cloud,
        "install",
        *POD,
        f"--source={checkout}",
        env={
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@e",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@e",
        },
    )
    assert done.returncode == 0, done.stderr
    assert "with uncommitted changes; 2 tracked files, 0.0 MB; 1 untracked files" in done.stdout
    (packed,) = (cloud.folder / "worker1" / "signbind").glob("source-*.tar.gz")
    assert f"{packed}[tpu,corpora,llm]" in cloud.worker(1, "programs")
    listing = subprocess.run(
        ["tar", "-xzOf", packed, "signbind-jax/model.py"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    assert listing == "width = 2\n"
    constraints = packed.with_name("constraints.txt")
    assert f"--constraint {constraints}" in cloud.worker(1, "programs")
    assert constraints.read_text() == "jax==0.10.2\n"
