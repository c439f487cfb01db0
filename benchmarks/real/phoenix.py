"""PHOENIX-2014T: German weather forecasts from the gloss annotation, and from the token streams of
other people's recognisers (glosses, hand shapes, mouth shapes).

    python -m benchmarks.real.phoenix --data=DIR [--test=DIR] --workdir=DIR [--ablations]

A directory holds a JSON-lines file a split (docs/use/corpora/token_streams.md), --data `train` and
`dev`, --test one of any name. Glosses are written in lower case, as the text is, so that the
decoder knows the words that both share. A decoder from scratch learns to write from the
annotation; fusion learns to read the annotation from the streams, and then to speak to the decoder,
which stays as it is: tuned on, it learns these sentences by heart. Scores are those of the
convention `phoenix`: lower case, the tokens as they stand.

--ablations adds systems trained without some of the input, of which glosses alone are trained with
every seed and the others with the first, and gloss tokens deleted from what is scored.
"""

import argparse
import hashlib
import json
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.real import work
from signbind_jax import files
from signbind_jax.data_pipelines.readers.token_streams import (
    SUFFIXES,
    is_token_file,
    read_lines,
    stem_of,
)
from signbind_jax.errors import SignBindError

# system -> the streams it has, whether it knows when a token was read, and `text_room`: a gloss is
# 1.08 tokens of the decoder, and one of one, two, four or five tokens of the streams
SYSTEMS = {
    "streams": (("gloss", "hand", "mouth"), True, 0.3),
    "gloss_alone": (("gloss",), True, 1.5),
    "without_mouth": (("gloss", "hand"), True, 0.75),
    "without_hand": (("gloss", "mouth"), True, 0.4),
    "without_time": (("gloss", "hand", "mouth"), False, 0.3),
}
DELETED = (0.1, 0.2, 0.3)  # shares of gloss tokens
_DRAWS = [(rate, draw) for rate in DELETED for draw in range(3)]
# Tokens lost and streams absent in training: the recognisers miss glosses where nobody told them.
DROPPED = {"gloss": 0.15, "hand": 0.05, "mouth": 0.05}
ABSENT = {"gloss": 0.0, "hand": 0.1, "mouth": 0.1}
STAGES = ("fusion", "alignment")
EVERY_SEED = ("streams", "gloss_alone")  # what is claimed is that one is above the other


def main() -> None:
    """Trains, scores, and prints the results as one JSON object."""
    parser = work.make_parser(__doc__, seeds=3)
    parser.add_argument(
        "--ablations", action="store_true", help="also without some input, and with tokens deleted"
    )
    arguments = parser.parse_args()
    bench = Phoenix(arguments)
    bench.build()
    results = bench.headline()
    if arguments.ablations:
        results |= {name: bench.score_system(name) for name in SYSTEMS if name != "streams"}
        for system in EVERY_SEED:
            results[f"{system}_gloss_deleted"] = bench.score_deletions(system)
    bench.work.finish(results)


