"""A hub on this machine, for tests of what downloads from one."""

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of a hub as a download asks for: a list of files, and the files."""

    files: dict[str, bytes] = {}
    asked: list[str] = []
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body: bool):
        kind, path = "application/json", self.path.split("?")[0]
        if path == "/api/models/some/model/revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": "some/model", "sha": self.commit, "siblings": siblings})
            body = body.encode()
        elif path == f"/api/models/some/model/tree/{self.commit}":
            body = json.dumps(
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for name, content in self.files.items()
                ]
            ).encode()
        elif (name := path.partition(f"/resolve/{self.commit}/")[2]) in self.files:
            self.asked.append(name)
            kind, body = "application/octet-stream", self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(home: Path) -> Iterator[dict[str, str]]:
    """Serves `Hub.files` as some/model; gives the environment of a process that asks this hub and
    keeps what it gets in `home`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(home),
        }
    finally:
        server.shutdown()
        server.server_close()
