"""Stand-ins for the clouds' programs on PATH, and what they were asked."""

import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.conftest import ROOT

HERE = Path(__file__).resolve().parent

# Every character that a shell, gcloud or an scp could trip over.
HARD = [
    "two words",
    "it's",
    'say "hi"',
    "$(touch pwned)",
    "`touch pwned`",
    "a\nb",
    "$HOME",
    "*",
    "back\\slash",
    "semi;colon && false",
    "",
    "-leading",
    "ümläut",
    "tab\there",
    "--debug",
    "--",
]


def put_program(folder: Path, name: str, text: str) -> None:
    """A shell script on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    (folder / name).chmod(0o755)


@dataclass
class Cloud:
    """A stand-in TPU cloud in a folder.

    Attributes:
      bin: first on the launcher's PATH.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path, workers: int = 2) -> "Cloud":
        """An empty cloud whose workers have a `signbind` that does what `behave` says."""
        cloud = cls(folder)
        for i in range(workers):
            (folder / f"worker{i}").mkdir(parents=True)
        cloud.plan(["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
        cloud.put("states", [])
        cloud.put("failures", [])
        (folder / "calls.jsonl").touch()
        put_program(
            cloud.bin,
            "gcloud",
            f"exec {shlex.quote(sys.executable)} -S "
            f'{shlex.quote(str(HERE / "stand_in_gcloud.py"))} "$@"',
        )
        on_workers = folder / "on_workers"
        record = 'printf "%s\\n" "${0##*/} $*" >> "$HOME/programs"'
        for name in ("sudo", "gcsfuse"):
            put_program(on_workers, name, record)
        put_program(on_workers, "mountpoint", "exit 1")
        put_program(on_workers, "hostname", 'basename "$HOME"')
        # `python3 -m uv pip install` leaves a signbind, which is `behaviour`.
        put_program(
            on_workers,
            "python3",
            f"""{record}
            case "$*" in *"uv pip install"*)
              mkdir -p "$HOME/signbind/venv/bin"
              cp "$STAND_IN_CLOUD/behaviour" "$HOME/signbind/venv/bin/signbind" ;;
            esac""",
        )
        cloud.behave("exit 0")
        return cloud

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def put(self, name: str, value) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(value))

    def plan(self, *states: list[str]) -> None:
        """The states of the resource, once for each time it is created."""
        self.put("plans", list(states))

    def fail(self, *calls: int, stderr: str = "Service Unavailable", code: int = 1) -> None:
        """These calls of gcloud, counted from 1, fail."""
        self.put("failures", [{"calls": calls, "stderr": stderr, "code": code}])

    def behave(self, script: str) -> None:
        """What `signbind` does on a worker; its arguments are noted first."""
        (self.folder / "behaviour").write_text(
            '#!/usr/bin/env bash\nprintf "%s\\0" "$@" > "$HOME/arguments"\n'
            'echo "$PPID $$" > "$HOME/processes"\nprintf run >> "$HOME/runs"\n'
            'env -0 > "$HOME/environment_seen"\nSAVED=$SIGNBIND_INTERRUPTED_CODE\n' + script
        )
        (self.folder / "behaviour").chmod(0o755)

    def calls(self, *words: str) -> list[list[str]]:
        """Recorded calls that have all these arguments, in order."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [argv for argv in map(json.loads, lines) if set(words) <= set(argv)]

    def worker(self, i: int, name: str) -> str:
        """The text of a file in a worker's home."""
        return (self.folder / f"worker{i}" / name).read_text()


def launch(platform: str, *arguments, bin: Path, cwd: Path, env: dict | None = None):
    """The real command, with the stand-ins first on PATH and nothing to wait for."""
    process = begin(platform, *arguments, bin=bin, cwd=cwd, env=env)
    try:
        stdout, stderr = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def begin(platform: str, *arguments, bin: Path, cwd: Path, env: dict | None = None):
    """The same, running."""
    arguments = list(map(str, arguments))
    at = arguments.index("--") if "--" in arguments else len(arguments)
    arguments[at:at] = ["--poll=0.05", "--retry_wait=0.01"]
    # -S: the launchers need no installed package.
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "signbind_jax.cli", "launch", platform, *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{bin}:{os.environ['PATH']}",
            "STAND_IN_CLOUD": str(bin.parent),
            **(env or {}),
        },
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # As at a terminal: a shell lets what it starts with "&" ignore Ctrl-C, and so would a
        # test suite started there hand it on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
