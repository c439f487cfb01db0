"""One `signbind` command that leaves a record once it is done: what `Work` starts.

    python -m benchmarks.once RECORD.json COMMAND...

The record holds the command, whether it is `finished`, and its `seconds` and `processor_seconds`,
those of earlier calls that were interrupted included. Standard input is a pipe: a command ends with
the process that started it, and a training saves first.
"""

import os
import resource
import signal
import sys
import time
from pathlib import Path

from signbind_jax import cli, files
from signbind_jax.processes import exit_with_parent

_INTERRUPTED = "SIGNBIND_INTERRUPTED_CODE"  # else an interrupted training ends as a finished one


def finished(record: Path, command: list[str]) -> bool:
    """Whether a command was done with these very arguments."""
    found = files.read_json(record) if record.exists() else {}
    return found.get("command") == command and found.get("finished", True)


def _spent(record: Path, command: list[str]) -> tuple[float, float]:
    found = files.read_json(record) if record.exists() else {}
    if found.get("command") != command:
        return 0.0, 0.0
    return found["seconds"], found.get("processor_seconds", 0.0)


def main() -> int:
    record, command = Path(sys.argv[1]), sys.argv[2:]
    os.environ.setdefault(_INTERRUPTED, "75")
    exit_with_parent.watch(lambda: os.kill(os.getpid(), signal.SIGTERM))
    began, before = time.monotonic(), _spent(record, command)
    # As the command line has its own arguments: a training listens to signals from its first line.
    sys.argv = ["signbind", *command]
    code = cli.main()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = time.monotonic() - began, sum(u.ru_utime + u.ru_stime for u in used)
    seconds, processor = (round(a + b, 1) for a, b in zip(before, spent, strict=True))
    files.write_json(
        record,
        {
            "command": command,
            "finished": not code,
            "seconds": seconds,
            "processor_seconds": processor,
        },
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
