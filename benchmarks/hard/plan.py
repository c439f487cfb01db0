"""Which `signbind` commands a recipe needs, each named by what it does: two recipes that have a
stage in common share its command, and what it leaves."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.hard.recipe import BEHIND, EXPERTS, Recipe, Run, tiny
from signbind_jax import files
from signbind_jax.evaluate.stream_errors import fitted_noise
from signbind_jax.metrics.sequence import ErrorCounts

SLICE = 400  # clips of a part, told everything, on which what was trained on it is scored
SIZES = {"train": 48, "validation": 6, "test": 6}  # of a trial
HELD_OUT = ("validation", "test")
LETTERS = ("labelled",)  # the parts whose letters somebody told
TOLD = ("labelled", "gold")  # those whose glosses somebody did
_BUILT_ON = {"alignment": "fusion", "translation": "alignment"}


def untold(parts: Iterable[str]) -> list[str]:
    """Those of some parts whose glosses nobody told."""
    return [part for part in parts if part not in TOLD]


@dataclass(frozen=True)
class Job:
    """A command that is given once.

    Attributes:
      name: kind and digest of the command; what it leaves is called so too.
      command: arguments of `signbind`.
      needs: names of the jobs whose results it reads.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class System:
    """The stages of a recipe trained with a seed: by stage, the training's name and, by what they
    are of (`train`, `validation`, `test`), the names of its scores; `spellings` is what was found,
    if anything was looked for."""

    trained: dict[str, str]
    scored: dict[str, dict[str, str]]
    spellings: str = ""

    @property
    def results(self) -> list[str]:
        """The names of all that is asked of it."""
        own = [name for row in self.scored.values() for name in row.values()]
        return [*own, self.spellings] if self.spellings else own


class Plan:
    """The jobs of some recipes, in an order in which each comes behind those it needs.

    trial: at a size at which nothing learns anything.
    """

    def __init__(self, directory: Path, trial: bool = False):
        self.directory, self.trial = directory, trial
        self.jobs: dict[str, Job] = {}

    def system(self, recipe: Recipe, seed: int) -> System | None:
        """Adds what a recipe needs, and says what it is called; None where some of it follows from
        scores that are not there yet."""
        recipe = tiny(recipe) if self.trial else recipe
        return _SystemPlan(self, recipe, seed).make()

    def with_needs(self, names: Iterable[str]) -> dict[str, Job]:
        """Some jobs and all that they need."""
        found: dict[str, Job] = {}
        for name in names:
            found |= self.with_needs(self.jobs[name].needs) | {name: self.jobs[name]}
        return found

    def add(self, kind: str, command: Sequence[str], needs: Iterable[str], *out: str) -> str:
        """Adds a command, unless it is there, and gives its name.

        out: the arguments that say where it leaves what it makes; {} stands for that place.
        """
        name = self.name(kind, (*command, *out))
        placed = (argument.format(self.at(name)) for argument in out)
        self.jobs.setdefault(name, Job(name, (*command, *placed), tuple(dict.fromkeys(needs))))
        return name

    def name(self, kind: str, command: Sequence[str]) -> str:
        """Kind and digest of a command, the same in every work directory. What it needs is named
        in it, with a digest of its own."""
        placed = [argument.replace(str(self.directory), ".") for argument in command]
        return f"{kind}_{hashlib.sha256(json.dumps(placed).encode()).hexdigest()[:10]}"

    def at(self, name: str) -> Path:
        """Where a job leaves what it makes."""
        return self.directory / name

    def data(self, part: str, only: int = 0) -> str:
        """The dataset of a part; `gold` is that of `main` with nothing withheld.

        only: the first clips of its training, told everything, and nothing else; 0: all.
        """
        if only and part == "gold":
            part = "main"
        command = ["data", "build", "synthetic", "--preset=hard", "--overwrite"]
        command.append(f"--part={'main' if part == 'gold' else part}")
        if only or part == "gold":
            command.append("--gold")
        sizes = {"train": only, "validation": 0, "test": 0} if only else {}
        if self.trial:
            sizes = SIZES | {name: min(n, SIZES["train"]) for name, n in sizes.items()}
        command += [f"--{name}={n}" for name, n in sizes.items()]
        return self.add(f"data_{part}{'_slice' * bool(only)}", command, (), "--out={}")

    def evaluate(self, run: str, split: str, part: str, *more: str) -> str:
        """Scores of a run on a split; of `train`, on some clips of a part, told everything.

        Held-out splits are the same in every part.
        """
        data = self.data(part, SLICE) if split == "train" else self.data("main")
        command = ["evaluate", f"--checkpoint={self.at(run)}", f"--data={self.at(data)}"]
        command += [f"--split={split}", *more]
        return self.add(f"{split}_{run.partition('_')[0]}", command, (run, data), "--json={}.json")


