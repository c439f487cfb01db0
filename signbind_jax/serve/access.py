"""Who may ask: tokens, hosts and origins; and what browsers are told of every answer."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signbind_jax.serve.problems import Problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_GUARDED = ("/v1", "/metrics")
_READS = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Access:
    """ASGI middleware in front of everything.

    Args:
      token: what `Authorization: Bearer` has to carry; empty: nothing. The page itself and the
        health of the server need none.
      local: whether only this machine is served. A page from elsewhere whose name was made to lead
        to this machine is told apart by that name.
    """

    def __init__(self, app: ASGIApp, token: str, local: bool):
        self._app, self._token, self._local = app, token.encode(), local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._local and _hostname(host) not in LOOPBACK:
            raise Problem(421, f"Host: found {host[:100]!r}, wanted one of {', '.join(LOOPBACK)}")
        if scope["method"] not in _READS and origin and urlsplit(origin).netloc != host:
            raise Problem(403, f"Origin: found {origin[:100]!r}, wanted the server's own page")
        if self._token and scope["path"].startswith(_GUARDED):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # Compared in constant time, whatever its length.
            same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
            if scheme.lower() != "bearer" or not same:
                challenge = {"WWW-Authenticate": 'Bearer realm="signbind"'}
                raise Problem(401, "Authorization: wanted Bearer and the token", challenge)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