class Phoenix:
    """The commands of this set, run once a work directory."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.work = work.Work(arguments.workdir)
        self.directory: Path = arguments.workdir
        self.seeds = range(arguments.seeds)
        self.scored_file = _only_split(arguments.test or arguments.data)
        self.rows = _read(self.scored_file)
        # Named by what they are made of: a work directory scores several --test.
        self.train, self.tested = (
            _with_digest(path) for path in (_split(arguments.data, "train"), self.scored_file)
        )

    def build(self) -> None:
        """The datasets: `train`, what is scored, and the same with gloss tokens deleted."""
        kinds = {self.train: ("train", _read(_split(self.arguments.data, "train")))}
        kinds[self.tested] = ("scored", self.rows)
        if self.arguments.ablations:
            for rate, draw in _DRAWS:
                deleted = [_without(row, rate, draw) for row in self.rows]
                kinds[self._deleted(rate, draw)] = ("scored", deleted)
        for kind, (split, rows) in kinds.items():
            path = self.directory / "lines" / kind / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        language = ("--text_language=de", "--signed_language=gsg", "--overwrite")
        self.work.run(
            {
                f"data_{kind}": [
                    *("data", "build", "streams", *language),
                    f"--source={self.directory / 'lines' / kind}",
                    f"--out={self.directory / 'data' / kind}",
                ]
                for kind in kinds
            }
        )

    def score_annotation(self) -> list[dict]:
        """Scores of the decoder from the annotation as text, by seed."""
        # Fusion does not wait for it: six trainings share the cores better than three.
        todo = (("language_model", ""), ("fusion", "streams"))
        self.work.run({k: v for of in todo for k, v in self._commands(*of, self.seeds).items()})
        return self._scores([(f"language_model_{s}", self.tested) for s in self.seeds])

    def score_system(self, system: str) -> list[float]:
        """BLEU-4 of a system, by seed."""
        seeds = self.seeds if system in EVERY_SEED else self.seeds[:1]
        for stage in STAGES:
            self.work.run(self._commands(stage, system, seeds))
        runs = [(f"{system}_alignment_{s}", self.tested) for s in seeds]
        return [_bleu(scores) for scores in self._scores(runs)]

    def headline(self) -> dict:
        """Scores from the streams and from the annotation, and how long the trainings took."""
        annotation = self.score_annotation()
        streams = self.score_system("streams")
        trainings = ["language_model_{}", *(f"streams_{stage}_{{}}" for stage in STAGES)]
        minutes = [
            sum(self.work.training_minutes(name.format(s)) for name in trainings)
            for s in self.seeds
        ]
        return {
            "bleu4": statistics.mean(streams),
            "bleu4_annotation": statistics.mean(map(_bleu, annotation)),
            "bleu4_by_seed": streams,
            "bleu4_annotation_by_seed": [_bleu(scores) for scores in annotation],
            "bleu_signature": annotation[0]["BLEU-4"]["signature"],
            "minutes": statistics.mean(minutes),  # of the trainings of a seed, on a core
            "scored": self.scored_file.name,
            "sentences": len(self.rows),
            "without_tokens": [r["id"] for r in self.rows if not any(r["streams"].values())],
        }

    def score_deletions(self, system: str) -> dict[str, list[float]]:
        """BLEU-4 of a system where gloss tokens are missing: rate -> by draw of the missing tokens,
        each the mean of the seeds."""
        places = [(rate, draw, s) for rate, draw in _DRAWS for s in self.seeds]
        runs = [(f"{system}_alignment_{s}", self._deleted(*of)) for *of, s in places]
        found: dict[tuple, list[float]] = {}
        for (*of, _), scores in zip(places, self._scores(runs), strict=True):
            found.setdefault(tuple(of), []).append(_bleu(scores))
        means = {of: statistics.mean(values) for of, values in found.items()}
        return {f"{rate:g}": [means[of] for of in _DRAWS if of[0] == rate] for rate in DELETED}

    def _deleted(self, rate: float, draw: int) -> str:
        return f"{self.tested}_deleted_{rate:g}_{draw}"

    def _commands(self, stage: str, system: str, seeds: Sequence[int]) -> dict[str, list[str]]:
        """The training of a stage with each of some seeds."""
        return {self._run(stage, system, s): self._train(stage, system, s) for s in seeds}

    def _run(self, stage: str, system: str, seed: int) -> str:
        return f"{system}_{stage}_{seed}".removeprefix("_")

    def _train(self, stage: str, system: str, seed: int) -> list[str]:
        own, given, parents = "", [], {}
        if system:
            names, time, room = SYSTEMS[system]
            own = f",hidden=False,time={time}" if stage == "fusion" else ""
            given.append(f"--config.data.streams={','.join(names)}")
            for name in names:
                given.append(f"--config.augment.drop.{name}={DROPPED[name]}")
                given.append(f"--config.augment.drop_stream.{name}={ABSENT[name]}")
        if stage == "alignment":
            parents["language_model"] = self._run("language_model", "", seed)
            parents["fusion"] = self._run("fusion", system, seed)
            given.append(f"--config.options.text_room={room}")
        return [
            *("train", f"--config={stage}:size=natural{own}"),
            f"--workdir={self.directory / self._run(stage, system, seed)}",
            f"--config.seed={seed}",
            f"--config.data.directory={self.directory / 'data' / self.train}",
            "--config.data.validation=",
            *(f"--config.parents.{name}={self.directory / run}" for name, run in parents.items()),
            *given,
        ]

    def _scores(self, runs: Sequence[tuple[str, str]]) -> list[dict]:
        """Scores of runs on datasets, in order; what they wrote is kept beside them."""
        variant = "oracle_text" if runs[0][0].startswith("language_model") else "all"
        names = [f"{run}_{data}" for run, data in runs]
        self.work.run(
            {
                name: [
                    *("evaluate", f"--checkpoint={self.directory / run}"),
                    f"--data={self.directory / 'data' / data}",
                    *("--split=scored", "--convention=phoenix", f"--variants={variant}"),
                    f"--json={self.directory / name}.json",
                    f"--hypotheses={self.directory / name}.txt",
                    f"--references={self.directory / name}.references.txt",
                ]
                for name, (run, data) in zip(names, runs, strict=True)
            }
        )
        return [self.work.scores(name)[variant] for name in names]


def _only_split(directory: Path) -> Path:
    """The file that is scored: of several `dev`."""
    paths = sorted(path for path in directory.glob("*") if is_token_file(path))
    chosen = [path for path in paths if len(paths) == 1 or stem_of(path) == "dev"]
    if len(chosen) != 1:
        found = ", ".join(path.name for path in paths) or "none"
        raise SignBindError(f"{directory}: found files {found}, wanted one .jsonl[.gz], or dev")
    return chosen[0]


def _split(directory: Path, name: str) -> Path:
    for end in SUFFIXES:
        if (path := directory / f"{name}{end}").exists():
            return path
    raise SignBindError(f"{directory}: found no {name}.jsonl[.gz], wanted the sentences of {name}")


def _read(path: Path) -> list[dict]:
    """Its lines, glosses in lower case."""
    rows = [json.loads(line.text) for line in read_lines(path)]
    for row in rows:
        if "gloss" in row:
            row["gloss"] = [gloss.lower() for gloss in row["gloss"]]
    return rows


def _with_digest(path: Path) -> str:
    return f"{stem_of(path)}_{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def _bleu(scores: Mapping) -> float:
    return scores["BLEU-4"]["value"]


def _without(row: dict, rate: float, draw: int) -> dict:
    """A sentence of which each gloss token is missing with that probability."""
    rng = random.Random(f"{draw} {row['id']}")  # a higher rate deletes more of the same
    kept = [token for token in row["streams"]["gloss"] if rng.random() >= rate]
    return row | {"streams": row["streams"] | {"gloss": kept}}


if __name__ == "__main__":
    work.run_benchmark(main)
