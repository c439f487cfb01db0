"""Processes find each other before JAX's runtime starts, so that who is missing can be told.

JAX's own start gives up on two clocks, the client's and the service's, and where the client's is
first it aborts the process from C++ without a word about who is late. So process 0 first listens
on the coordinator's port itself, answers once all have come, and only then gives the port to JAX.

Whoever reaches that port and knows this protocol can take the place of a process, as JAX's own
service lets him: it belongs into a network of one's own.
"""

import contextlib
import json
import os
import re
import selectors
import socket
import time
from collections.abc import Iterable

from signbind_jax.errors import SignBindError

_NAMED = 8  # processes an error names
_SAY_S = 5.0  # for one that connects to say who it is, or for process 0 to give its verdict
_LOOK_S = 0.05
_MAX_LINE = 2**12  # bytes
_MAX_HOST = 253  # characters of a name
_MAX_STRANGERS = 256  # connections that have said nothing yet
_GO = "go"


def call_roll(coordinator: str, n: int, process: int, timeout_s: float) -> None:
    """Returns on every process once all n have come to `coordinator`.

    Args:
      coordinator: HOST:PORT of process 0.
      timeout_s: seconds to wait, on each from its own start.

    Raises:
      SignBindError: on every process that came: who did not; on one that came twice or for a run
        of another number of processes, that; nobody at `coordinator`; its port is taken.
    """
    if n == 1:
        return
    if process == 0:
        _take_roll(coordinator, n, timeout_s)
    else:
        _answer(coordinator, n, process, timeout_s)


def missing(late: Iterable[int], n: int | str, timeout_s: float) -> str:
    """Writes the line about processes that did not start."""
    late = sorted(late)
    named = ", ".join(map(str, late[:_NAMED])) + (" and more" if len(late) > _NAMED else "")
    return (
        f"--num_processes: found no process {named} of {n} within {timeout_s:g} s, wanted all: "
        "start the same command there with its own --process_id, or give a longer --host_timeout"
    )


def _take_roll(coordinator: str, n: int, timeout_s: float) -> None:
    with _Roll(coordinator, n) as roll:
        deadline = time.monotonic() + timeout_s
        while len(roll.came) < n - 1 and time.monotonic() < deadline:
            roll.look(min(max(deadline - time.monotonic(), 0.001), _LOOK_S))
        roll.close_door()  # the next to open there is JAX's
        absent = set(range(1, n)) - set(roll.came)
        problem = "; ".join([missing(absent, n, timeout_s), *roll.turned_away]) if absent else ""
        for connection, _ in roll.came.values():
            _send(connection, problem or _GO)
    if problem:
        raise SignBindError(problem)


class _Roll:
    """The door at process 0, where anybody may knock: nobody is waited for alone, and no line of
    one that does not belong here ends the run.

    Attributes:
      came: process -> its open connection and its host.
      turned_away: what was said to those that do not fit, the first few.
    """

    def __init__(self, coordinator: str, n: int):
        self.n = n
        self.came: dict[int, tuple[socket.socket, str]] = {}
        self.turned_away: list[str] = []
        self._door = _listen(coordinator)
        self._door.setblocking(False)
        # Connections that have not said who they are: since when, what they said so far.
        self._strangers: dict[socket.socket, tuple[float, bytes]] = {}

    def __enter__(self) -> "_Roll":
        return self

    def __exit__(self, *_) -> None:
        self.close_door()
        for connection, _ in self.came.values():
            connection.close()

    def close_door(self) -> None:
        """Lets nobody in any more."""
        self._door.close()
        for connection in list(self._strangers):
            self._drop(connection)

    def look(self, seconds: float) -> None:
        """Lets in who comes within a time, and notes who has gone."""
        with selectors.DefaultSelector() as selector:
            for waited_for in (self._door, *self._strangers):
                selector.register(waited_for, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(seconds)]
        for connection in ready:
            if connection is not self._door:
                self._listen_to(connection)
        if self._door in ready:
            self._open()
        now = time.monotonic()
        for connection, (since, _) in list(self._strangers.items()):
            if now - since > _SAY_S:
                self._drop(connection)
        for process in [i for i, (connection, _) in self.came.items() if _gone(connection)]:
            self.came.pop(process)[0].close()  # it may come again, started anew

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            connection = self._door.accept()[0]
            connection.setblocking(False)
            self._strangers[connection] = (time.monotonic(), b"")
            if len(self._strangers) > _MAX_STRANGERS:
                self._drop(next(iter(self._strangers)))  # the oldest: ours speak at once

    def _drop(self, connection: socket.socket) -> None:
        self._strangers.pop(connection, None)
        connection.close()

    def _listen_to(self, connection: socket.socket) -> None:
        since, said = self._strangers[connection]
        try:
            piece = connection.recv(_MAX_LINE)
        except OSError:
            piece = b""
        said += piece
        if piece and b"\n" not in said and len(said) <= _MAX_LINE:
            self._strangers[connection] = (since, said)
            return
        del self._strangers[connection]
        try:
            told = json.loads(said)
            process, of, host = int(told["process"]), int(told["of"]), str(told["host"])[:_MAX_HOST]
        except (ValueError, TypeError, KeyError, RecursionError):
            connection.close()  # none of ours: ports get scanned
            return
        self._admit(connection, process, of, host)

    def _admit(self, connection: socket.socket, process: int, of: int, host: str) -> None:
        problem = None
        if of != self.n or not 0 < process < of:
            problem = (
                f"--num_processes: found {of} on process {process} ({host}) and {self.n} on "
                "process 0, wanted the same on all"
            )
        elif process in self.came and not _gone(self.came[process][0]):
            problem = (
                f"--process_id: found {process} on {self.came[process][1]} and again on {host}, "
                "wanted another number on each"
            )
        if problem is None:
            self.came[process] = (connection, host)
            return
        _send(connection, problem)
        connection.close()
        if len(self.turned_away) < _NAMED and problem not in self.turned_away:
            self.turned_away.append(problem)


def _listen(coordinator: str) -> socket.socket:
    # Where JAX itself would listen.
    address = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", coordinator)
    port = int(address.rsplit(":", 1)[1])
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port),
            backlog=1024,
            dualstack_ipv6=both,
            family=socket.AF_INET6 if both else socket.AF_INET,
        )
    except (OSError, OverflowError) as error:
        raise SignBindError(
            f"--coordinator: {coordinator}: process 0 cannot listen on port {port} "
            f"({error}), wanted a free one: another run may have it"
        ) from error


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
            raise SignBindError(
                f"--coordinator: {coordinator}: {place} lost process 0 before all "
                f"had come ({error or 'it closed the connection'}); see its log"
            ) from error
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
    """Reads one line of text; OSError where the other side closes before its end."""
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
