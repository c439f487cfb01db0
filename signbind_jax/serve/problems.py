"""Refusals as HTTP tells them: RFC 9457 problem details, with one line of detail."""

from http import HTTPStatus

from starlette.responses import JSONResponse

from signbind_jax.errors import printable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Problem(Exception):
    """A request that is refused: its status, one line that says why, and headers of the answer."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, printable(detail), headers or {}

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.detail,
            },
            self.status,
            self.headers,
            MEDIA_TYPE,
        )


def busy(detail: str) -> Problem:
    """A refusal of what may be asked again soon."""
    return Problem(503, detail, {"Retry-After": str(RETRY_AFTER_S)})
