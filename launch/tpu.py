"""`signbind launch tpu`: TPU VM pods, from the request to the last line of the log."""

import argparse
import re
import shlex
import tempfile
from pathlib import Path

from signbind_jax.errors import INTERRUPTED, SignBindError
from signbind_jax.launch import job as jobs
from signbind_jax.launch.launcher import Launcher, WholeLines
from signbind_jax.launch.queued_resource import (
    ABSENT,
    ACTIVE,
    DELETING,
    FAILED,
    LOST,
    WAITING,
    QueuedResource,
    runtime_for,
)
from signbind_jax.launch.snapshot import Snapshot

ACTIONS = {
    "run": "everything below until the command has finished, again after every preemption",
    "create": "asks for the TPUs; does nothing where they are",
    "install": "waits for them; copies the code, installs it, mounts storage, on every worker",
    "start": "starts the command on every worker, detached; does nothing where it runs",
    "watch": "shows state and process 0's log until the command ends or the TPUs are lost",
    "resume": "deletes what was suspended or failed, creates, installs and starts again",
    "delete": "deletes the TPUs",
}

CHECKOUT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).resolve().parent / "worker.sh"
EXTRAS = "tpu,corpora,llm"  # of setup.py: data is built and models are fetched there too
_TAIL = -20_000  # bytes of a log that is met for the first time
_UNANSWERED = 20  # polls in a row before watching gives up
_HEADER = re.compile(
    r"^signbind-job ([a-z]{1,20}) (-|[0-9]{1,3}) ([0-9]{1,18}) ([0-9]{1,18})\n", re.MULTILINE
)

