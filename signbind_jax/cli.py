"""The `signbind` command: one line a command; each command lives in the module it names."""

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path

from signbind_jax.errors import Interrupted, SignBindError, outcome, prefix, printable
from signbind_jax.processes import child, environment, interrupts

# command -> (module of signbind_jax with add_arguments and run, what it does)
COMMANDS = {
    "quickstart": ("quickstart.command", "all stages on the embedded corpus, with a report"),
    "data build": ("data_pipelines.build", "writes a dataset from a corpus on disk"),
    "data clips": ("data_pipelines.clips", "lists the recordings of a corpus for `extract`"),
    "extract": ("data_pipelines.extraction.command", "landmarks and mouth crops from videos"),
    "data audit": ("data_pipelines.audit.command", "what is wrong with a dataset, with counts"),
    "data vocabulary": ("data_pipelines.vocabulary", "a vocabulary that runs on datasets share"),
    "data spellings": (
        "data_pipelines.spellings",
        "which words are spelled in clips, by an expert",
    ),
    "data order": ("data_pipelines.sign_order", "in which order words are signed, by an expert"),
    "train": ("train.command", "trains one stage"),
    "preflight": ("preflight.command", "whether and how fast a config runs on a TPU"),
    "sweep": ("sweep.command", "trains a stage at every point of a grid"),
    "crossfit": ("crossfit.command", "experts that each leave out a fold of the clips"),
    "evaluate": ("evaluate.command", "scores a trained stage on a split"),
    "translate": ("use.translate", "writes the sentences of clips"),
    "export translator": ("use.export_command", "a trained translator as a bundle for others"),
    "serve": ("serve.command", "a page and an HTTP interface for a trained translator"),
    "llm fetch": ("hf.fetch_command", "puts a pretrained language model on disk"),
    "llm inspect": ("hf.inspect_command", "what a language model directory holds"),
    "llm export": ("hf.export_command", "a tuned language model for other tools"),
    "launch tpu": ("launch.tpu", "a command on TPU VM pods, through queued resources"),
    "launch gke": ("launch.gke", "a command on TPUs of a GKE cluster, through xpk"),
    "launch slurm": ("launch.slurm", "a command on a SLURM cluster"),
    "compare": ("evaluate.compare", "two systems side by side on the same clips, as a page"),
    "score": ("evaluate.score", "every scoring convention of the field, from plain text"),
}
IMPORT = "--import="
# Those that share their work among the processes of several hosts.
ON_SEVERAL_PROCESSES = ("train", "evaluate", "translate")


def main(argv: list[str] | None = None) -> int:
    """Runs one command; 0 done, 1 failed work, 2 bad usage."""
    if argv is None:
        _open_standard_streams()
    if argv is None and _trains_here(sys.argv[1:]):
        with interrupts.noted(to_the_end=True):
            return main(sys.argv[1:])
    argv = list(sys.argv[1:] if argv is None else argv)
    own = argv.index("--") if "--" in argv else len(argv)  # behind it is another command's
    debug = "--debug" in argv[:own]
    imports = [a.removeprefix(IMPORT) for a in argv[:own] if a.startswith(IMPORT)]
    argv = [a for a in argv[:own] if a != "--debug" and not a.startswith(IMPORT)] + argv[own:]
    # A save that failed is told once; Orbax leaves tasks behind whose errors asyncio prints.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    environment.prepare()
    try:
        if imports or os.environ.get(child.IMPORTS):
            from signbind_jax.processes.user_files import import_files

            import_files(imports)
        return _run(argv, debug)
    except (Exception, KeyboardInterrupt) as error:
        if debug and not isinstance(error, Interrupted):
            raise
        code, line = outcome(error)
        if line:
            print(f"signbind: {prefix(error)}{line}", file=sys.stderr)
        return code


def _open_standard_streams() -> None:
    """Puts /dev/null where a standard stream is closed: the next file that is opened would take
    its number, and what libraries print would go into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: SIM115
    # A file's name need not be in the terminal's encoding; to print it may not end the work.
    sys.stdout.reconfigure(errors="backslashreplace")


def _trains_here(argv: list[str]) -> bool:
    """Whether this process is a training run; known before anything is imported for it."""
    name = next((a for a in argv if a != "--debug" and not a.startswith(IMPORT)), None)
    one_of_many = name in ("sweep", "crossfit") and any(a.startswith("--point") for a in argv)
    return name == "train" or one_of_many


def _run(argv: list[str], debug: bool) -> int:
    arguments = _parse(argv)
    if arguments.place is None:
        if (signals := interrupts.active()) is not None:
            signals.end_at_once()
        return arguments.run(arguments)
    from signbind_jax.distributed import initialize

    return initialize.run(arguments.run, arguments, debug=debug)


class _Parser(argparse.ArgumentParser):
    """Errors on one line. Refused are a path that is empty, as of a variable that is not set, and
    one that is not UTF-8, which not all libraries take."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register("type", Path, _path)

    def error(self, message):
        super().error(printable(message))


def _path(text: str) -> Path:
    if not text or any("\ud800" <= c <= "\udfff" for c in text):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a path in UTF-8")
    return Path(text)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="signbind",
        usage="signbind COMMAND [--help] [arguments]",
        description="Multi-stream sign language translation: experts, fusion, LLM.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n"
        + "\n".join(f"  {name:17s}{text}" for name, (_, text) in COMMANDS.items())
        + "\n\n`signbind COMMAND --help` explains each; --debug shows tracebacks.\n"
        "--import=FILE.py runs a Python file first, such as one that registers a stream.",
    )
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    name, rest = _command(argv)
    if name is None:
        parser.parse_args(argv[:1] if argv and argv[0] in ("-h", "--help") else [])
        parser.error("no command")
    if name not in COMMANDS:
        from signbind_jax.overrides import unknown_name

        parser.error(unknown_name("command", name, COMMANDS))
    module = importlib.import_module(f"signbind_jax.{COMMANDS[name][0]}")
    own = _Parser(
        prog=f"signbind {name}",
        description=module.run.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(own)
    arguments = _read(name, module, own, rest)
    arguments.run, arguments.run_of = module.run, name
    return arguments


def _read(name: str, module, own: argparse.ArgumentParser, rest: list[str]) -> argparse.Namespace:
    """The arguments, with the `place` of this process among several; None: on its own."""
    parse = getattr(module, "parse", argparse.ArgumentParser.parse_args)
    if name not in ON_SEVERAL_PROCESSES:
        arguments = parse(own, rest)
        arguments.place = None
        return arguments
    from signbind_jax.distributed import initialize

    initialize.add_arguments(own)
    arguments = parse(own, rest)
    try:
        arguments.place = initialize.place_of(arguments)
    except SignBindError as error:
        own.error(str(error))
    return arguments


def _command(argv: list[str]) -> tuple[str | None, list[str]]:
    if not argv or argv[0].startswith("-"):
        return None, argv
    if len(argv) > 1 and f"{argv[0]} {argv[1]}" in COMMANDS:
        return f"{argv[0]} {argv[1]}", argv[2:]
    if argv[0] in ("data", "export", "launch", "llm"):
        return " ".join(argv[:2]), argv[2:]
    return argv[0], argv[1:]


if __name__ == "__main__":
    sys.exit(main())
