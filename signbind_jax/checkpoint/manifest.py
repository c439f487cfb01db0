"""Manifest: what a checkpoint is, so that the wrong one is noticed before it is used."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from signbind_jax import files, sealed
from signbind_jax.errors import SignBindError

FORMAT = 2
_READABLE = (1, FORMAT)  # 1 had neither `files` nor `versions`
# What a run directory's artefact.json and every step of its checkpoints say alike.
IDENTITY = (
    "stage",
    "config_digest",
    "vocabularies",
    "dimensions",
    "keypoint_layout",
    "parents",
    "files",
)


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
      extra: anything else that is JSON; `CheckpointDir.save` adds its step. Of stages that read
        streams of clips `longest_s`, seconds of the longest clip trained on; of experts `fps`,
        frames a second of what it was trained on.
      files: name -> SHA-256 of what the artefact consists of beside its arrays, such as a
        tokenizer; empty in manifests of before they were kept.
      versions: package -> its versions while the run was trained, the newest last; empty in
        manifests of before they were kept.
    """

    stage: str
    config_digest: str
    vocabularies: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, Any] = field(default_factory=dict)
    keypoint_layout: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, list[str]] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """The fields of `IDENTITY`, JSON-ready."""
        return {name: getattr(self, name) for name in IDENTITY}


def artefact_digest(manifest: Manifest) -> str:
    """Computes the SHA-256 of a manifest: what a child stage stores under `parents`.

    It says which weights these are, whatever versions of packages made them.
    """
    content = asdict(manifest)
    del content["versions"]
    if not content["files"]:  # of before they were kept: its children know it by this digest
        del content["files"]
    return sealed.digest(content)


def check_same(manifest: Manifest, wanted: Mapping[str, Any], where: str, advice: str) -> None:
    """Compares a checkpoint's manifest with what a run directory or a run's start says it is.

    Args:
      wanted: see `Manifest.identity`; a field that is not in it is not compared, nor are files
        where the manifest is of before they were kept.

    Raises:
      SignBindError: names the first field that differs, and ends in `advice`.
    """
    for name in IDENTITY:
        found, value = getattr(manifest, name), wanted.get(name)
        if name not in wanted or name == "files" and not found:
            continue
        pairs = {name: (found, value)}
        if isinstance(found, Mapping) and isinstance(value, Mapping):
            pairs = {f"{name}.{k}": (found.get(k), value.get(k)) for k in sorted({*found, *value})}
        for what, (here, there) in pairs.items():
            if sealed.canonical_json(here) != sealed.canonical_json(there):
                raise SignBindError(
                    f"{where}: {what}: found {_short(here)}, wanted {_short(there)}; {advice}"
                )


def check_parent(manifest: Manifest, wanted: Mapping[str, Any], where: str) -> None:
    """Checks that a parent artefact is what a stage needs, before anything is compiled.

    `wanted` names fields of Manifest; nested dicts name the entries that matter, as in
    `{"stage": "signing", "vocabularies": {"gloss": digest}}`. Entries not named may differ.

    Raises:
      SignBindError: names the first field that differs, what was found and what was wanted.
    """
    named = {
        field: {name: getattr(manifest, field).get(name) for name in entries}
        for field, entries in wanted.items()
        if isinstance(entries, Mapping)
    }
    advice = "hand this stage a parent that was trained with it, or train that parent again"
    check_same(replace(manifest, **named), wanted, where, advice)


def manifest_to_text(manifest: Manifest) -> str:
    """Writes the content of `manifest.json`; it carries a digest of itself."""
    content = {"format": FORMAT, "manifest": asdict(manifest)}
    return json.dumps(sealed.seal(content), indent=1) + "\n"


def manifest_from_text(text: str | bytes, where: str) -> Manifest:
    """Reads the manifest that `manifest_to_text` wrote; `where` names the file in errors.

    Raises:
      SignBindError: it was written by another version of the format.
      DamagedCheckpoint: it is not what was written.
    """
    try:
        content = sealed.unseal(files.parse_json(text, where), where)
    except SignBindError as error:
        raise DamagedCheckpoint(f"{error}; not a manifest as it was written") from error
    if content.get("format") not in _READABLE:
        raise SignBindError(
            f"{where}: format: found {content.get('format')}, wanted {FORMAT}; use "
            "the version of SignBind-JAX that wrote it"
        )
    record = files.field(content, "manifest", dict, where)
    for f in fields(Manifest):
        if f.default_factory is dict and f.name in record:
            files.field(record, f.name, dict, where)
    try:
        return Manifest(**record)
    except TypeError as error:
        raise SignBindError(f"{where}: not a manifest ({error})") from error


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
