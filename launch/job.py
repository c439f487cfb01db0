"""The job of every launcher: its name, its command, its environment, where its files are."""

import argparse
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Printable, no space, nothing that a shell or YAML reads: xpk pastes what it is given into both.
_WORD = re.compile(r"[A-Za-z0-9_./@+:][A-Za-z0-9_./@+:,=-]{0,499}")
# What a shell that reads a job's variables does not let anybody set.
_READ_ONLY = {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Job:
    """One command under one name.

    Attributes:
      name: of the queued resource, workload or SLURM job, and of the job's folder.
      command: program and arguments, as they are to arrive.
      environment: variables of the command beside those of the machine; never shown.
      folder: on this machine: what was submitted, logs, exit codes.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path


def add_arguments(parser: argparse.ArgumentParser, actions: dict[str, str]) -> None:
    """The arguments that all launchers share; `parse` reads what stands behind `--`."""
    add = parser.add_argument
    texts = "; ".join(f"{name}: {text}" for name, text in actions.items())
    add("action", choices=list(actions), metavar="ACTION", help=texts)
    add("--name", required=True, type=_name, help="lower-case letters, digits and hyphens")
    add_list(
        parser,
        "env",
        "NAME[=VALUE]",
        "environment variable of the command; without a value it is taken from here. Values are "
        "never shown",
    )
    folder = "folder of the jobs' local files (default: %(default)s)"
    add("--jobs", type=Path, default=Path("runs/launch"), metavar="DIR", help=folder)
    add("--dry_run", action="store_true", help="prints the exact commands and runs none")
    add("--yes", action="store_true", help="deletes without asking")
    for name, default, text in (
        ("poll", 30.0, "between two looks at a job"),
        ("retry_wait", 10.0, "before the second try, doubled before each further one"),
    ):
        text += " (default: %(default)g)"
        add(f"--{name}", type=_seconds, default=default, metavar="SECONDS", help=text)
    add_number(parser, "tries", 5, "of one command of the cloud before it counts as failed", 1)
    add_number(parser, "max_resumes", 50, "of one `run` after preemptions")
    parser.usage = f"{parser.prog} ACTION --name=NAME [arguments] -- signbind COMMAND ..."


def add_tpu_arguments(parser: argparse.ArgumentParser, accelerator: str) -> None:
    """Adds which TPUs of Google's cloud a job is for; `accelerator` is the help of that option."""
    parser.add_argument("--zone", type=word, required=True, metavar="ZONE", help="as us-central2-b")
    add_word(parser, "project", "PROJECT", "default: gcloud's own")
    add_word(parser, "accelerator", "TYPE", accelerator)
    add_number(parser, "slices", 1, "slices of a multislice run", 1, 10_000)


def add_list(
    parser: argparse.ArgumentParser, name: str, metavar: str, text: str, kind: Callable = str
) -> None:
    """Adds an option that may be given several times."""
    parser.add_argument(
        f"--{name}", action="append", default=[], metavar=metavar, help=text, type=kind
    )


def add_word(parser: argparse.ArgumentParser, name: str, metavar: str, text: str) -> None:
    """Adds an option that names something of a cloud, see `word`; empty where it is not given."""
    parser.add_argument(f"--{name}", type=word, default="", metavar=metavar, help=text)


def add_number(
    parser: argparse.ArgumentParser,
    name: str,
    default: int,
    text: str,
    least: int = 0,
    most: int = 1_000_000,
) -> None:
    """Adds an option that is a whole number within limits."""

    def number(given: str) -> int:
        if not re.fullmatch("-?[0-9]{1,18}", given):
            raise argparse.ArgumentTypeError(f"found {given[:60]!r}, wanted a whole number")
        if not least <= int(given) <= most:
            raise argparse.ArgumentTypeError(f"found {given}, wanted {least} to {most}")
        return int(given)

    text = f"{text} (default: %(default)s)".lstrip()
    parser.add_argument(f"--{name}", type=number, default=default, metavar="N", help=text)


def parse(
    parser: argparse.ArgumentParser, argv: list[str], needs_command: set[str]
) -> argparse.Namespace:
    """Arguments with `job`; what stands behind the first `--` is the command, untouched."""
    for argument in argv:
        if "\0" in argument or any("\ud800" <= c <= "\udfff" for c in argument):
            parser.error("arguments: found a NUL or bytes that are not UTF-8, wanted text")
    at = argv.index("--") if "--" in argv else len(argv)
    arguments, unknown = parser.parse_known_args(argv[:at])
    if unknown:  # their names alone: --envs=HF_TOKEN=... holds a secret
        names = " ".join(argument.partition("=")[0] for argument in unknown)
        parser.error(f"unrecognized arguments: {names}")
    command = tuple(argv[at + 1 :])
    if arguments.action in needs_command and not command:
        parser.error(
            f"{arguments.action}: found no command, wanted one at the end, such as "
            "-- signbind train --config=signing --workdir=DIR"
        )
    arguments.job = Job(
        arguments.name,
        command,
        _environment(parser, arguments.env),
        arguments.jobs / arguments.name,
    )
    return arguments


def word(text: str) -> str:
    """The type of an argument that names something of a cloud: a zone, a project, an image."""
    if text and not _WORD.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"found {ascii(text[:60])}, wanted letters, digits and "
            "any of _ . / @ + : , = -, no hyphen first"
        )
    return text


