"""What `dataset.json` of a dataset may say: splits, files, counts, a build's report."""

import json
import re

from signbind_jax import files
from signbind_jax.errors import SignBindError

MEND = "copy or build the dataset again"


def index_file(split: str) -> str:
    """The file that holds lengths and labels of a split."""
    return f"index-{split}.npz"


def check_split_name(name: str) -> None:
    """Whether a split may be called so; TFDS keeps "all" for the whole dataset.

    Raises:
      SignBindError: it may not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", name) or name.lower() == "all":
        raise SignBindError(
            f"split: found {name[:60]!r}, wanted a name such as 'train': at most "
            "60 letters, digits, _ and -, and not 'all'"
        )


def check_description(description: dict, where: str) -> None:
    """Checks a description whose digest holds, as that does not say who wrote it.

    Raises:
      SignBindError: a field that cannot be, or names a file elsewhere.
    """
    known = files.field(description, "files", dict, where)
    for name, file in known.items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,200}", name, re.ASCII):
            raise SignBindError(
                f"{where}: files: found {name[:60]!r}, wanted the name of a file beside it"
            )
        files.field(file, "bytes", int, f"{where}: files: {name}")
        digest = files.field(file, "sha256", str, f"{where}: files: {name}")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise SignBindError(
                f"{where}: files: {name}: sha256: found {digest[:70]!r}, wanted "
                f"64 hexadecimal digits: {MEND}"
            )
    splits = files.field(description, "splits", dict, where)
    if not splits:
        raise SignBindError(f"{where}: splits: found none, wanted at least one: {MEND}")
    for name, split in splits.items():
        try:
            check_split_name(name)
        except SignBindError as error:
            raise SignBindError(f"{where}: splits: {error}") from error
        at = f"{where}: splits: {name}"
        shards = _counts(split, "shards", at)
        clips = files.field(split, "clips", int, at)
        if not clips or clips != sum(shards.values()):
            raise SignBindError(
                f"{at}: clips: found {clips}, wanted those of its shards, "
                f"{sum(shards.values())}, and at least 1: {MEND}"
            )
        for file in (*shards, index_file(name)):
            if file not in known:
                raise SignBindError(
                    f"{at}: found {file[:60]!r}, wanted a file that stands in files: {MEND}"
                )
    source = files.field(description, "source", dict, where)
    try:
        json.dumps(source, allow_nan=False)
    except ValueError as error:
        raise SignBindError(f"{where}: source: {error}: {MEND}") from error
    report = files.field(description, "report", dict, where)
    _counts(report, "written", f"{where}: report")
    _counts(report, "repaired", f"{where}: report")
    for ids in files.field(report, "left_out", dict, f"{where}: report").values():
        if type(ids) is not list or not all(type(clip_id) is str for clip_id in ids):
            raise SignBindError(
                f"{where}: report: left_out: found {str(ids)[:60]!r}, wanted a list of ids: {MEND}"
            )
    streams = description.get("streams", [])
    if type(streams) is not list or not all(type(name) is str for name in streams):
        raise SignBindError(
            f"{where}: streams: found {files.shorten(streams)}, wanted a list of names: {MEND}"
        )
    if "published" in description:
        _counts(description, "published", where)


def _counts(record: dict, name: str, where: str) -> dict[str, int]:
    """A field that holds counts by name."""
    counts = files.field(record, name, dict, where)
    for what, n in counts.items():
        if type(n) is not int or not 0 <= n < 2**63:
            raise SignBindError(
                f"{where}: {name}: {what[:60]!r}: found {str(n)[:60]!r}, wanted a count: {MEND}"
            )
    return counts
