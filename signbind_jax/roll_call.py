"""Processes find each other before JAX's runtime starts, so that who is missing can be told.

JAX's own start gives up on two clocks, the client's and the service's, and where the client's is
first it aborts the process from C++ without a word about who is late. So process 0 first listens
on the coordinator's port itself, answers once all have come, and only then gives the port to JAX.
"""

import json
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack

from signbind_jax.errors import SignBindError

_NAMED = 8  # processes an error names
_SAY_S = 5.0  # for one that connects to say who it is, or for process 0 to give its verdict
_LOOK_S = 0.05
_MAX_LINE = 2**16  # bytes
_GO = "go"


def call_roll(coordinator: str, n: int, process: int, timeout_s: float) -> None:
    """Returns on every process once all n have come to `coordinator`.

    Args:
      coordinator: HOST:PORT of process 0.
      timeout_s: seconds to wait, on each from its own start.

    Raises:
      SignBindError: on every process that came: who did not, or who came twice or for a run of
        another number of processes; nobody at `coordinator`; its port is taken.
    """
    if n == 1:
        return
    if process == 0:
        _take_roll(coordinator, n, timeout_s)
    else:
        _answer(coordinator, n, process, timeout_s)


def missing(late: Iterable[int], n: int | str, timeout_s: float) -> str:
    """The line about processes that did not start."""
    late = sorted(late)
    named = ", ".join(map(str, late[:_NAMED])) + (" and more" if len(late) > _NAMED else "")
    return (f"--num_processes: found no process {named} of {n} within {timeout_s:g} s, wanted "
            "all: start the same command there with its own --process_id, or give a longer "
            "--host_timeout")  # fmt: skip


def _take_roll(coordinator: str, n: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    came: dict[int, tuple[socket.socket, str]] = {}
    with ExitStack() as connections:
        with _listen(coordinator) as door:
            problem = None
            while not problem and len(came) < n - 1 and time.monotonic() < deadline:
                problem = _admit(door, deadline, n, came, connections)
                for process in [i for i, (connection, _) in came.items() if _gone(connection)]:
                    del came[process]  # it may come again, started anew
            if not problem and len(came) < n - 1:
                problem = missing(set(range(1, n)) - set(came), n, timeout_s)
        # The door is shut before anyone is told to go: the next to open there is JAX's.
        for connection, _ in came.values():
            _send(connection, problem or _GO)
    if problem:
        raise SignBindError(problem)


def _listen(coordinator: str) -> socket.socket:
    # Where JAX itself would listen.
    address = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", coordinator)
    port = int(address.rsplit(":", 1)[1])
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(("", port), backlog=1024, dualstack_ipv6=both,
                                    family=socket.AF_INET6 if both else socket.AF_INET)  # fmt: skip
    except (OSError, OverflowError) as error:
        raise SignBindError(f"--coordinator: {coordinator}: process 0 cannot listen on port {port} "
                            f"({error}), wanted a free one: another run may have it"
                            ) from error  # fmt: skip


def _admit(door, deadline, n, came, connections) -> str | None:
    """Lets one process in, if one comes; what is wrong with it."""
    door.settimeout(min(max(deadline - time.monotonic(), 0.001), 1.0))
    try:
        connection = connections.enter_context(door.accept()[0])
        connection.settimeout(_SAY_S)
        told = json.loads(_line(connection))
        process, of, host = int(told["process"]), int(told["of"]), str(told["host"])
    except (OSError, ValueError, TypeError, KeyError):
        return None  # nobody, or none of ours: ports get scanned
    problem = None
    if of != n or not 0 < process < n:
        problem = (f"--num_processes: found {of} on process {process} ({host}) and {n} on process "
                   "0, wanted the same on all")  # fmt: skip
    elif process in came and not _gone(came[process][0]):
        problem = (f"--process_id: found {process} on {came[process][1]} and again on {host}, "
                   "wanted another number on each")  # fmt: skip
    if problem:
        _send(connection, problem)
    else:
        came[process] = (connection, host)
    return problem


def _answer(coordinator: str, n: int, process: int, timeout_s: float) -> None:
    place = f"process {process} of {n}"
    own = json.dumps({"process": process, "of": n, "host": socket.gethostname()})
    deadline = time.monotonic() + timeout_s
    with _reach(coordinator, place, deadline, timeout_s) as connection:
        _send(connection, own)
        connection.settimeout(timeout_s + _SAY_S)  # process 0 may have started just now
        try:
            verdict = _line(connection)
        except OSError as error:
            raise SignBindError(f"--coordinator: {coordinator}: {place} lost process 0 before all "
                                f"had come ({error or 'it closed the connection'}); see its log"
                                ) from error  # fmt: skip
    if verdict != _GO:
        raise SignBindError(verdict)
    # JAX would make its first retry late.
    _reach(coordinator, place, time.monotonic() + timeout_s + _SAY_S, timeout_s).close()


def _reach(coordinator: str, place: str, deadline: float, timeout_s: float) -> socket.socket:
    host, port = coordinator.rsplit(":", 1)
    while True:
        try:
            return socket.create_connection((host.strip("[]"), int(port)), timeout=_SAY_S)
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline:
                raise SignBindError(
                    f"--coordinator: {coordinator}: {place} found nobody there within "
                    f"{timeout_s:g} s ({error}), wanted process 0: start it with the same "
                    "--coordinator, and open the port between the hosts"
                ) from error
        time.sleep(_LOOK_S)


def _send(connection: socket.socket, text: str) -> None:
    try:
        connection.sendall(re.sub(r"\s+", " ", text).encode() + b"\n")
    except OSError:
        pass  # gone: the other side, or JAX's start after this, tells


def _line(connection: socket.socket) -> str:
    """One line of text; OSError where the other side closes before its end."""
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(4096)
        if not piece or len(data) > _MAX_LINE:
            raise ConnectionError("it closed the connection")
        data += piece
    return data.decode(errors="replace").strip()


def _gone(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
