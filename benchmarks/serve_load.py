"""How fast `signbind serve` answers clients that come at once, with and without batches.

python -m benchmarks.serve_load --checkpoint=DIR (--clip=FILE.npz | --data=DIR)
    [--clients=50] [--requests=500] [--batch_sizes=1,8] [--kill]

Each client sends a recording of landmarks, waits for its sentence, and sends the next. Nothing is
timed before the programs are compiled. With `--data`, the recording is the one of that dataset's
test split that lasts nearest to 4 seconds.

The last line is JSON: for every batch size the seconds from upload to answer (median, 95th
percentile), answers a second, how many requests were answered, failed, were reported lost by the
server, or had an error (refused, a broken connection, an id that the server does not know), clips a
batch, and programs compiled while it was measured.

With `--kill` the server is killed when half of the requests are answered, and started again in the
same directory: clients whose connection breaks ask the new server for the same job, and send again
what was not taken on. Jobs under way are then lost, and none may have an error.
"""

import argparse
import collections
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np

from benchmarks import sentence_clip
from benchmarks.harness import describe_machine, make_parser

_POLL_S = 0.5
_START_S = 1800
_ENDED = ("done", "failed", "lost")
_COUNTED = ("batch_clips_count", "batch_clips_sum", "programs_compiled_total")


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, help="what is served")
    sentence_clip.add_arguments(parser)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=500, help="of all clients together")
    parser.add_argument("--batch_sizes", default="1,8", help="servers, one after the other")
    parser.add_argument("--kill", action="store_true", help="a server, halfway")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        arguments.clip = sentence_clip.recording(arguments, Path(directory))
        for batch_size in map(int, arguments.batch_sizes.split(",")):
            found[batch_size] = measure(arguments, batch_size)
            print(f"batch_size={batch_size}: {found[batch_size]}", flush=True)
    print(describe_machine())
    print(json.dumps({"clients": arguments.clients, "requests": arguments.requests} | found))


def measure(arguments: argparse.Namespace, batch_size: int) -> dict:
    """What clients of a server with this batch size meet."""
    with tempfile.TemporaryDirectory() as workdir:
        options = [f"--checkpoint={arguments.checkpoint}", f"--workdir={workdir}"]
        options += [f"--batch_size={batch_size}", f"--most_waiting={2 * arguments.clients}"]
        with Server(options) as server:
            return _measured(server, arguments)


class Server:
    """A `signbind serve` that can be killed and started again.

    Attributes:
      client: for requests to it.
      up: whether it runs, which those whose connection broke wait for.
    """

    def __init__(self, options: list[str]):
        command = [sys.executable, "-m", "signbind_jax.cli", "serve", "--port=0", *options]
        self._command, self._clients = command, contextlib.ExitStack()
        self.up = threading.Event()

    def __enter__(self) -> "Server":
        self._start()
        return self

    def __exit__(self, *_) -> None:
        self._clients.close()
        self._process.terminate()
        self._process.wait()

    def _start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "SIGNBIND_TOKEN"}
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, env=environment
        )
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if not found:
            raise SystemExit(f"serve_load: the server did not start: {line!r}")
        client = httpx2.Client(base_url=found[0], timeout=_START_S)
        self.client = self._clients.enter_context(client)
        self.up.set()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def restart(self) -> None:
        """Kills it as a crash would, and starts it again."""
        self.up.clear()
        self._process.kill()
        self._process.wait()
        self._start()

    def metric(self, name: str) -> float:
        """What it counts under a name."""
        text = self.client.get("/metrics").text
        return float(re.search(rf"^signbind_{name} (\S+)$", text, re.MULTILINE)[1])


def _measured(server: Server, arguments: argparse.Namespace) -> dict:
    while server.metric("warm_ups_left"):
        time.sleep(_POLL_S)
    load = Load(server, arguments.clip, arguments.clients)
    load.run(arguments.clients)
    before = {name: server.metric(name) for name in _COUNTED}
    start = time.perf_counter()
    seconds, ended = load.run(arguments.requests, arguments.kill)
    wall_s = time.perf_counter() - start
    found = {
        "p50_s": round(float(np.percentile(seconds, 50)), 3) if seconds else None,
        "p95_s": round(float(np.percentile(seconds, 95)), 3) if seconds else None,
        "answers_per_s": round(len(seconds) / wall_s, 2),
        **{name: ended[name] for name in (*_ENDED, "errors")},
    }
    if arguments.kill:  # the new server counts anew
        return found
    batches, clips, compiled = (server.metric(name) - before[name] for name in _COUNTED)
    clips_per_batch = round(clips / max(batches, 1), 2)
    return found | {"clips_per_batch": clips_per_batch, "compiled": int(compiled)}


class Load:
    """Clients that send a recording again and again."""

    def __init__(self, server: Server, path: Path, clients: int):
        self._server, self._n = server, clients
        self._file = path.name, path.read_bytes()

    def run(self, requests: int, kill: bool = False) -> tuple[list[float], collections.Counter]:
        """Seconds of each request that was answered with a sentence, and how many ended how.

        kill: whether to restart the server when half of them have ended.
        """
        waiting: Iterator[int] = iter(range(requests))
        lock, seconds, ended = threading.Lock(), [], collections.Counter()

        def work() -> None:
            while True:
                with lock:
                    if next(waiting, None) is None:
                        return
                start = time.perf_counter()
                how = self._ask(kill)
                with lock:
                    ended[how] += 1
                    if how == "done":
                        seconds.append(time.perf_counter() - start)
                    now = kill and ended.total() == requests // 2
                if now:
                    self._server.restart()

        threads = [threading.Thread(target=work) for _ in range(self._n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return seconds, ended

    def _ask(self, again: bool) -> str:
        """How a request ended: as a job does, or "errors".

        again: whether a broken connection is followed by the same request.
        """
        taken = self._request(again, "POST", "/v1/jobs", files={"file": self._file})
        if taken is None or taken.status_code != 202:
            return "errors"
        job = f"/v1/jobs/{taken.json()['id']}"
        while True:
            answer = self._request(again, "GET", job, params={"wait": 60})
            if answer is None or answer.status_code != 200:
                return "errors"
            if (state := answer.json()["state"]) in _ENDED:
                return state

    def _request(self, again: bool, method: str, path: str, **how) -> httpx2.Response | None:
        while True:
            self._server.up.wait()
            client = self._server.client
            try:
                return client.request(method, path, **how)
            except httpx2.HTTPError as error:
                if not again:
                    print(f"{method} {path}: {error!r}", file=sys.stderr)
                    return None
                time.sleep(_POLL_S)


if __name__ == "__main__":
    main()
