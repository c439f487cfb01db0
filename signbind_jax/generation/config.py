"""How sentences are written: one config, from a run's options or from the command line."""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from signbind_jax.config import from_mapping
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import (
    Checked,
    OneOf,
    Range,
    Seed,
    Share,
    Whole,
    argument,
    hints_of,
)

SAMPLING = ("temperature", "top_k", "top_p")
# Where runs of before `options.generation` have them.
_ONCE_OPTIONS = ("beam_size", "max_new_tokens")


@dataclass(frozen=True)
class GenerationConfig(Checked):
    """How a sentence is chosen among those a language model might write.

    Names, meaning and defaults are those of GenerationConfig in `transformers`, except that
    `beam_size` is its num_beams, a sentence has at most 96 tokens where nothing is said, and
    there is a `seed`.

    Attributes:
      max_new_tokens: the number of tokens after which a sentence ends in any case.
      beam_size: beams a row; 1 is greedy decoding or sampling.
      length_penalty: beams are ranked by the sum of log-probabilities / tokens **
        length_penalty: above 0 favours long sentences, below 0 short ones.
      early_stopping: when the search ends with beam_size sentences finished. False: once no
        running beam is expected to be better at its present length; "never": once none can be
        better at any length; True: at once.
      no_repeat_ngram_size: so many tokens in a row stand in a sentence once; 0: as often as they
        may. What stands in the prompt does not count.
      do_sample: tokens are drawn instead of the most probable ones taken.
      temperature: of the draw: logits are divided by it.
      top_k: only the k most probable tokens can be drawn; 0: all.
      top_p: of these only the smallest set of most probable tokens whose probability reaches
        top_p; 1: all, 0: the most probable one.
      seed: of the draws, with the clip's place in its split.
    """

    max_new_tokens: Annotated[int, Range(1, 2**16)] = 96
    beam_size: Annotated[int, Range(1, 1000)] = 1
    length_penalty: Annotated[float, Range(-5, 5)] = 1.0
    early_stopping: Annotated[object, OneOf(False, True, "never")] = False
    no_repeat_ngram_size: Whole = 0
    do_sample: bool = False
    temperature: Annotated[float, Range(1e-4, 1e4)] = 1.0
    top_k: Whole = 50
    top_p: Share = 1.0
    seed: Seed = 0

    def conflicts(self):
        if self.do_sample and self.beam_size > 1:
            yield "beam_size", "1 where tokens are drawn (do_sample=True)"
        for name in () if self.do_sample else SAMPLING:
            if getattr(self, name) != DEFAULTS[name]:
                yield name, f"{DEFAULTS[name]}, or do_sample=True: nothing is drawn without"

    def effective(self) -> dict[str, Any]:
        """Lists the settings that decide something beside the others, by name."""
        names = ["beam_size", "max_new_tokens"]
        if self.beam_size > 1:
            names += ["length_penalty", "early_stopping"]
        if self.do_sample:
            names = ["do_sample", *SAMPLING, "seed", "max_new_tokens"]
        if self.no_repeat_ngram_size:
            names.append("no_repeat_ngram_size")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.effective().items())


DEFAULTS = {field.name: field.default for field in dataclasses.fields(GenerationConfig)}


def read_options(cls: type[Checked], options: Mapping[str, Any]):
    """Reads a stage's options from `config.options`, also of a run that has generation's two oldest
    settings beside `generation` instead of in it.

    Raises:
      SignBindError: see `from_mapping`; a setting in both places.
    """
    inside = options.get("generation", {})
    old = {name: value for name, value in options.items() if name in _ONCE_OPTIONS}
    if not old or not isinstance(inside, Mapping):
        return from_mapping(cls, options, "config.options")
    for name in old.keys() & inside.keys():
        raise SignBindError(
            f"config.options.{name}: found {old[name]!r} beside generation.{name}, wanted "
            "the latter alone"
        )
    kept = {name: value for name, value in options.items() if name not in old}
    return from_mapping(cls, kept | {"generation": {**old, **inside}}, "config.options")


_HELP = {
    "max_new_tokens": "longest sentence in the language model's tokens",
    "beam_size": "beams of the search; 1 is greedy",
    "length_penalty": "with beams: above 0 favours long sentences, below 0 short ones",
    "early_stopping": "with beams, when they end: False, True or never",
    "no_repeat_ngram_size": "no run of so many tokens twice in a sentence; 0: they may be",
    "do_sample": "True: draw tokens; implied by the next three",
    "temperature": "of the draw; below 1 draws what is probable more often",
    "top_k": "draw from the k most probable tokens; 0: from all",
    "top_p": "draw from the fewest tokens that are so probable together",
    "seed": "of the draws",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one argument a field of GenerationConfig, read back by `overridden`."""
    group = parser.add_argument_group(
        "how sentences are written", "what is not given here is as the run's config has it"
    )
    for name, hint in hints_of(GenerationConfig).items():
        group.add_argument(f"--{name}", type=argument(hint), metavar="X", help=_HELP[name])


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lists the settings that stand on a command line, by name."""
    values = {name: getattr(arguments, name) for name in DEFAULTS}
    return {name: value for name, value in values.items() if value is not None}


def overridden(own: GenerationConfig, settings: Mapping[str, Any]) -> GenerationConfig:
    """Replaces settings of a run's own config by those of a command line in place of its own.

    temperature, top_k or top_p mean that tokens are drawn.

    Raises:
      SignBindError: a setting out of range, that does not go with the others, or that would
        decide nothing beside them.
    """
    settings = dict(settings)
    if settings.keys() & set(SAMPLING):
        settings.setdefault("do_sample", True)
    base = dataclasses.asdict(own)
    if settings.get("do_sample") is False:
        base |= {name: DEFAULTS[name] for name in SAMPLING}
    config = from_mapping(GenerationConfig, base | settings, "generation")
    always = {"do_sample", "beam_size", "no_repeat_ngram_size"}
    idle = settings.keys() - config.effective().keys() - always
    for name in sorted(idle):
        wanted = "do_sample=True" if name == "seed" else "beam_size above 1"
        raise SignBindError(
            f"generation.{name}: found {settings[name]!r}, which decides nothing without {wanted}"
        )
    return config
