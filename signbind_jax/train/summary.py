"""`summary.json` of a run directory: how its training ended."""

import logging
from pathlib import Path
from typing import Any

from signbind_jax import files, sealed
from signbind_jax.errors import SignBindError

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
# What it held when it carried no digest.
_FIELDS = {"step": int, "seconds": float, "finished": bool, "scores": dict}


def read_summary(workdir: Path, config_digest: str = "") -> dict[str, Any]:
    """Step, wall seconds, scores, and whether the run finished.

    config_digest: of the config it has to be of; empty: any.

    Raises:
      SignBindError: no such file, not as it was written, or another run's.
    """
    path = workdir / SUMMARY
    record = sealed.read(path, frozenset(_FIELDS))
    for name, kind in _FIELDS.items():
        files.field(record, name, kind, str(path))
    found = record.get("config_digest", config_digest)
    if config_digest and found != config_digest:
        raise SignBindError(
            f"{path}: config_digest: found {str(found)[:12]}, wanted "
            f"{config_digest[:12]}: it is of another run"
        )
    return record


def summary_or_none(workdir: Path, told: str, config_digest: str = "") -> dict[str, Any] | None:
    """As `read_summary`; None where there is none, or, after a warning, a damaged one.

    told: what the warning says comes of it.
    """
    if not (workdir / SUMMARY).exists():
        return None
    try:
        return read_summary(workdir, config_digest)
    except SignBindError as error:
        logger.warning("%s: %s", error, told)
        return None


def write_summary(workdir: Path, summary: dict[str, Any]) -> None:
    """Writes what `read_summary` reads, and "config_digest"."""
    sealed.write(workdir / SUMMARY, summary)
