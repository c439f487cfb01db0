"""A GKE cluster in a folder: `stand_in_gke.py xpk|kubectl ARGUMENT...`.

It records calls, fails where it was told to, and answers from a plan: one jobset state and one
log for each time it is asked.
"""

import json
import os
import sys
from pathlib import Path

CLUSTER = Path(os.environ["STAND_IN_CLOUD"])


def main(program: str, argv: list[str]) -> int:
    flags = dict(a[2:].partition("=")[::2] for a in argv if a.startswith("--"))
    record = {"argv": [program, *argv]}
    if "env-file" in flags:
        names = Path(flags["env-file"]).read_text()
        record["env_file"] = names
        record["values"] = {name: os.environ.get(name) for name in names.split()}
    with (CLUSTER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(record) + "\n")
    n = len((CLUSTER / "calls.jsonl").read_text().splitlines())
    plan = json.loads((CLUSTER / "plan.json").read_text())
    if n in plan["fail"]:
        print("error: connection reset", file=sys.stderr)
        return 1
    if program == "kubectl":
        return kubectl(argv[0], plan)
    verb = argv[1]
    if verb == "create":
        plan["there"] = True
    elif verb == "delete":
        plan["there"] = False
    (CLUSTER / "plan.json").write_text(json.dumps(plan))
    return 0


def kubectl(verb: str, plan: dict) -> int:
    if not plan["there"]:
        print('Error from server (NotFound): jobsets "x" not found', file=sys.stderr)
        return 1
    if verb == "get":
        state, plan["states"] = plan["states"][0], plan["states"][1:] or plan["states"]
        conditions = [] if state == "Running" else [{"type": state, "status": "True"}]
        print(json.dumps({"status": {"conditions": conditions, "restarts": 0}}))
    else:
        log, plan["logs"] = plan["logs"][0], plan["logs"][1:] or plan["logs"]
        print(log, end="")
    (CLUSTER / "plan.json").write_text(json.dumps(plan))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
