"""Who may ask: tokens, hosts and origins; and what browsers are told of every answer."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signbind_jax.serve.problems import Problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_GUARDED = ("/v1", "/metrics")
_READS = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Access:
    """ASGI middleware in front of everything.

    Where a token is asked for, only who has it gets further than the page and the server's health.
    Where none is, only this machine can connect, and what pages of elsewhere could have its
    browsers ask is refused: requests by another name that was made to lead here, and those of
    another origin that change something.

    Args:
      token: what `Authorization: Bearer` has to carry; empty: nothing.
      wasm: whether the page may run WebAssembly.
    """

    def __init__(self, app: ASGIApp, token: str, wasm: bool = False):
        self._app, self._token = app, token.encode()
        scripts = " 'wasm-unsafe-eval'" if wasm else ""
        self._headers = _HEADERS | {
            "Content-Security-Policy": f"{_POLICY}; script-src 'self'{scripts}"
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
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
        if not self._token:
            _check_local(scope["method"], headers.get("host", ""), headers.get("origin"))
        elif scope["path"].startswith(_GUARDED):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # Compared in constant time, whatever its length.
            same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
            if scheme.lower() != "bearer" or not same:
                challenge = {"WWW-Authenticate": 'Bearer realm="signbind"'}
                raise Problem(401, "Authorization: wanted Bearer and the token", challenge)


def _check_local(method: str, host: str, origin: str | None) -> None:
    if _hostname(host) not in LOOPBACK:
        raise Problem(421, f"Host: found {host[:100]!r}, wanted one of {', '.join(LOOPBACK)}")
    if method not in _READS and origin and urlsplit(origin).netloc != host:
        raise Problem(403, f"Origin: found {origin[:100]!r}, wanted the server's own page")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
