"""What `signbind serve` makes of clients that mean it no good, and what others notice of them.

python -m benchmarks.serve_hostile --checkpoint=DIR (--clip=FILE.npz | --data=DIR)
    [--gigabytes=3] [--connections=1000]

One server, with an upload time of 5 seconds, meets one after another: an upload that declares so
many gigabytes; one that sends them without having declared them; a client that sends a byte a
second; so many connections at one time, each with a request; a video that is none. After each, a
recording is sent as any client would. The last line is JSON: how each was refused, seconds until
the recording after it was answered, and the resident memory of the server before and at its peak.
"""

import argparse
import collections
import json
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import sentence_clip
from benchmarks.harness import describe_machine, make_parser
from benchmarks.serve_load import Server

UPLOAD_S = 5
_WAIT_S = 120
_CHUNK = bytes(2**20)
_HEAD = (
    "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
)
_PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.npz"\r\n\r\n'


def main() -> None:
    """Attacks and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, help="what is served")
    sentence_clip.add_arguments(parser)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        clip = sentence_clip.recording(arguments, Path(directory))
        options = [f"--checkpoint={arguments.checkpoint}", f"--workdir={directory}/serve"]
        with Server([*options, "--warm_up_s=0", f"--upload_s={UPLOAD_S}"]) as server:
            found = Attack(server, clip).all(arguments)
    print(describe_machine())
    print(json.dumps(found))


class Attack:
    """A server, the recording that is sent between attacks, and where it listens."""

    def __init__(self, server: Server, clip: Path):
        self.server, self.clip = server, clip
        self.at = server.client.base_url.host, server.client.base_url.port

    def all(self, arguments: argparse.Namespace) -> dict:
        """Of each attack how it ended, and how long the recording after it took."""
        self.answer()  # compiles
        found: dict = {"answer_s": self.answer(), "resident_mib": self.resident("VmRSS")}
        n_bytes = round(arguments.gigabytes * 1e9)
        attacks = {
            "declared": lambda: self.send(f"Content-Length: {n_bytes}\r\n", []),
            "undeclared": lambda: self.send("Transfer-Encoding: chunked\r\n", _chunks(n_bytes)),
            "slow": lambda: self.send("Content-Length: 1000\r\n", _trickle()),
            "connections": lambda: self.connect(arguments.connections),
            "no video": self.no_video,
        }
        for name, attack in attacks.items():
            ended = attack()
            found[name] = {"ended": ended, "then_answer_s": self.answer()}
            print(f"{name}: {found[name]}", flush=True)
        return found | {"peak_resident_mib": self.resident("VmHWM")}

    def answer(self) -> float:
        """Seconds in which the recording is answered."""
        start = time.perf_counter()
        files = {"file": (self.clip.name, self.clip.read_bytes())}
        sent = self.server.client.post("/v1/jobs", files=files)
        if sent.status_code != 202:
            raise SystemExit(f"serve_hostile: a recording was refused: {sent.text}")
        while True:
            job = self.server.client.get(f"/v1/jobs/{sent.json()['id']}?wait=60").json()
            if job["state"] == "done":
                return round(time.perf_counter() - start, 3)
            if job["state"] in ("failed", "lost"):
                raise SystemExit(f"serve_hostile: a recording was not answered: {job}")

    def resident(self, field: str) -> int:
        """MiB of the server's own process."""
        status = Path(f"/proc/{self.server.pid}/status").read_text().splitlines()
        (line,) = (line for line in status if line.startswith(field))
        return int(line.split()[1]) // 1024

    def send(self, headers: str, pieces) -> str:
        """The first line of the answer to a request that is sent piece by piece."""
        with socket.create_connection(self.at, _WAIT_S) as connection:
            connection.sendall(f"{_HEAD}{headers}\r\n".encode())
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                pass  # it has heard enough
            try:
                return connection.recv(65536).split(b"\r\n")[0].decode() or "closed"
            except OSError:
                return "closed"

    def connect(self, n: int) -> dict[str, int]:
        """How many of so many connections, all open at one time, got which answer."""
        opened = []
        for _ in range(n):
            try:
                opened.append(socket.create_connection(self.at, _WAIT_S))
            except OSError:
                pass
        request = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

        def ask(connection: socket.socket) -> str:
            with connection:
                try:
                    connection.sendall(request)
                    return connection.recv(65536).split(b"\r\n")[0].decode() or "closed"
                except OSError:
                    return "closed"

        with ThreadPoolExecutor(64) as pool:
            ended = collections.Counter(pool.map(ask, opened))
        return {**ended, "not connected": n - len(opened)}

    def no_video(self) -> str:
        """How a job of random bytes ends."""
        files = {"file": ("broken.mp4", bytes(range(256)) * 400)}
        sent = self.server.client.post("/v1/jobs", files=files)
        if sent.status_code != 202:
            return f"{sent.status_code} {sent.json()['detail']}"
        job = self.server.client.get(f"/v1/jobs/{sent.json()['id']}?wait=60").json()
        return f"{job['state']}: {job['problem']}"


def _chunks(n_bytes: int):
    yield b"%x\r\n%s\r\n" % (len(_PART), _PART)
    for _ in range(n_bytes // len(_CHUNK)):
        yield b"%x\r\n%s\r\n" % (len(_CHUNK), _CHUNK)


def _trickle():
    for byte in _PART:
        yield bytes([byte])
        time.sleep(1)


if __name__ == "__main__":
    main()
