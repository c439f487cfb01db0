"""Manifest: what a checkpoint is, so that the wrong one is noticed before it is used."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from signbind_jax.errors import SignBindError

FORMAT = 1


class DamagedCheckpoint(SignBindError):
    """A checkpoint that was complete once and can no longer be read as it was written."""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is, so that a stage that is handed the wrong one can say so.

    Attributes:
      stage: the stage that wrote it, such as "signing".
      config_digest: digest of the stage's whole config.
      vocabularies: name -> Vocabulary.digest.
      dimensions: sizes another stage relies on, such as {"d": 256}.
      keypoint_layout: version of the canonical keypoint layout; may be empty.
      parents: name -> artefact digest of the checkpoint it was trained from.
      arrays: path -> "float32[8,4] 0123456789abcdef"; `CheckpointDir.save` fills it in.
      extra: anything else that is JSON.
    """

    stage: str
    config_digest: str
    vocabularies: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, Any] = field(default_factory=dict)
    keypoint_layout: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def artefact_digest(manifest: Manifest) -> str:
    """SHA-256 of a manifest: what a child stage stores under `parents`."""
    return _digest(asdict(manifest))


def check_parent(manifest: Manifest, expected: Mapping[str, Any],
                 where: str = "parent checkpoint") -> None:  # fmt: skip
    """Checks that a parent artefact is what a stage needs, before anything is compiled.

    `expected` names fields of Manifest; nested dicts name the entries that matter, as in
    `{"stage": "signing", "vocabularies": {"gloss": digest}}`. Entries not named may differ.

    Raises:
      SignBindError: names the first field that differs, what was found and what was wanted.
    """
    _check_fields(asdict(manifest), expected, where, "")


def _check_fields(found: Any, expected: Mapping[str, Any], where: str, prefix: str) -> None:
    for name, wanted in expected.items():
        value = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(wanted, Mapping):
            _check_fields(value, wanted, where, f"{prefix}{name}.")
        elif _canonical_json(value) != _canonical_json(wanted):
            raise SignBindError(f"{where}: {prefix}{name}: found {_short(value)}, wanted "
                                f"{_short(wanted)}; hand this stage a parent that was trained "
                                "with it, or train that parent again")  # fmt: skip


def manifest_to_text(manifest: Manifest) -> str:
    """The content of `manifest.json`; it carries a digest of itself."""
    content = {"format": FORMAT, "manifest": asdict(manifest)}
    return json.dumps({"digest": _digest(content), **content}, indent=1) + "\n"


def manifest_from_text(text: str | bytes, where: str) -> Manifest:
    """The manifest that `manifest_to_text` wrote; `where` names the file in errors.

    Raises:
      SignBindError: it was written by another version of the format.
      DamagedCheckpoint: it is not what was written.
    """
    try:
        content = json.loads(text)
        found = content.pop("digest")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{where}: not a manifest ({error})") from error
    if found != _digest(content):
        raise DamagedCheckpoint(f"{where}: digest: found {_digest(content)[:16]}, wanted "
                                f"{_short(found)}; the file was changed")  # fmt: skip
    if content["format"] != FORMAT:
        raise SignBindError(f"{where}: format: found {content['format']}, wanted {FORMAT}; use "
                            "the version of SignBind-JAX that wrote it")  # fmt: skip
    return Manifest(**content["manifest"])


def _digest(body: Any) -> str:
    return hashlib.sha256(_canonical_json(body).encode()).hexdigest()


def _canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
