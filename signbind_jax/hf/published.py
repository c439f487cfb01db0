"""Shapes of open language models, as published: enough to plan for a model before it is there."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.hf.families import decoder_config, read_config
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.overrides import unknown_name

FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Published:
    """An open model.

    Attributes:
      name: what configs call it.
      hub: its hub id.
      parameters: how many the publisher counts; a tied output layer is not counted again.
      decoder: its shape.
    """

    name: str
    hub: str
    parameters: int
    decoder: DecoderConfig


@functools.cache
def models() -> dict[str, Published]:
    """Lists the models of `published.json`, by name."""
    records = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: Published(
            name,
            record["hub"],
            record["parameters"],
            decoder_config(record["config"], f"{FILE.name}: {name}"),
        )
        for name, record in records.items()
    }


def find(name: str) -> DecoderConfig:
    """Finds the shape of a model named as `parents.language_model` names one.

    Raises:
      SignBindError: neither a directory with a config.json nor a name or hub id known here.
    """
    if (Path(name) / "config.json").exists():
        return read_config(Path(name))
    known = {key: model for model in models().values() for key in (model.name, model.hub)}
    hub_id, _, _ = name.partition("@")  # a revision changes weights, not the shape
    if hub_id not in known:
        raise SignBindError(unknown_name("config.parents.language_model", name, known))
    return known[hub_id].decoder
