"""One command on several processes: JAX's runtime, started from flags, environment or cluster.

A process that fails tells the others why before it goes, and they go too: nobody waits for it
inside a computation.
"""

import argparse
import contextlib
import logging
import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax

from signbind_jax.distributed import hosts, libtpu_env
from signbind_jax.distributed.relay import Relay
from signbind_jax.distributed.rendezvous import call_roll, missing
from signbind_jax.distributed.watch import JAX_SILENCE_S, Watch, name, silence_s
from signbind_jax.errors import Interrupted, SignBindError, outcome, prefix
from signbind_jax.processes import interrupts
from signbind_jax.ranges import Range, argument

AUTO = "auto"
VARIABLES = {
    "coordinator": "SIGNBIND_COORDINATOR",
    "num_processes": "SIGNBIND_NUM_PROCESSES",
    "process_id": "SIGNBIND_PROCESS_ID",
}
_JOIN_S = 60  # for JAX's runtime to connect processes that are all there
# What a computation ends in, or the service's client, where another process has gone.
_OF_ANOTHER = re.compile(r"Gloo|NCCL|[Cc]onnection|[Ss]ocket|UNAVAILABLE|DEADLINE|heartbeat")

_watch: Watch | None = None


@dataclass(frozen=True)
class Place:
    """Which process this is; a `coordinator` of "auto" leaves it all to JAX."""

    coordinator: str
    num_processes: int = 0
    process_id: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that can run as several processes."""
    group = parser.add_argument_group(
        "several processes",
        "the same command on every host; SLURM, Open MPI and TPU pods are recognised without flags",
    )
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="where process 0 listens, or `auto` to ask the cluster (SIGNBIND_COORDINATOR)",
    )
    group.add_argument("--num_processes", metavar="N", help="in all (SIGNBIND_NUM_PROCESSES)")
    group.add_argument("--process_id", metavar="I", help="0 to N - 1 (SIGNBIND_PROCESS_ID)")
    seconds = argument(Annotated[float, Range(above=0, most=1e6)])
    group.add_argument(
        "--host_timeout",
        type=seconds,
        default=hosts.timeout_s,
        metavar="SECONDS",
        help="to wait for the other processes (default: %(default)g)",
    )


def place_of(arguments: argparse.Namespace) -> Place | None:
    """Reads what flags, environment or cluster say; None: a process on its own.

    Raises:
      SignBindError: flags or variables that do not fit together.
    """
    hosts.timeout_s = arguments.host_timeout
    given = {
        field: getattr(arguments, field) or os.environ.get(variable)
        for field, variable in VARIABLES.items()
    }
    given = {field: text for field, text in given.items() if text}
    if not given:
        return Place(AUTO) if _on_cluster() else None
    if given == {"coordinator": AUTO}:
        return Place(AUTO)
    missing = [field for field in VARIABLES if field not in given]
    if missing:
        raise SignBindError(
            f"found {_named(given)}, wanted --coordinator, --num_processes and "
            "--process_id together (or --coordinator=auto alone): add "
            + " and ".join(f"--{field}" for field in missing)
        )
    if not re.fullmatch(r".+:\d+", given["coordinator"]):
        raise SignBindError(
            f"--coordinator: found {given['coordinator']!r}, wanted HOST:PORT of process 0"
        )
    n, i = _number(given, "num_processes", 1), _number(given, "process_id", 0)
    if i >= n:
        raise SignBindError(f"--process_id: found {i}, wanted 0 to {n - 1} (--num_processes={n})")
    return Place(given["coordinator"], n, i)


def _named(given: dict[str, str]) -> str:
    return " and ".join(f"--{field}={text}" for field, text in given.items())


def _number(given: dict[str, str], field: str, least: int) -> int:
    if not given[field].isdecimal() or int(given[field]) < least:
        raise SignBindError(
            f"--{field}: found {given[field]!r}, wanted a whole number of at least {least}"
        )
    return int(given[field])


def _on_cluster() -> bool:
    """Says whether a scheduler started several of us, or this is a TPU virtual machine.

    More careful than JAX, which takes any shell inside a SLURM allocation for one of its tasks.
    """
    counts = (
        os.environ.get(name, "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    )
    return _on_tpu() or any(n.isdecimal() and int(n) > 1 for n in counts)


def _on_tpu() -> bool:
    """Says whether this machine has TPUs, which JAX does not tell in public before they start."""
    devices = [*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*")]
    # Some network cards are of the same vendor, and other devices have such names.
    return bool(devices) and libtpu_env.attached()


def start(place: Place | None) -> None:
    """Joins the other processes; to be called before anything touches a device.

    From then on what all but process 0 print is dropped, as is what they log below an error.

    Raises:
      SignBindError: process 0, or on process 0 another one, was not reached in time.
    """
    global _watch
    if place is None:
        return
    # Its handler would take SIGTERM away from ours (see `interrupts`).
    jax.config.update("jax_enable_preemption_service", False)
    patience = {"heartbeat_timeout_seconds": int(silence_s()) + JAX_SILENCE_S}
    relay = None
    try:
        if place.coordinator == AUTO:
            seconds = max(int(hosts.timeout_s), 1)
            jax.distributed.initialize(initialization_timeout=seconds, **patience)
        else:
            where = (place.coordinator, place.num_processes, place.process_id)
            call_roll(*where, hosts.timeout_s)
            if place.process_id:
                relay = Relay(place.coordinator)
                where = (relay.address, *where[1:])
            # All are there, however short the time that was given for that.
            jax.distributed.initialize(
                *where,
                cluster_detection_method="deactivate",
                initialization_timeout=_JOIN_S,
                **patience,
            )
    except (RuntimeError, ValueError, OSError) as error:
        raise SignBindError(_not_started(place, error)) from error
    if hosts.client() is None:
        return
    _let_process_0_speak()
    _watch = Watch(relay.lost if relay else threading.Event())
    _watch.start()


def _let_process_0_speak() -> None:
    """Keeps standard output to what process 0 prints: Gloo greets there from C++."""
    sys.stdout.flush()
    if hosts.is_primary():
        old = sys.stdout
        sys.stdout = open(  # noqa: SIM115
            os.dup(1),
            "w",
            encoding=old.encoding,
            errors=old.errors,
            buffering=1 if old.line_buffering else -1,
        )
        os.dup2(2, 1)
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.getLogger("signbind_jax").setLevel(logging.ERROR)


def _not_started(place: Place, error: Exception) -> str:
    text = " ".join(str(error).split())
    late = {int(i) for i in re.findall(r"task:(\d+)", text.partition("timed out task")[2])}
    if late:
        return missing(late, place.num_processes or "all", hosts.timeout_s)
    where = "the cluster" if place.coordinator == AUTO else place.coordinator
    return (
        f"--coordinator: {where}: the processes could not be joined ({text[:240]}); give "
        "--coordinator, --num_processes and --process_id"
    )


def run(
    command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace, *, debug: bool
) -> int:
    """Runs a command at its place among the others; its exit code.

    After a failure on one of several processes it tells the others, prints the one line (or
    with `debug` the traceback) and ends the process: on an ordinary way out JAX would wait.
    """
    _start_or_stop(arguments.place)
    try:
        code = command(arguments)
        if _watch is not None:
            _leave()
        return code
    except BaseException as error:
        if _watch is None:
            raise
        if _OF_ANOTHER.search(str(error)) and not isinstance(error, SignBindError):
            _watch.suspect()
        code, line = outcome(error)
        if debug:
            traceback.print_exc()
        place = f"{name()} on {socket.gethostname()}"
        tell = f"ended because {place} failed: {line}" if prefix(error) else line
        _watch.end(code, f"{prefix(error)}{line}", tell=tell)


def _start_or_stop(place: Place | None) -> None:
    signals = interrupts.active()
    try:
        start(place)
    except SignBindError as error:
        if signals is not None and signals.received:
            raise Interrupted(interrupts.BEFORE_FIRST_STEP) from error
        raise
    if signals is not None:
        signals.shared = hosts.client() is not None


def _leave() -> None:
    hosts.barrier("the end")
    _watch.stop()
    with contextlib.suppress(RuntimeError):
        jax.distributed.shutdown()