_INTERRUPTED_WORKER = re.compile(
    rf"^signbind worker \S+: (absent|exited {INTERRUPTED}):", re.MULTILINE
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind launch tpu`."""
    jobs.add_arguments(parser, ACTIONS)
    jobs.add_tpu_arguments(parser, "as v5litepod-16, v6e-8, v5p-32; needed to create")
    jobs.add_word(parser, "runtime", "VERSION", "software version (default: by the accelerator)")
    parser.add_argument(
        "--capacity",
        choices=["spot", "reserved", "on_demand"],
        default="on_demand",
        help="default: %(default)s",
    )
    jobs.add_word(parser, "valid_until", "DURATION", "gives up waiting for TPUs after it, as 6h")
    parser.add_argument(
        "--source",
        default=str(CHECKOUT),
        metavar="DIR_OR_REQUIREMENT",
        help="checkout that is copied to the workers, or what pip installs there "
        "(default: this one)",
    )
    for name, metavar, text in (
        (
            "mount",
            "SOURCE:/POINT",
            "shared storage on every worker: gs://BUCKET:/mnt/x (gcsfuse) or HOST:/EXPORT:/mnt/x "
            "(NFS, Filestore)",
        ),
        ("shared", "DIR", "a directory of the workers that is shared storage by other means"),
        (
            "gcloud_flag",
            "FLAG",
            "goes to queued-resources create as it is, as --gcloud_flag=--network=x",
        ),
        ("ssh_flag", "FLAG", "goes to tpu-vm ssh and to scp, as --ssh_flag=--internal-ip"),
    ):
        jobs.add_list(parser, name, metavar, text)
    text = "`run` deletes the TPUs when the command has ended"
    parser.add_argument("--delete_after", action="store_true", help=text)


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments, checked as far as this machine can."""
    arguments = jobs.parse(parser, argv, {"run", "start", "resume"})
    if arguments.source.startswith("-") or not arguments.source.isprintable():
        parser.error(
            f"--source: found {ascii(arguments.source[:60])}, wanted a checkout or what "
            "pip installs"
        )
    if arguments.action in ("run", "create", "resume"):
        if not arguments.accelerator:
            parser.error("--accelerator: found none, wanted a type such as v5litepod-16")
        try:
            arguments.runtime = arguments.runtime or runtime_for(arguments.accelerator)
        except SignBindError as error:
            parser.error(str(error))
    for mount in arguments.mount:
        shape = r"(gs://[^-/:][^/:]*|(?!gs:)[^-/:][^/:]*:/[^:]*):/[^:]+"
        if not re.fullmatch(shape, mount) or not mount.isprintable():
            parser.error(
                f"--mount: found {ascii(mount[:200])}, wanted gs://BUCKET:/POINT or "
                "HOST:/EXPORT:/POINT"
            )
    points = [mount.rpartition(":")[2] for mount in arguments.mount]
    jobs.check_paths(
        parser,
        arguments.job.command,
        [*points, *arguments.shared],
        "mount it with --mount=gs://BUCKET:/POINT or HOST:/EXPORT:/POINT, or name a "
        "directory that is there by other means with --shared=DIR",
    )
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Runs a signbind command on TPU VMs that are asked for as a queued resource.

    One command does everything, and is given again after anything that stopped it, this machine
    included: signbind launch tpu run --name=signing --zone=us-central2-b
    --accelerator=v5litepod-16 --capacity=spot --mount=gs://BUCKET:/mnt/data --
    signbind train --config=signing --workdir=/mnt/data/signing

    Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted here (the command goes on there).
    """
    return _Launch(arguments).act()


class _Launch(Launcher):
    goes_on = "the command goes on there"

    def __init__(self, arguments: argparse.Namespace):
        super().__init__(arguments)
        self.resource = QueuedResource(self)
        self.offset, self.lines, self.unanswered = _TAIL, WholeLines(), 0

    def run(self) -> int:
        resumes = 0
        while (outcome := self._round()) not in ("finished", "failed"):
            resumes += 1
            if resumes > self.arguments.max_resumes:
                raise self.error(
                    f"{outcome}: found {resumes} interruptions, wanted at most "
                    f"{self.arguments.max_resumes} (--max_resumes)"
                )
            self.say(f"{outcome}; resume {resumes}")
        if self.arguments.delete_after:
            self.resource.delete()
        else:
            self.say(
                "the TPUs are still there and cost money; signbind launch tpu delete "
                f"--name={self.job.name} --zone={self.arguments.zone}"
            )
        return 0 if outcome == "finished" else 1

    def _round(self) -> str:
        try:
            self.resume()
            return self._watch()
        except SignBindError:
            # Whatever failed, it failed because the machines were being taken away.
            if (state := self.resource.state()) not in LOST:
                raise
            return f"the TPUs are {state}"

    def create(self) -> int:
        state = self.resource.state(pretend=ABSENT)
        if state == ABSENT:
            self.resource.create()
        elif state in LOST or state == FAILED:
            raise self.error(
                f"found it {state}, wanted none or one that waits or is ACTIVE; `resume` deletes "
                "it and creates it again"
            )
        return 0

    def install(self) -> int:
        state = self.resource.wait(lambda state: state not in WAITING)
        if state != ACTIVE:
            raise self.error(f"found it {state}, wanted ACTIVE ({self.resource.why()})")
        self.resource.ssh("preparing the workers", "mkdir", "-p", "-m", "700", "signbind")
        requirement, files = self._source()
        self.resource.copy("copying to the workers", [WORKER, *files], "signbind")
        install = ("install", requirement, *self.arguments.mount)
        self.resource.script("installing on the workers", *install, stream=True)
        return 0

    def start(self) -> int:
        if self.job.environment:
            self._copy_environment()
        environment = "with" if self.job.environment else "without"
        start = ("start", self.job.name, environment, *self.job.command)
        self.resource.script("starting the command", *start)
        return 0

    def watch(self) -> int:
        outcome = self._watch()
        if outcome not in ("finished", "failed"):
            raise self.error(
                f"{outcome}; `run` or `resume` with the same arguments goes on from the last "
                "checkpoint"
            )
        return 0 if outcome == "finished" else 1

    def resume(self) -> int:
        resumed = self.arguments.action == "resume"
        state = self.resource.state(pretend="SUSPENDED" if resumed else ABSENT)
        if state == DELETING:
            state = self.resource.wait(lambda state: state != DELETING)
        if state in LOST or state == FAILED:
            self.resource.delete()
            state = ABSENT
        if state == ABSENT:
            self.resource.create()
            self.offset, self.lines = _TAIL, WholeLines()  # of a log on a new machine
        self.install()
        return self.start()

    def delete(self) -> int:
        if self.resource.state() == ABSENT:
            self.say("there is none")
            return 0
        self.confirm("delete its TPUs and their local disks?")
        self.resource.delete()
        return 0

    def _watch(self) -> str:
        """Shows state and log; "finished", "failed", "interrupted", or how the TPUs were lost."""
        return self.until(self._look)

    def _look(self) -> str | None:
        state = self.resource.state()
        if state in LOST or state in (FAILED, DELETING, ABSENT):
            return f"the TPUs are {state}"
        if state != ACTIVE:
            return None
        try:
            command, code = self._show_log()
        except SignBindError as error:
            # A machine that is being taken away stops answering before its state says so.
            self.unanswered += 1
            if self.unanswered >= _UNANSWERED:
                raise
            self.programs.say(f"{error}; asked again in {self.arguments.poll:g} s")
            return None
        self.unanswered = 0
        if command == "running":
            return None
        if command == "absent":
            return "worker 0 runs no such command and says of none how it ended"
        if code == 0:
            self.say("finished")
            return "finished"
        if code == INTERRUPTED:
            return "interrupted, saved"
        ending = ("ending", self.job.name)
        done = self.resource.script("how the workers ended", *ending, stream=True)
        # One machine was started anew or told to stop, and took the others along.
        if _INTERRUPTED_WORKER.search(done.stdout):
            return "interrupted on one of the workers"
        self.say(f"failed on process 0, exit code {code}")
        return "failed"

    def _show_log(self) -> tuple[str, int]:
        """Prints what is new in process 0's log; its state and exit code."""
        while True:
            done = self.resource.script(
                "reading the log of process 0",
                "report",
                self.job.name,
                str(self.offset),
                worker="0",
                node=self.resource.nodes[0],
                pretend="signbind-job exited 0 0 0\n",
                tries=1,
            )
            header = _HEADER.search(done.stdout)
            if header is None:
                raise self.error(
                    f"worker 0: found no report in its answer of {len(done.stdout)} characters, "
                    "wanted one; `install` again"
                )
            state, code, size, before = header[1], header[2], int(header[3]), self.offset
            self.offset = int(header[4])
            ended = state != "running" and self.offset >= size
            self.programs.show(self.lines.add(done.stdout[header.end() :], ended))
            if self.offset >= size or self.offset <= before:  # nothing more, or an odd answer
                return state, 0 if code == "-" else int(code)

    def _source(self) -> tuple[str, list[Path]]:
        """What pip installs on a worker, and the files it needs there."""
        if not Path(self.arguments.source).is_dir():
            return self.arguments.source, []
        snapshot = Snapshot.of(Path(self.arguments.source), dry_run=self.dry_run)
        self.say(snapshot.note)
        archive = self.job.folder / f"source-{snapshot.tree[:12]}.tar.gz"
        if not self.dry_run:
            snapshot.pack(archive)
        return f"{archive.name}[{EXTRAS}]", [archive]

    def _copy_environment(self) -> None:
        names = ", ".join(self.job.environment)
        name = f"environment-{self.job.name}"  # another job's start must not take it
        if self.dry_run:
            self.programs.say(
                f"{name} holds {names}; mode 600, removed here after the copy and "
                "there when the command has read it"
            )
            self.resource.copy("copying the environment", [Path("DIR", name)], "signbind")
            return
        # Not on a command line, where every user of either machine could read it.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.touch(0o600)
            path.write_text(
                "".join(
                    f"export {name}={shlex.quote(value)}\n"
                    for name, value in self.job.environment.items()
                )
            )
            self.resource.copy("copying the environment", [path], "signbind")
