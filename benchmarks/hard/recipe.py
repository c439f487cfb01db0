"""What a recipe is: what each stage gets beside what its config says."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

EXPERTS = ("signing", "fingerspelling", "lipreading")
BEHIND = ("fusion", "alignment", "translation")
WRITERS = ("language_model", "alignment", "translation")
STAGES = (*EXPERTS, "language_model", *BEHIND)


class Run(NamedTuple):
    """What a run of a stage gets beside what the recipe says of the stage. Of several runs of an
    expert in a row each starts from the one before (`init.from`).

    Attributes:
      parts: of the preset, that it is trained on; none: those of the recipe.
      values: path in its config -> value, over those of the recipe.
      ordered: whether pseudo-glosses are in the order in which the run before sees them.
      argument: of its config, beside its size.
    """

    parts: tuple[str, ...] = ()
    values: Mapping[str, object] = MappingProxyType({})
    ordered: bool = False
    argument: str = ""


@dataclass(frozen=True)
class Recipe:
    """What each stage gets.

    Attributes:
      given: stage -> path in its config -> value.
      size: stage -> the argument `size` of its config.
      parts: stage -> the parts of the preset that it is trained on.
      before, after: expert -> its runs before and after the one that the rest of the recipe says.
      folds: expert -> how many experts leave out a part of the signers, whose streams later stages
        train on; they start where the expert has last seen nothing of these clips.
      matched_noise: stages behind the experts lose and replace as many stream tokens more as these
        have more errors on validation than in training.
      spellings: spelled words are looked for with what an expert of the labelled part reads;
        fingerspelling and what is behind it are trained with those that were found.
      reader: the expert of the labelled part that spelled words are looked for with.
      ordered: the decoder and what is behind the experts learn pseudo-glosses and spelled words in
        the order in which the signing expert sees them.
      end_to_end: expert -> path in its config -> value, where it is tuned by the sentence loss of
        the translator that was trained on it; of `translation`, which goes on from that translator
        with the tuned experts.
      writing: option of `signbind evaluate` -> value, of sentences.
      start: every stage starts from that of another recipe (`init.from`) and keeps its decoder.
    """

    given: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    size: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    before: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    after: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)
    matched_noise: bool = False
    spellings: bool = False
    reader: Run = Run()
    ordered: bool = False
    end_to_end: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    writing: Mapping[str, object] = field(default_factory=dict)
    start: "Recipe | None" = None

    def __or__(self, other: "Recipe") -> "Recipe":
        """Both; where they say different things, what `other` says. Runs before and after follow
        each other."""
        stages = dict.fromkeys([*self.given, *other.given])
        given = {s: {**self.given.get(s, {}), **other.given.get(s, {})} for s in stages}
        merged = {
            name: {**getattr(self, name), **getattr(other, name)}
            for name in ("size", "parts", "folds", "end_to_end", "writing")
        }
        before = _in_a_row(self.before, other.before)
        after = _in_a_row(self.after, other.after)
        flags = {
            name: getattr(self, name) or getattr(other, name)
            for name in ("matched_noise", "spellings", "ordered")
        }
        return Recipe(
            given=given,
            before=before,
            after=after,
            reader=self.reader if other.reader == Run() else other.reader,
            start=other.start or self.start,
            **merged,
            **flags,
        )


def _in_a_row(
    first: Mapping[str, tuple[Run, ...]], second: Mapping[str, tuple[Run, ...]]
) -> dict[str, tuple[Run, ...]]:
    """By expert, the runs of both."""
    names = dict.fromkeys([*first, *second])
    return {name: (*first.get(name, ()), *second.get(name, ())) for name in names}


def of_stages(stages: tuple[str, ...], **values: object) -> Recipe:
    """The same values of the configs of some stages; `a__b` is the path `a.b`."""
    paths = {name.replace("__", "."): value for name, value in values.items()}
    return Recipe(given=dict.fromkeys(stages, paths))


def tiny(recipe: Recipe) -> Recipe:
    """The same recipe at a size at which its plumbing can be tried: nothing learns anything."""
    sized = Recipe(size=dict.fromkeys(STAGES, "tiny"))
    short = of_stages(STAGES, steps=3, epochs=0.0)
    rare = {s: {"data.min_count": 2} for s, of in recipe.given.items() if "data.min_count" in of}
    changed = {
        "before": {stage: tuple(map(_tiny, runs)) for stage, runs in recipe.before.items()},
        "after": {stage: tuple(map(_tiny, runs)) for stage, runs in recipe.after.items()},
        "reader": _tiny(recipe.reader),
        "folds": dict.fromkeys(recipe.folds, 2),
        "end_to_end": {stage: {"steps": 3} for stage in recipe.end_to_end},
    }
    return dataclasses.replace(recipe | sized | short | Recipe(given=rare), **changed)


def _tiny(run: Run) -> Run:
    return run._replace(values={**run.values, "steps": 3})
