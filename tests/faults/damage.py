"""Damages the files of finished runs, one at a time, and judges what opening and resuming say.

    python -m tests.faults.damage --files=200 --workdir=DIR [--seed=0]

Trains three tiny stages in DIR (an expert, a language model and fusion on the expert's cached
streams), then, for each damage: puts all files back, flips a bit of one, cuts it short, empties,
deletes, lengthens or exchanges it, opens the run as others do and resumes it. What is found has
to be told in one line that names the run; what is not told has to leave arrays, tokenizer,
vocabularies, streams and scores as they were. Exit code 1 where something did not.
"""

import argparse
import contextlib
import hashlib
import io
import logging
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from signbind_jax import cli
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.model_record import model_record
from signbind_jax.config import RunConfig, load_config
from signbind_jax.errors import SignBindError
from signbind_jax.report.run_files import read_log
from signbind_jax.sources import open_source
from signbind_jax.train.loop import train
from signbind_jax.train.summary import read_summary

STAGES = ("signing", "language_model", "fusion")
KINDS = ("flip", "cut", "empty", "delete", "lengthen", "exchange")
FOUND, EARLIER, HARMLESS, SILENT, TRACEBACK = (
    "found",
    "earlier step used",
    "harmless",
    "silent",
    "tracebacks",
)
_WORST_LAST = (HARMLESS, FOUND, EARLIER, SILENT, TRACEBACK)
_STREAMS = "streams"


class Chain:
    """Tiny finished runs in one directory, with a copy of them and what they came to."""

    def __init__(self, workdir: Path, data: Path, stages: Sequence[str] = STAGES):
        self.runs, self.copy = workdir / "runs", workdir / "copy"
        self.data, self.stages = data, stages
        for stage in stages:
            train(self.config(stage), self.runs / stage, announce=lambda _: None)
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.runs, self.copy)
        self.wanted = {stage: self.content(stage, resume=True) for stage in stages}

    def config(self, stage: str) -> RunConfig:
        """What a stage is trained with."""
        values = {"data.directory": self.data, "steps": 4, "checkpoint_every": 2, "log_every": 1}
        if stage == "fusion":
            values["parents.signing"] = self.runs / "signing"
        if stage == "language_model":
            values["data.validation"] = ""  # writing sentences takes longest
        return load_config(f"{stage}:size=tiny", {k: str(v) for k, v in values.items()})

    def restore(self) -> None:
        """Puts all files back."""
        shutil.rmtree(self.runs)
        shutil.copytree(self.copy, self.runs)

    def files(self) -> list[Path]:
        """All files of all runs, relative."""
        return sorted(p.relative_to(self.copy) for p in self.copy.rglob("*") if p.is_file())

    def stages_of(self, paths: Sequence[Path]) -> list[str]:
        """The runs that such files belong to; the expert's streams are fusion's."""
        names = {"fusion" if path.parts[0] == _STREAMS else path.parts[0] for path in paths}
        return [stage for stage in self.stages if stage in names]

    def content(self, stage: str, resume: bool = False) -> dict[str, str]:
        """Digest by part of what a run consists of, as it is opened or as it is resumed."""
        workdir, parts = self.runs / stage, {}
        if resume:
            result = train(self.config(stage), workdir)
            parts["scores"] = _digest(result.scores, read_summary(workdir)["scores"])
            if stage == "fusion":
                parts["streams"] = self._streams(open_source(self.config(stage)))
        run = artefact.open_artefact(workdir)
        _, params = run.load_params()
        parts["arrays"] = _digest(*map(np.asarray, jax.tree.leaves(params)))
        tokens = {name: v.tokens for name, v in run.vocabularies.items()}
        parts["what they mean"] = _digest(run.stage, model_record(run.model_config), tokens)
        if (self.copy / stage / artefact.TOKENIZER).exists():
            parts["tokenizer"] = run.tokenizer.digest
        if resume:
            curves = read_log(workdir / "metrics.jsonl").curves
            parts["learning curves"] = _digest(curves.get("loss"))
        return parts

    def _streams(self, fusion) -> str:
        data = fusion.config.data
        splits = (fusion.dataset.split(s) for s in (data.train, data.validation))
        read = (fusion.reader.read(clips) for clips in splits)
        return _digest(*(vars(e) for split in read for e in split.experts.values() if e))


@dataclass(frozen=True)
class Damage:
    """One damage to a file: what was done to it and how it was judged."""

    path: Path
    what: str
    verdict: str
    told: str


