"""`signbind launch slurm`: GPU clusters under SLURM, arrays of sweeps included."""

import argparse
import codecs
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import INTERRUPTED, SignBindError
from signbind_jax.launch import job as jobs
from signbind_jax.launch.launcher import Launcher, WholeLines

ACTIONS = {
    "run": "start, then watch",
    "start": "submits the job; does nothing where it is in the queue or has finished",
    "watch": "shows state and log until the job has left the queue",
    "delete": "cancels the job",
}

SCRIPT = Path(__file__).resolve().parent / "slurm_job.sh"
ARRAY_INDEX = "{array_index}"
_MOST_TASKS, _LAST_INDEX = 10_000, 4_000_000  # the latter is SLURM's own limit
_SIGNAL_BEFORE_S = 120  # of the time limit, for saving
_LOOKS_FOR_EXIT = 10  # a file of another node shows late on a network file system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind launch slurm`."""
    jobs.add_arguments(parser, ACTIONS)
    jobs.add_number(parser, "nodes", 1, "", 1, 100_000)
    jobs.add_number(parser, "gpus_per_node", 0, "0 for work on CPUs", 0, 128)
    parser.add_argument(
        "--tasks_per",
        choices=["gpu", "node"],
        default="gpu",
        help="one process a GPU, or one a node with all its GPUs (default: %(default)s)",
    )
    jobs.add_number(parser, "cpus_per_task", 8, "", 1, 10_000)
    parser.add_argument(
        "--time",
        type=jobs.word,
        default="24:00:00",
        metavar="LIMIT",
        help=f"the job saves {_SIGNAL_BEFORE_S} s before it, and is requeued "
        "(default: %(default)s)",
    )
    jobs.add_word(parser, "partition", "PARTITION", "default: the cluster's")
    jobs.add_word(parser, "account", "ACCOUNT", "default: your own")
    parser.add_argument(
        "--array",
        default="",
        metavar="INDEXES",
        help=f"as 0-11 or 0-11%%4 (four at a time); {ARRAY_INDEX} in an argument of "
        "the command becomes the index",
    )
    setup = "shell file that is sourced first: modules, virtual environment"
    parser.add_argument("--setup", type=Path, metavar="FILE", help=setup)
    jobs.add_list(
        parser, "sbatch_flag", "FLAG", "goes to sbatch as it is, as --sbatch_flag=--constraint=a100"
    )


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments, checked as far as this machine can."""
    arguments = jobs.parse(parser, argv, {"run", "start"})
    if arguments.setup and not arguments.setup.is_file():
        parser.error(f"--setup: found no file {str(arguments.setup)!r}, wanted one")
    try:
        arguments.indexes = array_indexes(arguments.array)
    except SignBindError as error:
        parser.error(str(error))
    placed = any(ARRAY_INDEX in a for a in arguments.job.command)
    if arguments.job.command and placed != bool(arguments.indexes):
        parser.error(
            f"--array: found {arguments.array or 'none'!r} and a command "
            f"{'with' if placed else 'without'} {ARRAY_INDEX}, wanted both or neither "
            "(as --array=0-11 -- signbind sweep ... --point={array_index})"
        )
    if (argument := jobs.bucket_in(arguments.job.command)) is not None:
        parser.error(f"command: found {argument!r}, wanted a path on the cluster")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Runs a signbind command as a SLURM job, from a login node of the cluster.

    signbind launch slurm run --name=signing --nodes=2 --gpus_per_node=4 --time=24:00:00
    --partition=gpu -- signbind train --config=signing --workdir=runs/signing

    The job saves before its time limit and is requeued; training goes on from its working
    directory, which has to be on a file system that all nodes share.

    Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted here (the job goes on).
    """
    return _Launch(arguments).act()


_JOB_ID = re.compile("[0-9]{1,20}")
_RECORD = {"job_id": str, "indexes": list, "command": list}
_LOG_BYTES = 2**20  # read at a time


@dataclass(frozen=True)
class _Submission:
    """A job that was submitted: its number, its array's indexes, its command."""

    job_id: str
    indexes: list[int]
    command: list[str]

    @property
    def tasks(self) -> list[str]:
        return [f"{self.job_id}_{i}" for i in self.indexes] or [self.job_id]


