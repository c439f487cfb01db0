"""Uploads as they arrive, piece by piece."""

import asyncio

import pytest
from starlette.requests import Request

from signbind_jax.serve import upload
from signbind_jax.serve.problems import Problem
from tests.unit.serve.full_disk import no_file_larger_than

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.npz"\r\n\r\n'


def request_of(pieces: list[bytes]) -> Request:
    """A request whose body arrives in these pieces."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0)

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("size", [100, 1000, 30_000])  # of a piece, below and above a file's buffer
def test_on_a_full_disk_an_upload_is_refused_and_nothing_of_it_stays(tmp_path, size):
    body = HEAD + b"z" * 60_000 + b"\r\n--x--\r\n"
    pieces = [body[i : i + size] for i in range(0, len(body), size)]

    def receive():
        return asyncio.run(upload.receive(request_of(pieces), tmp_path / "job", 10**6, 60))

    with no_file_larger_than(20_000), pytest.raises(Problem) as refused:
        receive()
    assert refused.value.status == 507
    assert refused.value.detail == "the recording cannot be stored: File too large"
    assert not list(tmp_path.iterdir())
    path, name = receive()
    assert (path.stat().st_size, name) == (60_000, "a.npz")
