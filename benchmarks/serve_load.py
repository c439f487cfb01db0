"""How fast `signbind serve` answers clients that come at once, with and without batches.

python -m benchmarks.serve_load --checkpoint=DIR --clip=FILE.npz [--clients=8] [--requests=40]

Each client sends a recording of landmarks, waits for its sentence, and sends the next. Nothing is
timed before the programs are compiled. The last line is JSON: for every batch size the seconds
from upload to answer (median, 95th percentile), answers a second, errors, clips a batch, and
programs compiled while it was measured.
"""

import argparse
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

_POLL_S = 0.5
_START_S = 1800


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="what is served")
    parser.add_argument("--clip", required=True, type=Path, help="landmarks that are sent")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=40, help="of all clients together")
    parser.add_argument("--batch_sizes", default="1,8", help="servers, one after the other")
    arguments = parser.parse_args()
    found = {}
    for batch_size in map(int, arguments.batch_sizes.split(",")):
        found[batch_size] = measure(arguments, batch_size)
        print(f"batch_size={batch_size}: {found[batch_size]}", flush=True)
    print(json.dumps({"clients": arguments.clients, "requests": arguments.requests} | found))


def measure(arguments: argparse.Namespace, batch_size: int) -> dict:
    """What clients of a server with this batch size meet."""
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "signbind_jax.cli", "serve", "--port=0"]
        command += [f"--checkpoint={arguments.checkpoint}", f"--workdir={workdir}"]
        command += [f"--batch_size={batch_size}", f"--most_waiting={2 * arguments.clients}"]
        environment = {k: v for k, v in os.environ.items() if k != "SIGNBIND_TOKEN"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            url = re.search(r"http://\S+", server.stdout.readline())[0]
            with httpx2.Client(base_url=url, timeout=_START_S) as client:
                return _measured(client, arguments)
        finally:
            server.terminate()
            server.wait()


def _measured(client: httpx2.Client, arguments: argparse.Namespace) -> dict:
    while _metric(client, "warm_ups_left"):
        time.sleep(_POLL_S)
    data = arguments.clip.read_bytes()
    _load(client, arguments.clip.name, data, arguments.clients, arguments.clients)
    before = {name: _metric(client, name) for name in _COUNTED}
    start = time.perf_counter()
    seconds, errors = _load(
        client, arguments.clip.name, data, arguments.clients, arguments.requests
    )
    wall_s = time.perf_counter() - start
    batches, clips, compiled = (_metric(client, name) - before[name] for name in _COUNTED)
    return {
        "p50_s": round(float(np.percentile(seconds, 50)), 3) if seconds else None,
        "p95_s": round(float(np.percentile(seconds, 95)), 3) if seconds else None,
        "answers_per_s": round(len(seconds) / wall_s, 2),
        "errors": errors,
        "clips_per_batch": round(clips / max(batches, 1), 2),
        "compiled": int(compiled),
    }


_COUNTED = ("batch_clips_count", "batch_clips_sum", "programs_compiled_total")


def _load(client, name: str, data: bytes, clients: int, requests: int) -> tuple[list[float], int]:
    """Seconds of each answered request, and how many were not answered with a sentence."""
    waiting: Iterator[int] = iter(range(requests))
    lock, seconds, errors = threading.Lock(), [], []

    def work() -> None:
        while True:
            with lock:
                if next(waiting, None) is None:
                    return
            start = time.perf_counter()
            try:
                answered = _ask(client, name, data)
            except httpx2.HTTPError:
                answered = False
            with lock:
                (seconds if answered else errors).append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, len(errors)


def _ask(client, name: str, data: bytes) -> bool:
    taken = client.post("/v1/jobs", files={"file": (name, data)})
    if taken.status_code != 202:
        return False
    while True:
        job = client.get(f"/v1/jobs/{taken.json()['id']}", params={"wait": 60}).json()
        if job["state"] in ("done", "failed", "lost"):
            return job["state"] == "done"


def _metric(client, name: str) -> float:
    text = client.get("/metrics").text
    return float(re.search(rf"^signbind_{name} (\S+)$", text, re.MULTILINE)[1])


if __name__ == "__main__":
    main()
