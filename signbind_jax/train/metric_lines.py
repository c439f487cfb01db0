"""Lines of `metrics.jsonl`: each carries a checksum of itself, so that a changed one is noticed."""

import json
import zlib
from typing import Any

_KEY = "crc32"


def line_of(record: dict[str, Any]) -> str:
    """A record as one line of JSON, its checksum last."""
    return json.dumps({**record, _KEY: _checksum(record)}) + "\n"


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record of a line, with "step", "kind" and "seconds"; None where it is damaged.

    A line without a checksum, of an earlier version, is taken as it stands.
    """
    try:
        record = json.loads(line)
        found = record.pop(_KEY, None)
        whole = found is None or found == _checksum(record)
        record |= {"step": int(record["step"]), "kind": str(record.get("kind", "train"))}
        record["seconds"] = float(record.get("seconds", 0.0))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return record if whole else None


def _checksum(record: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record).encode()):08x}"
