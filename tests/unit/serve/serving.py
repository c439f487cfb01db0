"""A real `signbind serve` process for tests, and how they talk to it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.conftest import ROOT

STARTED = re.compile(r"serving \S+ at (http://\S+)/\n")
WAIT_S = 120  # for what takes seconds


class Server:
    """A server that runs.

    Attributes:
      process, log: it, and the file with its standard error.
      client: for requests to it.
    """

    def __init__(self, process: subprocess.Popen, log: Path, token: str):
        self.process, self.log = process, log
        line = process.stdout.readline()
        found = STARTED.fullmatch(line)
        assert found, f"{line!r}\n{log.read_text()}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = httpx2.Client(base_url=found[1], headers=headers, timeout=WAIT_S)

    def upload(self, path: Path, name: str | None = None) -> httpx2.Response:
        """The answer to a file."""
        files = {"file": (name or path.name, path.read_bytes())}
        return self.client.post("/v1/jobs", files=files)

    def add(self, path: Path, name: str | None = None) -> str:
        """The id of a new job."""
        answer = self.upload(path, name)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def ask(self, job_id: str, wait: float = 0) -> dict:
        """How far a job is."""
        answer = self.client.get(f"/v1/jobs/{job_id}", params={"wait": wait})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def answer(self, job_id: str) -> dict:
        """A job once it has ended."""
        while (job := self.ask(job_id, wait=60))["state"] not in ("done", "failed", "lost"):
            pass
        return job

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        self.client.close()
        return self.process.wait(WAIT_S)


@contextlib.contextmanager
def serving(checkpoint: Path, workdir: Path, *options: str, token: str = "") -> Iterator[Server]:
    """A server on a free port, ended at the end."""
    workdir.mkdir(exist_ok=True)
    log = workdir / "log"
    command = [sys.executable, "-m", "signbind_jax.cli", "serve", f"--checkpoint={checkpoint}"]
    command += ["--port=0", f"--workdir={workdir}", *options]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"SIGNBIND_TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Server(process, log, token)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
