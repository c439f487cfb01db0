"""Carries a process's connection to process 0, so that we are told of its end, and not JAX.

JAX's client aborts its process from C++ the moment the connection to process 0 breaks, without a
word about who is gone, and offers no public way to be asked first. So the client connects to
this relay inside its own process, which leaves the client's side open when the other side ends.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable

_CONNECT_S = 10.0
_PIECE = 2**16  # bytes


class Relay:
    """Listens on a port of the loopback interface for this process's own client.

    Args:
      coordinator: HOST:PORT of process 0.

    Attributes:
      address: what to give JAX in place of `coordinator`.
      lost: set once process 0 has ended the connection or is not there.
    """

    def __init__(self, coordinator: str):
        host, port = coordinator.rsplit(":", 1)
        self._outside = (host.strip("[]"), int(port))
        self.lost = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._door.getsockname()[1]}"
        if any("_proxy" in variable.lower() for variable in os.environ):
            name = "no_grpc_proxy"  # gRPC would ask a proxy for it, and reads lower case alone
            without = os.environ.get(name) or os.environ.get("no_proxy")
            os.environ[name] = f"{without},127.0.0.1" if without else "127.0.0.1"
        self._start(self._serve)

    def _start(self, what: Callable, *arguments) -> None:
        threading.Thread(target=what, args=arguments, name="signbind relay", daemon=True).start()

    def _serve(self) -> None:
        while True:
            inner, _ = self._door.accept()
            try:
                outer = socket.create_connection(self._outside, _CONNECT_S)
            except OSError:
                self.lost.set()
                return
            outer.settimeout(None)
            for connection in (inner, outer):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ended = threading.Event()  # by this process's own client
            self._start(self._carry_out, inner, outer, ended)
            self._start(self._carry_in, outer, inner, ended)

    def _carry_out(self, inner, outer, ended) -> None:
        _carry(inner, outer)
        ended.set()
        with contextlib.suppress(OSError):
            outer.shutdown(socket.SHUT_RDWR)

    def _carry_in(self, outer, inner, ended) -> None:
        _carry(outer, inner)
        if not ended.is_set():
            self.lost.set()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    """Carries until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE):
            sink.sendall(data)