def workdir_of(command: tuple[str, ...]) -> str | None:
    """The value of --workdir; None where the command has none."""
    for i, argument in enumerate(command):
        if argument.startswith("--workdir="):
            return argument.partition("=")[2]
        if argument == "--workdir" and i + 1 < len(command):
            return command[i + 1]
    return None


def bucket_in(command: tuple[str, ...]) -> str | None:
    """The first argument that names an object of a bucket; None where there is none."""
    return next((argument for argument in command if re.search(r"(^|=)gs://", argument)), None)


def check_paths(
    parser: argparse.ArgumentParser, command: tuple[str, ...], shared: list[str], how: str
) -> None:
    """Refuses a working directory that would be lost with the machine.

    Args:
      shared: directories that outlive the machines; empty where every absolute path does.
      how: what the user can give to name one.
    """
    if (argument := bucket_in(command)) is not None:
        parser.error(
            f"command: found {argument!r}, wanted a path: signbind reads and writes "
            f"files, not gs:// objects; {how} and give the path beneath"
        )
    workdir = workdir_of(command)
    if workdir is None:
        return
    if not workdir.startswith("/"):
        parser.error(
            f"command: --workdir: found {workdir!r}, wanted an absolute path on storage "
            f"that outlives the machines; {how}"
        )
    place = os.path.normpath(workdir)
    if not any(place == s or place.startswith(f"{s}/") for s in map(os.path.normpath, shared)):
        parser.error(
            f"command: --workdir: found {workdir!r}, wanted a directory under "
            f"{' or '.join(shared) or 'shared storage'}: a local disk is lost with its "
            f"machine, and the run with it; {how}"
        )


def in_words(job: Job) -> str:
    """The command as a shell would take it, on one line."""
    return " ".join(shlex.quote(a).replace("\n", "\\n") for a in job.command)


def _environment(parser: argparse.ArgumentParser, given: list[str]) -> dict[str, str]:
    values = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not _VARIABLE.fullmatch(name):
            parser.error(
                "--env: found a name that is no variable's, wanted NAME or NAME=VALUE "
                "with letters, digits and underscores in NAME"
            )
        if not equals and name not in os.environ:
            parser.error(
                f"--env={name}: found no such variable here, wanted one (export {name}) "
                f"or --env={name}=VALUE"
            )
        if name in _READ_ONLY:
            parser.error(f"--env={name}: found a variable of the shell's own, wanted another")
        values[name] = value if equals else os.environ[name]
        if any("\ud800" <= c <= "\udfff" for c in values[name]):
            parser.error(f"--env={name}: found bytes that are not UTF-8, wanted text")
    return values


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"found {text!r}, wanted lower-case letters, digits and "
            "hyphens, a letter first, 40 at most"
        )
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 86400:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted seconds, 0 to 86400")
    return value