class _Launch(Launcher):
    def __init__(self, arguments: argparse.Namespace):
        super().__init__(arguments)
        self.record = self.job.folder / "submission.json"
        self.offset, self.lines = 0, WholeLines()
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def run(self) -> int:
        self.start()
        return self.watch()

    def start(self) -> int:
        before = None if self.dry_run else self._submission()
        if before is not None:
            if states := self._states(before):
                self.say(f"job {before.job_id} is in the queue: {_in_words(states)}")
                return 0
            done = all(self._exit_code(task) == 0 for task in before.tasks)
            if done and before.command == list(self.job.command):
                self.say(f"job {before.job_id} has finished already")
                return 0
        self._submit()
        return 0

    def watch(self) -> int:
        submission = self._submission()
        if submission is None:
            raise SignBindError(
                f"{self.record}: found none, wanted the record of a submitted "
                "job; `start` it, in this directory"
            )
        self.until(lambda: self._look(submission))
        return 0 if self.dry_run else self._ending(submission)

    def _look(self, submission: _Submission) -> bool | None:
        """True where the job has left the queue, or once in a dry run."""
        if not (states := self._states(submission)):
            return True
        self.tell(f"job {submission.job_id}: {_in_words(states)}")
        self._show_log(submission)
        return self.dry_run or None

    def delete(self) -> int:
        submission = self._submission()
        if submission is None or not self._states(submission):
            self.say("there is none in the queue")
            return 0
        self.confirm(f"cancel job {submission.job_id}?")
        self.do(["scancel", submission.job_id], "cancelling the job")
        return 0

    def _submit(self) -> None:
        a, folder = self.arguments, self.job.folder.resolve()
        if not self.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
        elif self.job.environment:
            self.programs.say(f"environment holds {', '.join(self.job.environment)}")
        one_for_all = a.tasks_per == "node" and a.gpus_per_node > 0
        # Without it JAX gives a process under SLURM the one GPU of its place on the node.
        devices = ",".join(map(str, range(a.gpus_per_node))) if one_for_all else "-"
        setup = str(a.setup.resolve()) if a.setup else "-"
        script = [str(SCRIPT), str(folder), setup, str(a.max_resumes), devices]
        done = self.do(
            ["sbatch", *self._options(folder), *a.sbatch_flag, *script, *self.job.command],
            "submitting the job",
            pretend="1",
            environment=self.job.environment,
        )
        # --parsable: the number, and behind a semicolon the cluster's name.
        job_id = (done.stdout.strip().splitlines() or [""])[-1].partition(";")[0]
        if not _JOB_ID.fullmatch(job_id):
            raise self.error(
                f"sbatch: found {done.stdout.strip()[:100]!r}, wanted a job's number; look for the "
                "job with squeue --me"
            )
        if not self.dry_run:
            record = {"job_id": job_id, "indexes": a.indexes, "command": self.job.command}
            files.write_json(self.record, record)
            self.say(f"job {job_id}; log in {folder}")

    def _options(self, folder: Path) -> list[str]:
        a = self.arguments
        log = "log-%A_%a.txt" if a.indexes else "log-%j.txt"
        options = {
            "job-name": self.job.name,
            "nodes": a.nodes,
            "ntasks-per-node": max(a.gpus_per_node, 1) if a.tasks_per == "gpu" else 1,
            "cpus-per-task": a.cpus_per_task,
            "time": a.time,
            "open-mode": "append",
            "export": "ALL",
            # To the batch script, which tells the tasks: USR1, as SIGTERM means cancelled too.
            "signal": f"B:USR1@{_SIGNAL_BEFORE_S}",
            # sbatch reads % in the folder's name too.
            "output": f"{str(folder).replace('%', '%%')}/{log}",
            "gpus-per-node": a.gpus_per_node,
            "partition": a.partition,
            "account": a.account,
            "array": a.array,
        }
        given = [f"--{name}={value}" for name, value in options.items() if value]
        return ["--parsable", "--requeue", *given]

    def _submission(self) -> _Submission | None:
        if self.dry_run:
            return _Submission("JOB", [], list(self.job.command))
        if not self.record.exists():
            return None
        record, where = files.read_json(self.record), str(self.record)
        fields = [files.field(record, name, kind, where) for name, kind in _RECORD.items()]
        job_id, indexes, command = fields
        fits = {
            "job_id": _JOB_ID.fullmatch(job_id) is not None,
            "indexes": all(type(i) is int and 0 <= i <= _LAST_INDEX for i in indexes),
            "command": all(isinstance(argument, str) for argument in command),
        }
        for name, it_fits in fits.items():
            if not it_fits:
                raise SignBindError(
                    f"{where}: {name}: found {str(record[name])[:60]!r}, wanted what a submitted "
                    "job left here; remove the file and start again"
                )
        return _Submission(*fields)

    def _states(self, submission: _Submission) -> Counter:
        """How many of the job's tasks are in each state of the queue; empty once it left."""
        done = self.do(
            ["squeue", f"--jobs={submission.job_id}", "--noheader", "--array", "--format=%T"],
            "asking the queue",
            accept="Invalid job id",
            pretend="RUNNING",
        )
        states = [] if done.code else done.stdout.split()
        for state in states:
            if not re.fullmatch("[A-Z_]{1,40}", state):
                raise self.error(f"squeue: state: found {state[:60]!r}, wanted one such as RUNNING")
        return Counter(states)

    def _show_log(self, submission: _Submission) -> None:
        path = self.job.folder / f"log-{submission.job_id}.txt"
        if submission.indexes or not path.exists():
            return
        files.check_regular(path)
        with path.open("rb") as file:
            file.seek(self.offset)
            while part := file.read(_LOG_BYTES):
                self.offset += len(part)
                self.programs.show(self.lines.add(self.decode(part)))

    def _ending(self, submission: _Submission) -> int:
        codes = {}
        for _ in range(_LOOKS_FOR_EXIT):
            codes = {task: self._exit_code(task) for task in submission.tasks}
            if None not in codes.values():
                break
            time.sleep(min(self.arguments.poll, 3.0))
        self._show_log(submission)
        self.programs.show(self.lines.add("", ended=True))
        good = sum(code == 0 for code in codes.values())
        for task, code in codes.items():
            if code != 0:
                log = self.job.folder / f"log-{task}.txt"
                self.say(f"job {task}: {_why(code)}; log: {log}")
        self.say(f"{good} of {len(codes)} finished")
        return 0 if good == len(codes) else 1

    def _exit_code(self, task: str) -> int | None:
        path = self.job.folder / f"exit-{task}"
        if not path.exists():
            return None
        text = files.read_text(path, 100)
        if not re.fullmatch("[0-9]{1,3}", text):
            raise SignBindError(f"{path}: found {text!r}, wanted an exit code; remove the file")
        return int(text)


