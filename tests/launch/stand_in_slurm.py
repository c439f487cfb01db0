"""A SLURM cluster in a folder: sbatch runs its script here, squeue asks whether it still runs.

`stand_in_slurm.py PROGRAM ARGUMENT...` records the call, fails where it was told to, and keeps a
job's number, state and count of restarts in files.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

CLUSTER = Path(os.environ["STAND_IN_CLOUD"])
JOB = "4711"


def main(program: str, argv: list[str]) -> int:
    with (CLUSTER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps([program, *argv]) + "\n")
    asked = (CLUSTER / "calls.jsonl").read_text().count(f'["{program}"')
    for failure in json.loads((CLUSTER / "failures.json").read_text()):
        if failure["program"] == program and asked in failure["calls"]:
            print(failure["stderr"], file=sys.stderr)
            return 1
    return {
        "sbatch": sbatch,
        "squeue": squeue,
        "scancel": scancel,
        "scontrol": scontrol,
        "srun": srun,
    }[program](argv)


def sbatch(argv: list[str]) -> int:
    (CLUSTER / "sbatch.json").write_text(json.dumps(argv))
    flags = dict(a[2:].partition("=")[::2] for a in options(argv))
    indexes = range(3) if "array" in flags else [None]
    for index in indexes:
        begin(index, restarts=0)
    print(f"{JOB};thiscluster")
    return 0


def begin(index: int | None, restarts: int) -> None:
    argv = json.loads((CLUSTER / "sbatch.json").read_text())
    flags = dict(a[2:].partition("=")[::2] for a in options(argv))
    script = argv[len(options(argv)) :]
    number = JOB if index is None else str(int(JOB) + index)
    environment = {**os.environ, "SLURM_JOB_ID": number}
    output = flags["output"].replace("%j", JOB)
    if index is not None:
        environment |= {"SLURM_ARRAY_JOB_ID": JOB, "SLURM_ARRAY_TASK_ID": str(index)}
        output = output.replace("%A", JOB).replace("%a", str(index))
    if restarts:
        environment["SLURM_RESTART_COUNT"] = str(restarts)
    (CLUSTER / f"state-{number}").write_text("RUNNING")
    (CLUSTER / f"restarts-{number}").write_text(str(restarts))
    with open(output, "a") as log:
        process = subprocess.Popen(
            ["bash", *script],
            stdout=log,
            stderr=log,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    (CLUSTER / f"pid-{number}").write_text(str(process.pid))


def options(argv: list[str]) -> list[str]:
    return argv[: next(i for i, a in enumerate(argv) if not a.startswith("--"))]


def squeue(argv: list[str]) -> int:
    running = [p for p in CLUSTER.glob("pid-*") if alive(int(p.read_text()))]
    if not running:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    for path in running:
        print((CLUSTER / f"state-{path.name.partition('-')[2]}").read_text())
    return 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def scancel(argv: list[str]) -> int:
    (CLUSTER / f"state-{JOB}").write_text("CANCELLED")
    os.kill(int((CLUSTER / f"pid-{JOB}").read_text()), signal.SIGTERM)
    return 0


def scontrol(argv: list[str]) -> int:
    number = argv[-1]
    if argv[0] == "show":
        state = (CLUSTER / f"state-{number}").read_text()
        print(f"JobId={number} JobName=x UserId=me(1) JobState={state} Reason=None Restarts=0")
    elif argv[0] == "requeue":
        begin(None, int((CLUSTER / f"restarts-{number}").read_text()) + 1)
    return 0


def srun(argv: list[str]) -> int:
    command = argv[len(options(argv)) :]
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
