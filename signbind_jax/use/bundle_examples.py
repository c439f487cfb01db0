"""Recordings that come with a bundle, so that there is something to translate at first."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from signbind_jax import files
from signbind_jax.errors import SignBindError, printable

DIRECTORY = "examples"
MOST = 100
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_COLUMNS = ("pose", "video")


class Example(NamedTuple):
    """A recording of a bundle: its file's name, where it lies, and what is signed in it."""

    name: str
    path: Path
    text: str


def copy_examples(corpus: Path, directory: Path) -> list[dict[str, str]]:
    """Copies the recordings of a folder corpus into a bundle.

    Args:
      corpus: its rows name a `.pose` or `.npz` file or a video each.
      directory: of the bundle.

    Returns:
      What the bundle's manifest says of them: name and text of each.

    Raises:
      SignBindError: no folder corpus; a row that names something else; too many rows.
    """
    from signbind_jax.data_pipelines import folder
    from signbind_jax.data_pipelines.readers.clip_file import LANDMARKS, VIDEOS

    rows = [row for split in folder.open_corpus(corpus).splits.values() for row in split]
    if len(rows) > MOST:
        raise SignBindError(f"{corpus}: found {len(rows)} clips, wanted at most {MOST} examples")
    (directory / DIRECTORY).mkdir()
    found = []
    for row in rows:
        where = f"{corpus / folder.MANIFEST}:{row.line}"
        paths = [path for column, path in row.paths.items() if column in _COLUMNS]
        if len(paths) != 1 or len(row.paths) != 1:
            raise SignBindError(
                f"{where}: found {', '.join(row.paths)}, wanted a pose or a video alone: an "
                "example is one file"
            )
        suffix = paths[0].suffix.lower()
        name = row.id + suffix
        if suffix not in (*LANDMARKS, *VIDEOS) or not _NAME.fullmatch(name):
            raise SignBindError(
                f"{where}: example: found {files.shorten(name)}, wanted a name of letters, digits, "
                f". _ - that ends as a video, {' or '.join(LANDMARKS)}"
            )
        shutil.copyfile(paths[0], directory / DIRECTORY / name)
        found.append({"name": name, "text": row.cells["text"]})
    return found


def read_examples(record: Mapping[str, Any], directory: Path, where: str) -> list[Example]:
    """The examples that the manifest of a bundle tells of, in its order.

    Raises:
      SignBindError: it tells of them in another way than `copy_examples`.
    """
    where, found = f"{where}: examples", []
    for row in files.field(record, "examples", list, where) if "examples" in record else []:
        name, text = (files.field(row, key, str, where) for key in ("name", "text"))
        if f"{DIRECTORY}/{name}" not in record["files"]:
            raise SignBindError(
                f"{where}: found {files.shorten(name)}, wanted a file of the bundle"
            )
        found.append(Example(name, directory / DIRECTORY / name, printable(text)))
    return found
