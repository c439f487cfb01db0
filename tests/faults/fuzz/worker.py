"""The process that the inputs are tried in, one forked child each: `python -m ...fuzz.worker`.

It imports the library once and starts no JAX backend itself. It answers each line of its input,
`READER SEED FIRST LAST`, with a line of JSON: {"tried": ..., "accepted": ..., "faults": [...]}.
"""

import argparse
import fnmatch
import importlib
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from signbind_jax import cli
from signbind_jax.data_pipelines import build
from tests.faults.fuzz import isolated
from tests.faults.fuzz.attacks import ATTACKS, IGNORED
from tests.faults.fuzz.damage import damaged
from tests.faults.fuzz.isolated import Outcome
from tests.faults.fuzz.reader import Reader
from tests.faults.fuzz.readers import READERS

# What takes long to import: every input is tried in a fork of this process.
_IMPORTED = (
    *("av", "h5py", "sacrebleu", "tensorflow_datasets"),
    *(f"signbind_jax.{module}" for module, _ in cli.COMMANDS.values()),
    *(f"signbind_jax.data_pipelines.{module}" for module in build.CORPORA.values()),
    "signbind_jax.data_pipelines.audit.page",
    "signbind_jax.data_pipelines.writing.writer",
    "signbind_jax.hf.gguf_llama",
    "signbind_jax.report.page",
    "signbind_jax.train.loop",
)
_LONGEST_LINE = 2000
# What a pipeline makes of an exception that no reader expected.
_WRAPPED = re.compile(r"clip .*: cannot be read \(\w+: ", re.DOTALL)
_REFUSALS = ("SignBindError", "FieldError", "DamagedCheckpoint", "Unreadable")


class Trial:
    """A directory in which inputs of one reader are tried, made whole again after each."""

    def __init__(self, directory: Path, name: str, seeds: dict):
        """Makes the input that gets damaged; readers of the same input share it in `seeds`."""
        self.name, self.reader = name, READERS[name]
        self.root = directory / "root"
        self.cpu_s = 120.0
        make = self.reader.make
        if make not in seeds:
            self.seed = directory / f"seed {len(seeds)}"
            made = isolated.call(partial(make, self._fresh()), self.root, 120, _ANYTHING)
            if made.kind != "returned" or made.code:
                raise RuntimeError(f"{name}: no input could be made: {made}")
            shutil.move(self.root / "in", self.seed)
            seeds[make] = self.seed
        self.seed = seeds[make]
        whole, _, faults = self.run(lambda tree: None)
        if faults or whole.kind != "returned" or whole.code not in (0, 1):
            raise RuntimeError(f"{name}: an input without damage is refused: {faults} {whole}")
        self.cpu_s = isolated.CPU_S + whole.seconds

    def _fresh(self) -> Path:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        (self.root / "canary").write_text("not of the input")
        tree = self.root / "in"
        if self.seed.exists():
            shutil.copytree(self.seed, tree, symlinks=True)
        else:
            tree.mkdir()
        return tree

    def run(self, harm: Callable[[Path], str | None]) -> tuple[Outcome, str, list[str]]:
        """Tries the input after `harm` was done: how it ended, what `harm` told, the faults."""
        tree = self._fresh()
        told = harm(tree) or ""
        before = isolated.listing(self.root)
        reader = self.reader
        outcome = isolated.call(
            lambda: reader.read(tree, self.root / "out"),
            self.root,
            self.cpu_s,
            reader.allowed,
        )
        names = {path.stem for path in (*self.seed.rglob("*"), *tree.rglob("*"))}
        faults = [*_faults_of(outcome, reader, tree, names), *self._left(before, outcome)]
        return outcome, told, faults

    def _left(self, before: dict, outcome: Outcome) -> list[str]:
        """What was written where nothing may be, or half."""
        if outcome.kind == "died":
            return []  # fault enough
        after = isolated.listing(self.root)
        changed = [path for path in {*before, *after} if before.get(path) != after.get(path)]
        good = outcome.kind == "returned" and outcome.code in (0, 1)
        # What a build has done before it stopped is kept for the next try.
        mine = [
            "home",
            "home/*",
            "tmp",
            "tmp/*",
            "cwd",
            ".out.building",
            ".out.building/*",
            *(f"in/{p}" for p in self.reader.writes),
            *(f"in/{p}/*" for p in self.reader.writes),
            *["out", "out/*"] * good,
        ]
        wrong = [
            p
            for p in changed
            if not any(fnmatch.fnmatch(p, m) for m in mine) or p.endswith(".partial") and p in after
        ]
        return [f"changed: {path}" for path in sorted(wrong)[:3]]


