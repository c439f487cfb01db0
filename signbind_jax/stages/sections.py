"""Which fields the free sections of a config have, stage by stage.

A stage checks `model`, `augment` and `options` itself once its data is open. What runs many
stages one after the other, such as a sweep, has to know before the first of them starts.
"""

from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.preprocess import AugmentConfig
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.stages.language_model import LanguageModelOptions
from signbind_jax.stages.translation import TranslationOptions
from signbind_jax.token_noise import TokenNoiseConfig

# Sizes that data and parents decide, with stand-ins for the check.
_FROM_DATA = {
    ExpertConfig: {"n_tokens": 2},
    FusionConfig: {"n_ids": (1, 1, 1), "d_hidden": 1, "n_targets": 2},
    DecoderConfig: {"vocab_size": 2},
}
_EXPERT = {"model": ExpertConfig, "augment": AugmentConfig}
_BEHIND = {"augment": TokenNoiseConfig, "options": TranslationOptions}
SECTIONS = {
    "signing": _EXPERT,
    "fingerspelling": _EXPERT,
    "lipreading": _EXPERT,
    "language_model": {"model": DecoderConfig, "options": LanguageModelOptions},
    "fusion": {"model": FusionConfig, "augment": TokenNoiseConfig},
    "alignment": _BEHIND,
    "translation": _BEHIND,
}


def check_sections(config: RunConfig) -> None:
    """Checks names, types and ranges in `model`, `augment` and `options`.

    Raises:
      SignBindError: an unknown name (with the near miss), a value of the wrong type or out of
        range, or a field that this stage does not read.
    """
    for section in ("model", "augment", "options"):
        values, where = getattr(config, section), f"config.{section}"
        kind = SECTIONS[config.stage].get(section)
        if kind is None:
            _check_unread(config, section, values)
            continue
        given = _FROM_DATA.get(kind, {})
        for name in given.keys() & values.keys():
            raise SignBindError(f"{where}.{name}: found {values[name]!r}, wanted nothing: data "
                                "and parents decide it")  # fmt: skip
        from_mapping(kind, values | given, where)


def _check_unread(config: RunConfig, section: str, values: dict) -> None:
    # Alignment and translation take their models from their parents, but for its dropout.
    read = {"dropout"} if section == "model" else set()
    for name in values.keys() - read:
        raise SignBindError(f"config.{section}.{name}: found {values[name]!r}, wanted nothing: "
                            f"{config.stage} does not read it")  # fmt: skip
    if not isinstance(values.get("dropout", 0.0), int | float):
        raise SignBindError(f"config.{section}.dropout: found {values['dropout']!r}, wanted float")