def damage_one(chain: Chain, rng: random.Random, path: Path, kind: str) -> list[Path]:
    """Damages a file; returns all files that are others now."""
    victim = chain.runs / path
    content = victim.read_bytes()
    if kind == "delete":
        victim.unlink()
    elif kind == "exchange":
        other = rng.choice([p for p in chain.files() if p != path])
        victim.write_bytes((chain.runs / other).read_bytes())
        (chain.runs / other).write_bytes(content)
        return [path, other]
    elif kind == "lengthen":
        victim.write_bytes(content + rng.randbytes(rng.randint(1, 64)))
    elif kind == "flip" and content:
        place = rng.randrange(len(content))
        flipped = content[place] ^ 1 << rng.randrange(8)
        victim.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
    else:
        victim.write_bytes(
            content[: rng.randrange(len(content)) if kind == "cut" and content else 0]
        )
    return [path]


def judge(chain: Chain, stage: str) -> tuple[str, str]:
    """The verdict on one run after a damage, and what was told."""
    verdicts = []
    for resume in (False, True):
        with _listening() as told:
            try:
                found = chain.content(stage, resume)
            except SignBindError as error:
                line = str(error)
                named = "\n" not in line and str(chain.runs) in line
                verdicts.append((FOUND if named else TRACEBACK, line))
                continue
            except Exception as error:
                verdicts.append((TRACEBACK, f"{type(error).__name__}: {error}"))
                continue
        other = [part for part, digest in found.items() if digest != chain.wanted[stage][part]]
        words = " ".join(told)
        # A run that goes on ends as it would have; of its log alone a part may be lost.
        if other and not told or resume and set(other) - {"learning curves"}:
            verdicts.append((SILENT, f"other {', '.join(other)}"))
        elif "going on from step" in words:
            verdicts.append((EARLIER, words))
        else:
            verdicts.append((FOUND if told else HARMLESS, words))
    return max(verdicts, key=lambda v: _WORST_LAST.index(v[0]))


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """The warnings that are logged; what is printed besides is dropped."""
    told, root = [], logging.getLogger()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield told
    finally:
        root.removeHandler(handler)


def _digest(*values) -> str:
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value))
        elif isinstance(value, dict):
            digest.update(_digest(*(x for pair in value.items() for x in pair)).encode())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def campaign(chain: Chain, n: int, seed: int) -> list[Damage]:
    """Damages so many files, as many of each role as can be, and judges each."""
    rng, damages = random.Random(seed), []
    roles: dict[str, list[Path]] = {}
    for path in chain.files():
        roles.setdefault(_role(path), []).append(path)
    for i in range(n):
        path, kind = rng.choice(roles[sorted(roles)[i % len(roles)]]), rng.choice(KINDS)
        chain.restore()
        changed = damage_one(chain, rng, path, kind)
        judged = [(*judge(chain, stage), stage) for stage in chain.stages_of(changed)]
        verdict, told, _ = max(judged, key=lambda v: _WORST_LAST.index(v[0]))
        what = f"{kind} with {changed[1]}" if kind == "exchange" else kind
        damages.append(Damage(path, what, verdict, told))
    chain.restore()
    return damages


def _role(path: Path) -> str:
    """Arrays are many files of few kinds, the others few files of many kinds."""
    if "state" in path.parts:
        return "arrays, " + ("data" if "d" in path.parts else "description")
    return (
        "tensorboard"
        if "tensorboard" in path.parts
        else path.name
        if path.suffix != ".npz"
        else _STREAMS
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = arguments.workdir / "data"
    if not data.exists():
        sizes = ["--train=16", "--validation=4", "--test=4", "--time_split=4"]
        cli.main(["data", "build", "synthetic", f"--out={data}", *sizes])
    # Most of the time would go into compiling the same programs again.
    jax.config.update("jax_compilation_cache_dir", str(arguments.workdir / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    chain = Chain(arguments.workdir, data)
    damages = campaign(chain, arguments.files, arguments.seed)
    for damage in damages:
        print(f"{damage.verdict:19s} {damage.path} {damage.what}: {damage.told or '-'}")
    count = Counter(damage.verdict for damage in damages)
    verdicts = (FOUND, EARLIER, HARMLESS, SILENT, TRACEBACK)
    print(f"{len(damages)} damaged: {', '.join(f'{count[v]} {v}' for v in verdicts)}")
    return int(count[SILENT] + count[TRACEBACK] > 0)


if __name__ == "__main__":
    sys.exit(main())