class _SystemPlan:
    """The jobs of one recipe and seed.

    Attributes:
      spellings: part -> the spelled words that were found in it; empty: none are looked for.
      orders: part -> the order in which the signing expert sees its pseudo-glosses, where what is
        behind the experts learns them so.
      folds: stream -> the directory of the experts that each leave out some signers.
      fold_runs: the names of all these.
      noise: options of what is behind the experts.
      start: stage -> the run that it starts from.
    """

    def __init__(self, plan: Plan, recipe: Recipe, seed: int):
        self.plan, self.recipe, self.seed = plan, recipe, seed
        self.spellings: dict[str, str] = {}
        self.orders: dict[str, str] = {}
        self.folds: dict[str, str] = {}
        self.fold_runs: list[str] = []
        self.noise: list[str] = []
        self.start: dict[str, str] = {}

    def make(self) -> System | None:
        """Adds all jobs; None where those behind the experts have to wait for these."""
        if self.recipe.start:
            first = self.plan.system(self.recipe.start, self.seed)
            if first is None:
                return None
            self.start = first.trained
        if self.recipe.spellings:
            self._find_spellings()
        trained = {name: self._expert(name) for name in EXPERTS}
        scored = {name: self._score(name, run) for name, run in trained.items()}
        if self.recipe.matched_noise and not self._fit_noise(scored):
            return None
        if self.recipe.ordered:
            parts = untold(self.recipe.parts["fusion"])
            self.orders = {part: self._order(part, trained["signing"]) for part in parts}
        trained["language_model"] = self.start.get("language_model") or self._train(
            "language_model"
        )
        for stage in BEHIND:
            names = EXPERTS if stage == "fusion" else (*EXPERTS, "language_model", _BUILT_ON[stage])
            parents = {name: trained[name] for name in names}
            trained[stage] = self._train(stage, parents | self._starting(stage))
        if self.recipe.end_to_end:
            self._tune_end_to_end(trained, scored)
        for stage in ("fusion", "translation"):
            scored[stage] = self._score(stage, trained[stage])
        return System(trained, scored, self.spellings.get("main", ""))

    def _starting(self, stage: str) -> dict[str, str]:
        return {"init.from": self.start[stage]} if self.start else {}

    def _tune_end_to_end(self, trained: dict[str, str], scored: dict[str, dict[str, str]]) -> None:
        """Experts learn from the translator's sentence loss, and it goes on with them."""
        given, first = self.recipe.end_to_end, trained["translation"]
        for name in (name for name in EXPERTS if name in given):
            trained[name] = self._train(name, {"translation": first}, Run(values=given[name]))
            scored[name] = self._score(name, trained[name])
        parents = {name: trained[name] for name in (*EXPERTS, "language_model")}
        parents["init.from"] = first
        more = Run(values=given["translation"])
        trained["translation"] = self._train("translation", parents, more)

    def _fit_noise(self, scored: Mapping[str, Mapping[str, str]]) -> bool:
        """Fits noise to the errors of the experts that were trained on the clips of fusion.

        Returns: False where they are not known yet.
        """
        for name in EXPERTS:
            if not {*self.recipe.parts["fusion"]} <= {*self.recipe.parts[name]}:
                continue  # it has not seen these clips
            counts = []
            for split in ("train", "validation"):
                path = self.plan.directory / f"{scored[name][split]}.json"
                if not path.exists():
                    return False
                scores = files.read_json(path)["scores"]
                kinds = ("substitutions", "deletions", "insertions", "reference_tokens")
                counts.append(ErrorCounts(*(scores[kind] for kind in kinds)))
            self.noise += fitted_noise(name, *counts).split()
        return True

    def _find_spellings(self) -> None:
        """What an expert of the labelled part reads in the others, and the words found in them."""
        recipe = self.recipe
        run = self._train("fingerspelling", run=recipe.reader._replace(parts=LETTERS))
        learnt = [recipe.parts[stage] for stage in ("fingerspelling", "fusion")]
        learnt += [own.parts for own in recipe.after.get("fingerspelling", ())]
        for part in dict.fromkeys(itertools.chain(*map(untold, learnt))):
            data, out = self.plan.data(part), "--streams={}.jsonl.gz"
            command = ("evaluate", f"--checkpoint={self._at(run)}", f"--data={self._at(data)}")
            read = self.plan.add(f"read_{part}", (*command, "--split=train"), (run, data), out)
            command = ("data", "spellings", self._at(data), f"--streams={self._at(read)}.jsonl.gz")
            name = "spellings" if part == "main" else f"spellings_{part}"
            given = command, (read, data), "--out={}", "--json={}.json"
            self.spellings[part] = self.plan.add(name, *given)

    def _expert(self, name: str) -> str:
        """Adds all runs of an expert, and gives the last one."""
        recipe, start = self.recipe, self._starting(name)
        unseen: dict[str, str] = {}  # where folds start: it may not have seen what they leave out
        if recipe.start and not {*recipe.start.parts[name]} & {*recipe.parts["fusion"]}:
            unseen = start
        runs = [*recipe.before.get(name, ()), Run(), *recipe.after.get(name, ())]
        for i, run in enumerate(runs):
            parts, orders = run.parts or recipe.parts[name], []
            if run.ordered:
                orders = [self._order(part, start["init.from"]) for part in untold(parts)]
                order = {"data.sign_order": ",".join(map(self._at, orders))}
                run = run._replace(values={**run.values, **order})
            if i == len(runs) - 1:
                self._fold(name, unseen, run, orders)
            start = {"init.from": self._train(name, start, run, orders)}
            if not {*parts} & {*recipe.parts["fusion"]}:
                unseen = start
        return start["init.from"]

    def _fold(self, name: str, start: Mapping[str, str], run: Run, orders: list[str]) -> None:
        """Adds the experts that each leave out some signers, if there are any."""
        n = self.recipe.folds.get(name, 0)
        if not n:
            return
        command, needs = self._command(name, start, run)
        command.append("--config.data.fold_by=signer")
        self.folds[name] = self.plan.name(f"folds_{name}", (*command, str(n)))
        for k in range(n):
            fold = f"{self.folds[name]}_{k}"
            place = f"--workdir={self._at(self.folds[name])}/fold{k}"
            own = (*command, f"--config.data.fold={k}/{n}", place)
            self.plan.jobs.setdefault(fold, Job(fold, own, (*needs, *orders)))
            self.fold_runs.append(fold)

    def _order(self, part: str, run: str) -> str:
        """In which order an expert sees the pseudo-glosses of a part."""
        data = self.plan.data(part)
        command = ("data", "order", self._at(data), f"--checkpoint={self._at(run)}")
        return self.plan.add(f"order_{part}", command, (run, data), "--out={}", "--json={}.json")

    def _train(
        self,
        stage: str,
        parents: Mapping[str, str] = MappingProxyType({}),
        run: Run = Run(),  # noqa: B008  it cannot be changed
        needs: Iterable[str] = (),
    ) -> str:
        """Adds a training; see `_command`. `needs`: what it reads besides."""
        command, own = self._command(stage, parents, run)
        return self.plan.add(stage, command, [*own, *needs], "--workdir={}")

    def _command(self, stage: str, parents: Mapping[str, str], run: Run):
        """A training but for its place, and what it needs.

        parents: what it builds on or starts from -> the name of its run.
        """
        recipe, own = self.recipe, {**self.recipe.given.get(stage, {}), **run.values}
        if run.parts:
            own.pop("data.weights", None)
        parts = run.parts or recipe.parts[stage]
        data = [self.plan.data(part) for part in parts]
        needs = [*data, *parents.values()]
        own = {"seed": self.seed, "evaluate_every": 0} | own
        own["data.directory"] = ",".join(map(self._at, data))
        for name, parent in parents.items():
            own[name if "." in name else f"parents.{name}"] = self._at(parent)
        if stage in BEHIND:
            own |= {f"crossfit.{name}": self._at(fold) for name, fold in self.folds.items()}
            needs += self.fold_runs
        found = {}
        if stage not in ("signing", "lipreading"):
            found["data.spellings"] = self.spellings
        if stage not in EXPERTS:
            found["data.sign_order"] = self.orders
        for path, by_part in found.items():
            files_of = [by_part[part] for part in parts if part in by_part]
            if files_of:
                own[path] = ",".join(map(self._at, files_of))
                needs += files_of
        size = f"size={recipe.size[stage]}" if stage in recipe.size else ""
        spec = f"{stage}:{','.join(filter(None, (run.argument, size)))}".removesuffix(":")
        options = [f"--config.{path}={value}" for path, value in own.items()]
        if stage in BEHIND:
            options += self.noise
        # In one order: recipes that come to the same are the same command.
        return ["train", f"--config={spec}", *sorted(options)], needs

    def _score(self, stage: str, run: str) -> dict[str, str]:
        more = []
        if stage == "translation":
            more = ["--variants=all", *(f"--{k}={v}" for k, v in self.recipe.writing.items())]
        part = self.recipe.parts[stage][0]
        return {
            split: self.plan.evaluate(run, split, part, *more) for split in ("train", *HELD_OUT)
        }

    def _at(self, name: str) -> str:
        return str(self.plan.at(name))
