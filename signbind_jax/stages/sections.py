"""Which fields the free sections of a config have, stage by stage.

A stage makes its model from `model`, `augment` and `options` once its data is open. What is wrong
in them has to be told before: nothing is written then, and no point of a sweep has started.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from signbind_jax import streams
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.preprocess import AugmentConfig
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.generation.config import read_options
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.token_noise import TokenNoiseConfig
from signbind_jax.ranges import Rate, fit
from signbind_jax.stages.language_model import LanguageModelOptions
from signbind_jax.stages.translation import TranslationOptions

# Sizes that data and parents decide, with stand-ins for the check.
_FROM_DATA = {
    ExpertConfig: {"n_tokens": 2},
    FusionConfig: {"n_ids": (1,), "d_hidden": 1, "n_targets": 2, "unread": ()},
    DecoderConfig: {"vocab_size": 2},
}
_BUILT_ON = {"alignment": "fusion", "translation": "alignment"}
_EXPERT = {"model": ExpertConfig, "augment": AugmentConfig}
_BEHIND = {"augment": TokenNoiseConfig, "options": TranslationOptions}
_SECTIONS = {
    "language_model": {"model": DecoderConfig, "options": LanguageModelOptions},
    "fusion": {"model": FusionConfig, "augment": TokenNoiseConfig},
    "alignment": _BEHIND,
    "translation": _BEHIND,
}


def check_sections(config: RunConfig) -> None:
    """Checks names, types and ranges in `model`, `augment`, `options` and what is assumed of
    parents' models.

    Raises:
      SignBindError: an unknown name (with the near miss), a value of the wrong type or out of
        range, or a field that this stage does not read.
    """
    _check_streams(config)
    _check_vocabulary(config)
    kinds = _SECTIONS.get(config.stage, _EXPERT)
    for section in ("model", "augment", "options"):
        values, where = getattr(config, section), f"config.{section}"
        kind = kinds.get(section)
        if kind is None:
            _check_unread(config, section, values)
            continue
        given = _FROM_DATA.get(kind, {})
        for name in given.keys() & values.keys():
            raise SignBindError(
                f"{where}.{name}: found {shorten(values[name])}, wanted nothing: "
                "data and parents decide it"
            )
        if section == "options":
            read_options(kind, values)
        else:
            from_mapping(kind, _of_stream(config.stage, kind) | values | given, where)
    for name, kind in (("fusion", FusionConfig), ("decoder", DecoderConfig)):
        if values := getattr(config.assumed, name):
            from_mapping(kind, values | _FROM_DATA[kind], f"config.assumed.{name}")


def default_of(stage: str, names: Sequence[str]) -> Any:
    """What a stage has at a path such as ("augment", "drop"); None where it has no such field."""
    section, *path = names
    value: Any = _SECTIONS.get(stage, _EXPERT).get(section)
    for name in path:
        if isinstance(value, type):
            value = {f.name: f for f in dataclasses.fields(value)}.get(name)
            if value is not None:
                has_factory = value.default_factory is not dataclasses.MISSING
                value = value.default_factory() if has_factory else value.default
        elif isinstance(value, dict):
            value = value.get(name)
        else:
            value = getattr(value, name, None)
    return None if value is dataclasses.MISSING else value


def resolved(config: RunConfig) -> dict:
    """`RunConfig.to_json` with every field that the stage reads, defaults included.

    Raises:
      SignBindError: see `check_sections`.
    """
    check_sections(config)
    record = config.to_json()
    for section, kind in _SECTIONS.get(config.stage, _EXPERT).items():
        given = _FROM_DATA.get(kind, {})
        values = _of_stream(config.stage, kind) | record[section] | given
        fields = dataclasses.asdict(from_mapping(kind, values))
        record[section] = {name: value for name, value in fields.items() if name not in given}
    return record


def _of_stream(stage: str, kind: type) -> Mapping[str, Any]:
    """What an expert's model has where its config does not say."""
    return {"frontend": streams.get(stage).frontend} if kind is ExpertConfig else {}


def _check_streams(config: RunConfig) -> None:
    """Experts alone leave out a fold; how streams are read is for the stages behind them to say."""
    expert = config.stage in streams.names()
    found: dict[str, Any] = {"data.fold": "" if expert else config.data.fold}
    if expert or config.stage == "language_model":
        found |= {f"crossfit.{name}": value for name, value in config.crossfit.items()}
        found["data.unread_s"] = config.data.unread_s
    for name, value in found.items():
        if value:
            raise SignBindError(
                f"config.{name}: found {shorten(value)}, wanted nothing: {config.stage} does not "
                "read it"
            )


def _check_vocabulary(config: RunConfig) -> None:
    if config.stage == "language_model":
        why = "language_model fits a tokenizer to its text"
    elif config.stage in _BUILT_ON:
        if config.init_from and not config.parents[_BUILT_ON[config.stage]]:
            return
        why = f"{config.stage} has the vocabulary of the fusion it builds on"
    elif config.stage != "fusion" and streams.get(config.stage).alphabet:
        why = f"{config.stage} reads a fixed alphabet"
    else:
        return
    for name, default in (("vocabulary", ""), ("min_count", 1)):
        if (found := getattr(config.data, name)) != default:
            raise SignBindError(
                f"config.data.{name}: found {shorten(found)}, wanted nothing: {why}"
            )


def _check_unread(config: RunConfig, section: str, values: dict) -> None:
    # Alignment and translation take their models from their parents, but for its dropout.
    read = {"dropout"} if section == "model" else set()
    for name in values.keys() - read:
        raise SignBindError(
            f"config.{section}.{name}: found {shorten(values[name])}, wanted "
            f"nothing: {config.stage} does not read it"
        )
    fit(values.get("dropout", 0.0), Rate, f"config.{section}", "dropout")
