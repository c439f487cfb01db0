"""A recording that arrives: multipart, written to disk as it comes, within limits."""

import asyncio
import contextlib
import os
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from signbind_jax.data_pipelines.readers.clip_file import LANDMARKS, VIDEOS
from signbind_jax.errors import printable
from signbind_jax.serve.problems import Problem

WANTED = "multipart/form-data with one file"
SUFFIXES = (*LANDMARKS, ".jsonl", *VIDEOS)
_LONGEST_NAME = 200


async def receive(
    request: Request, stem: Path, most_bytes: int, upload_s: float, *, videos: bool = True
) -> tuple[Path, str]:
    """Writes the file of a request to `stem` with its suffix.

    Args:
      videos: whether they are taken.

    Returns:
      Its path, and what its user calls it, printable.

    Raises:
      Problem: too large, too slow, of no known kind, not one file, no room for it. Nothing is left
        of it then.
    """
    try:
        declared = int(request.headers.get("content-length") or 0)
    except ValueError as error:
        raise Problem(400, "Content-Length: wanted a number of bytes") from error
    if declared > most_bytes:
        raise _too_large(most_bytes)
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        found = printable(request.headers.get("content-type") or "nothing")[:100]
        raise Problem(415, f"Content-Type: found {found}, wanted {WANTED}")
    file = _FilePart(stem, videos)
    try:
        parser = MultipartParser(options[b"boundary"], file.callbacks)
        async with asyncio.timeout(upload_s):
            arrived = 0
            async for chunk in request.stream():
                arrived += len(chunk)
                if arrived > most_bytes:
                    raise _too_large(most_bytes)
                parser.write(chunk)
        parser.finalize()
        return file.finished()
    except BaseException as error:
        file.discard()
        if problem := _refusal(error, upload_s):
            raise problem from error
        raise


def _too_large(most_bytes: int) -> Problem:
    return Problem(413, f"found more than {most_bytes:,} bytes, wanted at most as many")


def _refusal(error: BaseException, upload_s: float) -> Problem | None:
    """What an error that ended an upload is told as; None where it stands for itself."""
    if isinstance(error, TimeoutError):
        return Problem(408, f"the recording did not arrive within {upload_s:g} seconds")
    if isinstance(error, FormParserError):
        return Problem(400, f"the body is damaged: wanted {WANTED}")
    if isinstance(error, ClientDisconnect):
        return Problem(400, "the client went away")
    if isinstance(error, OSError):
        return Problem(507, f"the recording cannot be stored: {error.strerror or error}")
    return None


class _FilePart:
    """The one file of a body, fed by a parser."""

    def __init__(self, stem: Path, videos: bool):
        self._stem, self._videos = stem, videos
        self._header = [b"", b""]
        self._disposition = b""
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._name, self._whole = "", False
        self.callbacks = {
            "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin,
            "on_part_data": lambda data, start, end: self._file.write(data[start:end]),
            "on_part_end": self._end,
        }

    def finished(self) -> tuple[Path, str]:
        """Its path and name."""
        if not self._whole:
            raise Problem(422, f"found no whole file, wanted {WANTED}")
        return self._path, self._name

    def discard(self) -> None:
        """Leaves nothing behind."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # on a full disk it tries to write the rest again
                self._file.close()
            self._path.unlink(missing_ok=True)

    def _add(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = value
        self._header = [b"", b""]

    def _begin(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if self._file is not None or b"filename" not in options:
            raise Problem(422, f"found another field, wanted {WANTED}")
        name = options[b"filename"].decode("utf-8", "replace").replace("\\", "/")
        self._name = printable(PurePosixPath(name).name)[-_LONGEST_NAME:] or "recording"
        suffix = os.path.splitext(self._name)[1].lower()
        if suffix not in SUFFIXES or (suffix in VIDEOS and not self._videos):
            wanted = ", ".join((*(["a video"] if self._videos else []), *LANDMARKS))
            raise Problem(415, f"{self._name}: found that ending, wanted {wanted}")
        self._path = self._stem.with_suffix(suffix)
        self._file = open(self._path, "xb")  # noqa: SIM115  closed at the part's end

    def _end(self) -> None:
        self._file.close()
        self._whole = True
