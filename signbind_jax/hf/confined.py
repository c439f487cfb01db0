"""Runs what a stranger wrote in a process of its own, under limits of memory and time."""

import json
import signal
import subprocess
from typing import Any

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.processes import child

_WAIT = 60  # seconds by the clock: only a machine under load comes near


def run(task: str, *, memory: int, seconds: int, **given: Any) -> Any:
    """Calls a function of `confined_tasks`.

    Args:
      memory: bytes of address space.
      seconds: of processor time.
      given: the function's arguments, as JSON has them.

    Raises:
      SignBindError: the function failed or passed a limit; says what was found and wanted.
    """
    command, environment = child.python("signbind_jax.hf.confined_tasks")
    order = {"task": task, "memory": memory, "seconds": seconds, **given}
    # Threads would each claim address space of their own.
    environment["TOKENIZERS_PARALLELISM"] = "false"
    within = f"within {seconds} s and {memory / 1e6:,.0f} MB"
    try:
        done = subprocess.run(
            command,
            input=json.dumps(order),
            capture_output=True,
            timeout=_WAIT,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise SignBindError(f"found no end, wanted one {within}") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        found = {"SIGXCPU": "no end"}.get(name, name)
        raise SignBindError(f"found {found}, wanted an end {within}")
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
        raise SignBindError(f"found exit code {done.returncode} ({line}), wanted an end {within}")
    told = files.parse_json(done.stdout, "its result")
    if "error" in told:
        if told["error"] == "MemoryError":
            raise SignBindError(f"found a need of more memory, wanted an end {within}")
        raise SignBindError("found " + ": ".join(filter(None, (told["error"], told["line"]))))
    return told["result"]