def array_indexes(text: str) -> list[int]:
    """The indexes of sbatch's --array, such as 0-11%4, 1,3,5 or 0-8:2; none of an empty text.

    Raises:
      SignBindError: it is no such list, or one of too many.
    """
    number = "([0-9]{1,18})"
    indexes: set[int] = set()
    for part in re.sub("%0*[1-9][0-9]{0,8}$", "", text).split(",") if text else []:
        match = re.fullmatch(f"{number}(?:-{number}(?::{number})?)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        step = int(match[3] or 1) if match else 0
        if first > last or not step:
            raise SignBindError(
                f"--array: found {text[:60]!r}, wanted indexes such as 0-11, 0-11%4 or 1,3,5"
            )
        among = range(first, last + 1, step)
        if last > _LAST_INDEX or len(indexes) + len(among) > _MOST_TASKS:
            raise SignBindError(
                f"--array: found {text[:60]!r}, wanted at most {_MOST_TASKS:,} "
                f"indexes, the last at most {_LAST_INDEX:,}"
            )
        indexes.update(among)
    return sorted(indexes)


def _in_words(states: Counter) -> str:
    if sum(states.values()) == 1:
        return next(iter(states))
    return ", ".join(f"{n} {state}" for state, n in sorted(states.items()))


def _why(code: int | None) -> str:
    if code is None:
        return "left the queue without an exit code (cancelled, killed, or its node failed)"
    if code == INTERRUPTED:
        return "interrupted and saved; `start` it again to go on"
    return f"failed, exit code {code}"
