"""A cloud in a folder: what `gcloud compute tpus` does, with directories for workers.

It records its arguments, follows a plan of states, fails where it was told to, and runs remote
commands for real, as ssh would: through a shell, in the home directory of each worker.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

CLOUD = Path(os.environ["STAND_IN_CLOUD"])


def main(argv: list[str]) -> int:
    with (CLOUD / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    n = len((CLOUD / "calls.jsonl").read_text().splitlines())
    for failure in json.loads((CLOUD / "failures.json").read_text()):
        if n in failure["calls"]:
            print(failure["stderr"], file=sys.stderr)
            return failure["code"]
    positional = [a for a in argv if not a.startswith("--")]
    flags = dict(a[2:].partition("=")[::2] for a in argv if a.startswith("--"))
    group, verb, rest = positional[2], positional[3], positional[4:]
    if group == "queued-resources":
        return queued_resources(verb)
    hosts = sorted(CLOUD.glob("worker*"))
    if flags["worker"] != "all":
        hosts = [CLOUD / f"worker{flags['worker']}"]
    run = {"ssh": ssh, "scp": scp}[verb]
    return max(run(host, rest, flags) for host in hosts)


def queued_resources(verb: str) -> int:
    """States come from plans.json: one list for each time the resource is created."""
    plans = json.loads((CLOUD / "plans.json").read_text())
    states = json.loads((CLOUD / "states.json").read_text())
    if verb == "create":
        if states:
            print("ERROR: (gcloud) ALREADY_EXISTS: it is there", file=sys.stderr)
            return 1
        states, plans = plans[0], plans[1:]
    elif verb == "delete":
        states = []
        for host in CLOUD.glob("worker*"):
            switch_off(host)
    elif not states:
        print("ERROR: (gcloud) NOT_FOUND: Resource 'x' was not found", file=sys.stderr)
        return 1
    else:
        print(states[0])
        states = states[1:] or states
    (CLOUD / "plans.json").write_text(json.dumps(plans))
    (CLOUD / "states.json").write_text(json.dumps(states))
    return 0


def switch_off(host: Path) -> None:
    """Its processes are gone, and its disk."""
    processes = host / "processes"
    for pid in processes.read_text().split() if processes.exists() else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(host / "signbind", ignore_errors=True)


def ssh(host: Path, rest: list[str], flags: dict[str, str]) -> int:
    # gcloud splits the command at spaces, and ssh puts them back.
    command = " ".join(flags["command"].split(" "))
    environment = {
        "HOME": str(host),
        "PATH": f"{CLOUD / 'on_workers'}:/usr/bin:/bin",
        "STAND_IN_CLOUD": str(CLOUD),
    }
    done = subprocess.run(["bash", "-c", command], cwd=host, env=environment)
    return done.returncode


def scp(host: Path, rest: list[str], flags: dict[str, str]) -> int:
    *sources, target = rest
    for source in sources:
        shutil.copy(source, host / target.partition(":")[2])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
