"""What the benchmarks on real recordings share: their arguments, `signbind` commands that are done
once a work directory, and the last line.

Each benchmark is a sequence of shipped commands; what is not a command is how a set's own files
become a corpus that `signbind data build` reads.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import harness
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


class Work:
    """A work directory in which commands are run once.

    A command that was done with the same arguments is passed over; one that was interrupted is
    given again and goes on by itself.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._done = directory / "done"
        self._done.mkdir(parents=True, exist_ok=True)

    def run(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Runs `signbind` commands by name, a core each as far as there are cores.

        What they print goes to `logs/<name>.log`.

        Raises:
          SignBindError: one failed; its last line says why.
        """
        given = {name: list(map(str, command)) for name, command in commands.items()}
        left = {name: command for name, command in given.items() if self._of(name) != command}
        for name in left:
            print(f"{name}: signbind {' '.join(left[name])}", flush=True)
        began = time.monotonic()
        if left:
            run_all(left, self.directory / "logs")
        for name, command in left.items():
            record = {"command": command, "seconds": round(time.monotonic() - began, 1)}
            files.write_json(self._done / f"{name}.json", record)

    def _of(self, name: str) -> list[str] | None:
        path = self._done / f"{name}.json"
        return files.read_json(path)["command"] if path.exists() else None

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
