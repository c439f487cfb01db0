"""The hard preset's table: today's recipe, what is added to it, and the final recipe.

    python -m benchmarks.hard.table --workdir=DIR [--rows=NAME,...] [--seeds=N] [--smoke]

`plain` is the shipped configs as they are, `final` these with all elements of `recipe.FINAL`, both
with every seed; what follows has the first one, or behind an @ another. `-NAME` is the final recipe
without an element (`-NAME-NAME` without two), `NAME` is plain with it. What a row does not touch is
not trained again. An element pays where without it BLEU-4 or name recall of the validation split
falls by more than the seeds of `final` lie apart, and the other does not rise by more. All that is
finished in DIR is passed over, what was interrupted goes on. docs/hard_results.md says what the
elements are and what was measured.

DIR/measured.json keeps scores and minutes by the digests of their commands. Given to another
directory as --measured, it stands in for these: only what is not in it is trained.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.hard.elements import ELEMENTS, FINAL, OTHERS, PLAIN, final
from benchmarks.hard.plan import Job, Plan, System
from benchmarks.hard.recipe import Recipe
from benchmarks.real.work import Work, run_benchmark
from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import unknown_name

MEASURED = "measured.json"
ROWS = ("plain", "final", *(f"-{name}" for name in FINAL))
# Column -> stage, its score, how it is called in the table.
COLUMNS = {
    "gloss_wer": ("signing", "gloss WER"),
    "letter_accuracy": ("fingerspelling", "letters"),
    "phoneme_error_rate": ("lipreading", "phoneme errors"),
    "token_error_rate": ("fusion", "token errors"),
    "bleu4": ("translation", "BLEU-4"),
    "chrf": ("translation", "chrF"),
    "name_recall": ("translation", "names"),
}
DECISIVE = ("bleu4", "name_recall")
Scores = Mapping[str, Mapping[str, float | None]]  # score -> split -> value


def main() -> None:
    """Trains, scores, writes table.md and results.json, and prints the results as one line."""
    arguments = _parse()
    table = Table(arguments.workdir, arguments.seeds, arguments.smoke, arguments.measured)
    recipes = {name: recipe_of(name) for name in arguments.rows}
    if arguments.plan:
        for name, system in table.plan_rows(recipes).items():
            told = system[0].trained.values() if system[0] else ["once its experts are scored"]
            print(name, *told)
        print(f"{len(table.plan.jobs)} commands, {len(table.left(recipes))} left")
        return
    table.run(recipes)
    table.finish()


def _parse() -> argparse.Namespace:
    parser = harness.make_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--rows",
        type=lambda text: [name for name in text.split(",") if name],
        default=ROWS,
        metavar="NAME,...",
        help=f"plain, final, of these with - in front: {', '.join(FINAL)}; of these without: "
        f"{', '.join([*ELEMENTS, *OTHERS])} (default: the first three kinds); -NAME-NAME: final "
        "without both; NAME@1: of that seed",
    )
    parser.add_argument(
        "--seeds", type=int, default=2, metavar="N", help="of plain and final (default: 2)"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="few clips, three steps a stage: do all commands run?"
    )
    parser.add_argument(
        "--measured", type=Path, metavar="FILE", help="the measured.json of another directory"
    )
    parser.add_argument("--plan", action="store_true", help="how many commands are left; run none")
    return parser.parse_args()


def recipe_of(row: str) -> Recipe:
    """The recipe of a row.

    Raises:
      SignBindError: there is no such row.
    """
    known, name = ELEMENTS | OTHERS, row.partition("@")[0]
    if name in ("plain", "final"):
        return final() if name == "final" else PLAIN
    if name.startswith("-") and {*name[1:].split("-")} <= {*FINAL}:
        return final(without=name[1:].split("-"))
    if name not in known:
        raise SignBindError(unknown_name("--rows", name, [*ROWS, *known]))
    return PLAIN | known[name].adds


def seed_of(row: str) -> int:
    """The seed of a row that has one alone.

    Raises:
      SignBindError: what stands behind the @ is no number.
    """
    seed = row.partition("@")[2] or "0"
    if not seed.isdecimal():
        raise SignBindError(f"--rows: {row}: found {seed!r}, wanted a seed behind the @")
    return int(seed)


class Table:
    """Rows of recipes, and the directory in which they are trained.

    Attributes:
      rows: row -> of each of its seeds the scores.
      minutes: row -> of a core, for what no row before it has.
    """

    def __init__(
        self, directory: Path, seeds: int, smoke: bool = False, measured: Path | None = None
    ):
        self.directory, self.seeds = directory.absolute(), seeds
        self.work, self.plan = Work(self.directory), Plan(self.directory, smoke)
        self.rows: dict[str, list[Scores]] = {}
        self.minutes: dict[str, float] = {}
        self._counted: set[str] = set()
        self._kept = self.directory / MEASURED
        self._measured: dict[str, dict] = {}
        if self._kept.exists():
            self._measured |= files.read_json(self._kept)
        if measured:
            self._measured |= files.read_json(measured)
        for job, found in self._measured.items():
            if "scores" in found:  # where those that are fitted to them look for them
                files.write_json(self.directory / f"{job}.json", found["scores"])

    def plan_rows(self, recipes: Mapping[str, Recipe]) -> dict[str, list[System | None]]:
        """Adds the jobs of rows; `plain` and `final` have every seed."""
        return {
            name: [self.plan.system(recipe, seed) for seed in self._seeds_of(name)]
            for name, recipe in recipes.items()
        }

    def left(self, recipes: Mapping[str, Recipe]) -> list[str]:
        """The names of the jobs that are still to be done for some rows."""
        jobs = self._needed(self.plan_rows(recipes)).values()
        self._keep_done()
        return [job.name for job in jobs if not self._is_done(job)]

    def run(self, recipes: Mapping[str, Recipe]) -> None:
        """Trains and scores what is not there yet, and reads the scores of all rows."""
        waits = True
        while waits:  # until nothing follows from scores that are still to be made
            planned = self.plan_rows(recipes)
            waits = any(None in systems for systems in planned.values())
            jobs = self._needed(planned).values()
            try:
                self.work.run({j.name: j.command for j in jobs}, {j.name: j.needs for j in jobs})
            finally:
                self._keep_done()
        for name, systems in planned.items():
            used = self.plan.with_needs(job for system in systems for job in system.results)
            self.rows[name] = [self._scores(system) for system in systems]
            own = used.keys() - self._counted
            self.minutes[name] = round(sum(self._measured[job]["minutes"] for job in own), 1)
            self._counted |= used.keys()

    def _needed(self, planned: Mapping[str, list[System | None]]) -> dict[str, Job]:
        """What has to be done for the results that were not measured before; where a row waits for
        scores, all that is planned of it."""
        systems = [system for row in planned.values() for system in row]
        results = [job for system in systems if system for job in system.results]
        wanted = [*self.plan.jobs] if None in systems else results
        return self.plan.with_needs(job for job in wanted if job not in self._measured)

    def _is_done(self, job: Job) -> bool:
        return self.work.is_done(job.name, list(job.command))

    def _keep_done(self) -> None:
        """Notes what each job that is done took and, of one that scores, what it found; also of
        rows that are not finished."""
        for name, job in self.plan.jobs.items():
            if name in self._measured or not self._is_done(job):
                continue
            seconds = files.read_json(self.work.record(name))["processor_seconds"]
            self._measured[name] = {"minutes": round(seconds / 60, 2)}
            if (scores := self.directory / f"{name}.json").exists():
                here = scores.read_text(encoding="utf-8").replace(f"{self.directory}/", "")
                self._measured[name]["scores"] = json.loads(here)
        files.write_json(self._kept, self._measured)

    def finish(self) -> None:
        """Writes table.md and results.json and prints this as one line, BLEU-4 of the test split
        first."""
        files.write(self.directory / "table.md", markdown(self.rows, self.minutes))
        best = "final" if "final" in self.rows else next(iter(self.rows))
        self.work.finish(
            {
                "bleu4": mean(self.rows[best], "bleu4", "test"),
                "row": best,
                "rows": self.rows,
                "minutes": self.minutes,
            }
        )

    def _seeds_of(self, name: str) -> Sequence[int]:
        return range(self.seeds) if name in ("plain", "final") else (seed_of(name),)

    def _scores(self, system: System) -> Scores:
        found: dict[str, dict[str, float | None]] = {}
        for score, (stage, _) in COLUMNS.items():
            for split, job in system.scored[stage].items():
                scores = self.work.scores(job)
                found.setdefault(score, {})[split] = scores.get("all", scores)[score]
        if system.spellings:
            counts = files.read_json(self.directory / f"{system.spellings}.json")
            for score in ("precision", "recall"):
                found[f"spellings_{score}"] = {"train": counts[score]}
        return found


def mean(row: Iterable[Scores], score: str, split: str) -> float | None:
    """Of the seeds; None where there is nothing to score."""
    values = [seed[score][split] for seed in row]
    return None if None in values else statistics.mean(values)


def spread(row: list[Scores], score: str) -> float:
    """How far the seeds lie apart on the validation split."""
    values = [seed[score]["validation"] or 0.0 for seed in row]
    return max(values) - min(values)


def pays(rows: Mapping[str, list[Scores]], row: str) -> bool:
    """Whether the element pays that a row lacks, by the seed of that row."""
    final, seed = rows["final"], seed_of(row)

    def loss(score: str) -> float:
        with_it, without = (of[score]["validation"] or 0.0 for of in (final[seed], rows[row][0]))
        return with_it - without

    apart = {score: spread(final, score) for score in DECISIVE}
    return any(loss(s) > apart[s] for s in DECISIVE) and all(loss(s) >= -apart[s] for s in DECISIVE)


def markdown(rows: Mapping[str, list[Scores]], minutes: Mapping[str, float]) -> str:
    """A line a row: each score on training and on test signers, means of the seeds; whether the
    element pays that the final recipe lacks there, which takes two seeds of that; minutes of a core
    of what no row above has."""
    titles = ["row", "seeds", *(title for _, title in COLUMNS.values()), "pays", "core-minutes"]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for name, row in rows.items():
        cells = [
            " / ".join(_shown(mean(row, s, split)) for split in ("train", "test")) for s in COLUMNS
        ]
        judged = name.count("-") == 1 and len(rows.get("final", ())) > max(1, seed_of(name))
        cells.append(("yes" if pays(rows, name) else "no") if judged else "")
        lines.append([name, str(len(row)), *cells, f"{minutes[name]:.0f}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    run_benchmark(main)