_ANYTHING = (*isolated._RUNS, *isolated._CHANGES, "open")


def _faults_of(outcome: Outcome, reader: Reader, tree: Path, clips: set[str]) -> list[str]:
    faults = list(outcome.forbidden)
    if outcome.bytes > isolated.MEMORY:
        faults.append(f"memory: {outcome.bytes / 1e6:.0f} MB above the start")
    elif "MemoryError" in outcome.line or "Unable to allocate" in outcome.line:
        faults.append("memory: asked for more than there is")
    if "Traceback (most recent call last)" in outcome.said:
        faults.append("traceback on the terminal: " + outcome.said.strip().splitlines()[-1][:200])
    if outcome.kind == "returned":
        return faults + [f"exit code {outcome.code}"] * (outcome.code not in (0, 1, 2))
    if outcome.kind not in _REFUSALS:
        line = " ".join(outcome.line.split())[:200]
        return [*faults, f"{outcome.kind}: {line} ({outcome.where})"]
    line = outcome.line
    if len(line) > _LONGEST_LINE:
        faults.append(f"a line of {len(line)} characters or more ({outcome.where})")
    if any(not c.isprintable() for c in line):
        faults.append(f"a line with control characters: {line[:200]!r} ({outcome.where})")
    if _WRAPPED.match(line):
        faults.append(f"a wrapped exception: {line[:200]!r}")
    named = (
        *reader.said,
        *{p.name for p in tree.rglob("*")},
        *{f"clip {name}" for name in clips},
        *_last_parts(reader),
        str(tree),
    )
    if not any(name in line for name in named):
        faults.append(f"a line that names no file: {line[:200]!r} ({outcome.where})")
    return faults


def _last_parts(reader: Reader) -> list[str]:
    """Names of damaged files that may be gone."""
    return [pattern.rsplit("/", 1)[-1] for pattern in reader.files if "*" not in pattern]


def harm_of(trial: Trial, seed: int, index: int, tree: Path) -> str:
    """Does damage number `index` to a tree; what was done to which file."""
    chance, reader = random.Random(f"{seed} {trial.name} {index}"), trial.reader
    paths = sorted(path for pattern in reader.files for path in tree.glob(pattern))
    path = chance.choice([path for path in paths if path.is_file()])
    kind = chance.choice(("bytes",) * 12 + ("gone", "empty", "pipe", "directory", "endless"))
    data = path.read_bytes()
    if kind == "bytes":
        path.write_bytes(damaged(data, path.name, chance))
    else:
        path.unlink()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    if reader.seal and kind in ("bytes", "empty") and chance.random() < 0.6:
        try:
            reader.seal(tree)
        except Exception:  # too damaged to be sealed
            kind += ", not sealed"
    return f"{path.relative_to(tree)}: {kind}"


def serve(directory: Path, keep: Path | None) -> None:
    """Answers requests until its input ends."""
    trials: dict[str, Trial] = {}
    seeds: dict = {}
    for line in sys.stdin:
        name, seed, first, last = json.loads(line)
        try:
            trial = trials.get(name) or trials.setdefault(name, Trial(directory, name, seeds))
            answer = _answer(trial, seed, range(first, last), keep)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _answer(trial: Trial, seed: int, indexes: range, keep: Path | None) -> dict:
    attacks = ATTACKS.get(trial.name, {}) if 0 in indexes else {}
    harms = {**attacks, **{str(i): partial(harm_of, trial, seed, i) for i in indexes}}
    answer: dict = {"tried": len(harms), "accepted": 0, "faults": []}
    for number, harm in harms.items():
        outcome, told, faults = trial.run(harm)
        answer["accepted"] += outcome.kind == "returned"
        if number in attacks and outcome.kind == "returned" and number not in IGNORED:
            faults.append("accepted")
        answer["faults"] += [[number, told, fault] for fault in faults]
        if faults and keep is not None:
            place = keep / trial.name.replace(" ", "_") / number.replace(" ", "_")
            shutil.rmtree(place, ignore_errors=True)
            harm(Path(shutil.copytree(trial.seed, place, symlinks=True)))
    return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="where inputs that show a fault are kept")
    arguments = parser.parse_args()
    for module in _IMPORTED:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory(prefix="signbind_fuzz_") as scratch:
        serve(Path(scratch), arguments.keep)
