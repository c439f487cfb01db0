"""What the benchmarks on real recordings share: their arguments, `signbind` commands that are done
once a work directory, and the last line.

Each benchmark is a sequence of shipped commands; what is not a command is how a set's own files
become a corpus that `signbind data build` reads.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import harness, once
from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.processes.parallel_runs import run_all
from signbind_jax.train.summary import read_summary


def make_parser(doc: str, seeds: int) -> argparse.ArgumentParser:
    """The arguments of every benchmark on real recordings.

    seeds: how many trainings the headline is the mean of, unless asked for otherwise.
    """
    parser = harness.make_parser(doc)
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="the set: what is trained on, and dev",
    )
    parser.add_argument(
        "--test",
        type=Path,
        metavar="DIR",
        help="a directory of the same layout to score; without it, dev of --data",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        required=True,
        metavar="DIR",
        help="what is finished there is not done again",
    )
    parser.add_argument(
        "--seeds", type=int, default=seeds, metavar="N", help="trainings (default: %(default)s)"
    )
    return parser


def run_benchmark(main: Callable[[], object]) -> None:
    """Runs a benchmark; wrong input ends it in one line, with exit code 1."""
    try:
        main()
    except SignBindError as error:
        sys.exit(f"benchmark: error: {error}")


def _workdir(command: Iterable[str]) -> str:
    """Where a command trains; empty: it trains nothing."""
    found = (
        argument.removeprefix("--workdir=") for argument in command if "--workdir=" in argument
    )
    return next(found, "")


class Work:
    """A work directory in which commands are run once.

    A command that was done with the same arguments is passed over, unless what it reads was made
    anew since; one that was interrupted is given again and goes on by itself.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._done = directory / "done"
        self._done.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        commands: Mapping[str, Sequence[str]],
        after: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Runs `signbind` commands by name, a core each as far as there are cores.

        What they print goes to `logs/<name>.log`.

        Args:
          after: command -> those before it in the order that it waits for.

        Raises:
          SignBindError: one failed; its last line says why. Those that do not wait for it are
            done all the same.
        """
        given = {name: list(map(str, command)) for name, command in commands.items()}
        left = [name for name, command in given.items() if not self.is_done(name, command)]
        if not left:
            return
        self._forget_what_reads([given[name] for name in left])
        for name in left:
            print(f"{name}: signbind {' '.join(given[name])}", flush=True)
        run_all(
            {name: [str(self.record(name)), *given[name]] for name in left},
            self.directory / "logs",
            after,
            lambda name: self.is_done(name, given[name]),
            module="benchmarks.once",
        )
        unfinished = [name for name in left if not self.is_done(name, given[name])]
        if unfinished:
            raise SignBindError(
                f"{self.directory}: interrupted before {', '.join(unfinished)}: give the same "
                "command again"
            )

    def _forget_what_reads(self, commands: Iterable[list[str]]) -> None:
        """Drops the records of commands that read a run which these train, and of what trains on
        those."""
        records = {path: files.read_json(path)["command"] for path in self._done.glob("*.json")}
        trained = {_workdir(command) for command in commands} - {""}
        while trained:
            reading = {
                path: command
                for path, command in records.items()
                if any(argument.partition("=")[2] in trained for argument in command)
                and _workdir(command) not in trained
            }
            for path in reading:
                path.unlink()
                del records[path]
            trained = {_workdir(command) for command in reading.values()} - {""}

    def record(self, name: str) -> Path:
        """What a command leaves when it ends, see `benchmarks.once`."""
        return self._done / f"{name}.json"

    def is_done(self, name: str, command: list[str]) -> bool:
        return once.finished(self.record(name), command)

    def training_minutes(self, run: str) -> float:
        """How long a training of this directory took, all its calls together."""
        return read_summary(self.directory / run)["seconds"] / 60

    def scores(self, name: str) -> dict:
        """What `signbind evaluate --json=<name>.json` wrote here."""
        return files.read_json(self.directory / f"{name}.json")["scores"]

    def finish(self, results: Mapping) -> None:
        """Keeps the results as `results.json`, and prints them as the last line, headline first."""
        files.write_json(self.directory / "results.json", dict(results))
        print(json.dumps(results))
