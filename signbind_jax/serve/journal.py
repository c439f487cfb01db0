"""The ids of jobs that were taken on, on disk: after a crash each is known to be lost."""

import contextlib
import errno
import os
import re
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError

_LINE = re.compile(r"([+-])([0-9a-f]{32})")
_MOST_LINES = 10_000  # of a file, before it is written anew


class Journal:
    """A file with a line "+id" for each job taken on and "-id" for each forgotten.

    A line is there before its job is answered for, and outlives the process, not a power cut. It
    holds ids and nothing of a recording.

    Attributes:
      lost: the ids that an earlier process took on and did not forget.

    Raises:
      SignBindError: the file cannot be read or written.
    """

    def __init__(self, path: Path):
        self._path = path
        self.lost = _known(files.read_text(path)) if path.exists() else []
        self._known = dict.fromkeys(self.lost)
        self._file = -1
        self._rewrite()

    def add(self, job_id: str) -> None:
        """Notes a job that is taken on.

        Raises:
          OSError: it cannot be noted.
        """
        self._write("+", job_id)
        self._known[job_id] = None

    def forget(self, job_id: str) -> None:
        """Notes that a job is unknown from here on."""
        self._known.pop(job_id, None)
        self._write("-", job_id)
        if self._lines > _MOST_LINES and self._lines > 2 * len(self._known):
            with contextlib.suppress(SignBindError):  # on a full disk it grows on
                self._rewrite()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _write(self, sign: str, job_id: str) -> None:
        line = f"{sign}{job_id}\n".encode()
        if os.write(self._file, line) < len(line):  # no room for the rest
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._lines += 1

    def _rewrite(self) -> None:
        files.write(self._path, "".join(f"+{job_id}\n" for job_id in self._known))
        old, self._file = self._file, os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._lines = len(self._known)
        if old >= 0:
            os.close(old)


def _known(text: str) -> list[str]:
    """The ids that were taken on and not forgotten; torn lines are none."""
    known: dict[str, None] = {}
    for sign, job_id in _LINE.findall(text):
        if sign == "+":
            known[job_id] = None
        else:
            known.pop(job_id, None)
    return list(known)
