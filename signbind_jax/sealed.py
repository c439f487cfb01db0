"""JSON objects that carry a digest of themselves, so that a changed one is noticed when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signbind_jax import files
from signbind_jax.errors import SignBindError

_KEY = "digest"


def digest(value: Any) -> str:
    """SHA-256 of a JSON-ready value, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-ready record with its digest in front."""
    record = json.loads(json.dumps(record))  # keys as they will be read: text
    return {_KEY: digest(record), **record}


def unseal(record: Any, where: str) -> dict[str, Any]:
    """What was sealed; `where` names the file in errors.

    Raises:
      SignBindError: no object, no digest, or not that of the rest.
    """
    wanted = files.field(record, _KEY, str, where)
    content = {key: value for key, value in record.items() if key != _KEY}
    found = digest(content)
    if found != wanted:
        raise SignBindError(
            f"{where}: digest: found {found[:16]}, wanted {wanted[:16]}; the file was changed "
            "after it was written"
        )
    return content


def write(path: Path | str, record: Mapping[str, Any]) -> None:
    """As `files.write_json`, sealed."""
    files.write_json(path, seal(record))


def read(path: Path | str, unsealed: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The record that `write` wrote.

    Args:
      unsealed: the keys of such a record before there were digests: one that holds no other key
        is taken as it stands.

    Raises:
      SignBindError: nothing there, no JSON, or not what was written.
    """
    record = files.read_json(path)
    if isinstance(record, dict) and record and record.keys() <= unsealed:
        return record
    return unseal(record, str(path))
