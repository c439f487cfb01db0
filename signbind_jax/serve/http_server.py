"""The HTTP server: uvicorn, with what it lacks against silent clients and at its end."""

import contextlib
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from signbind_jax.errors import SignBindError

_SILENT_S = 10.0  # a connection without a whole head of a request
_STOP_S = 10  # for answers that are being sent when the server stops
_FILES_A_CONNECTION = 2


class _Protocol(H11Protocol):
    """Closes connections on which no request comes, however slowly its head trickles in."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(_SILENT_S, self._close_silent)

    def _close_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class HttpServer(uvicorn.Server):
    """Serves an ASGI application until SIGTERM or SIGINT.

    Args:
      started: called once it can be reached.
      stop: awaited before connections are closed: answers what waits.
    """

    def __init__(
        self,
        app: Any,
        most_connections: int,
        started: Callable[[], None],
        stop: Callable[[], Awaitable[None]],
    ):
        _allow_files(_FILES_A_CONNECTION * most_connections)
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=most_connections,
            timeout_graceful_shutdown=_STOP_S,
        )
        super().__init__(config)
        self._tell_started, self._stop = started, stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self):
        # A signal has ended the server well; uvicorn would raise it again to kill the process.
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, not listening yet.

    Raises:
      SignBindError: no such address, or it is in use.
    """
    where = f"--host={host} --port={port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SignBindError(f"{where}: cannot be used: {error.strerror or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise SignBindError(f"{where}: cannot be used: {error.strerror or error}") from error
    return bound


def _allow_files(n: int) -> None:
    """Raises this process's limit of open files towards `n` more than it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        wanted = soft + n
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
