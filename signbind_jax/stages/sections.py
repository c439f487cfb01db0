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
from signbind_jax.models.segmenter import SegmenterConfig
from signbind_jax.models.token_noise import TokenNoiseConfig
from signbind_jax.ranges import Checked, Rate, fit
from signbind_jax.stages.end_to_end_expert import EndToEndOptions
from signbind_jax.stages.language_model import LanguageModelOptions
from signbind_jax.stages.translation import TranslationOptions

# Sizes that data and parents decide, with stand-ins for the check.
_FROM_DATA = {
    ExpertConfig: {"n_tokens": 2},
    FusionConfig: {"n_ids": (1,), "d_hidden": 1, "n_targets": 2, "unread": ()},
    DecoderConfig: {"vocab_size": 2},
}
_FREE = ("model", "augment", "options")
_OF_LABELS_AND_PARENTS = ("data.spellings", "data.sign_order", "data.streams", "parents")
_BUILT_ON = {"alignment": "fusion", "translation": "alignment"}
_EXPERT = {"model": ExpertConfig, "augment": AugmentConfig}
_END_TO_END = {**_EXPERT, "options": EndToEndOptions}
_BEHIND = {"augment": TokenNoiseConfig, "options": TranslationOptions}
_SECTIONS = {
    "language_model": {"model": DecoderConfig, "options": LanguageModelOptions},
    "fusion": {"model": FusionConfig, "augment": TokenNoiseConfig},
    "alignment": _BEHIND,
    "translation": _BEHIND,
    "segmentation": {"model": SegmenterConfig, "augment": AugmentConfig},
}


def check_sections(config: RunConfig) -> None:
    """Checks names, types and ranges in `model`, `augment`, `options` and what is assumed of
    parents' models.

    Raises:
      SignBindError: an unknown name (with the near miss), a value of the wrong type or out of
        range, or a field that this stage does not read.
    """
    _check_unread(config)
    kinds = _kinds(config)
    if "model" not in kinds:
        fit(config.model.get("dropout", 0.0), Rate, "config.model", "dropout")
    for section, kind in kinds.items():
        values, where = getattr(config, section), f"config.{section}"
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
    value: Any = _SECTIONS.get(stage, _END_TO_END).get(section)
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
    for section, kind in _kinds(config).items():
        given = _FROM_DATA.get(kind, {})
        values = _of_stream(config.stage, kind) | record[section] | given
        fields = dataclasses.asdict(from_mapping(kind, values))
        record[section] = {name: value for name, value in fields.items() if name not in given}
    return record


def _kinds(config: RunConfig) -> dict[str, type[Checked]]:
    """The free sections that a stage reads -> the dataclass of each."""
    expert = _END_TO_END if config.parents["translation"] else _EXPERT
    return _SECTIONS.get(config.stage, expert)


def _of_stream(stage: str, kind: type) -> Mapping[str, Any]:
    """What an expert's model has where its config does not say."""
    return {"frontend": streams.get(stage).frontend} if kind is ExpertConfig else {}


def _why_unread(config: RunConfig) -> dict[str, str]:
    """Fields and sections that not every stage reads -> why this one does not; "" where it does."""
    stage, expert = config.stage, config.stage in streams.names()
    kinds, does_not = _kinds(config), f"{stage} does not read it"
    clips_alone = does_not if stage == streams.SEGMENTATION else ""  # neither labels nor parents
    behind_experts = does_not if clips_alone or expert or stage == "language_model" else ""
    vocabulary = clips_alone
    if stage == "language_model":
        vocabulary = "language_model fits a tokenizer to its text"
    elif expert and streams.get(stage).alphabet:
        vocabulary = f"{stage} reads a fixed alphabet"
    elif stage in _BUILT_ON and not (config.init_from and not config.parents[_BUILT_ON[stage]]):
        vocabulary = f"{stage} has the vocabulary of the fusion it builds on"
    without = {section: does_not for section in _FREE if section not in kinds}
    if expert and "options" in without:
        without["options"] = f"{does_not} without parents.translation"
    return {
        "data.fold": "" if expert else does_not,
        "data.longest_s": "" if expert else does_not,
        "data.sign_order": does_not if expert and streams.get(stage).target != "gloss" else "",
        "parents.translation": "" if expert else does_not,
        **dict.fromkeys(_OF_LABELS_AND_PARENTS if clips_alone else (), clips_alone),
        "crossfit": behind_experts,
        "data.unread_s": behind_experts,
        "data.vocabulary": vocabulary,
        "data.min_count": vocabulary,
        **without,
    }


def _check_unread(config: RunConfig) -> None:
    default = RunConfig(config.stage)
    for path, why in _why_unread(config).items():
        if not why:
            continue
        usual = _values_at(default, path)
        for name, found in _values_at(config, path).items():
            # Alignment and translation take their models from their parents, but for its dropout.
            if name != "model.dropout" and found != usual.get(name, dataclasses.MISSING):
                raise SignBindError(f"config.{name}: found {shorten(found)}, wanted nothing: {why}")


def _values_at(config: RunConfig, path: str) -> dict[str, Any]:
    value: Any = config
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    is_section = isinstance(value, dict)
    return {f"{path}.{name}": x for name, x in value.items()} if is_section else {path: value}
