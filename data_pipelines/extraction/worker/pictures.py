"""Directories of pictures in their natural order."""

import re
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm")


def in_order(directory: Path) -> list[Path]:
    """The pictures of a directory, digits counted as numbers: mouth2 before mouth10."""
    paths = [
        path
        for path in Path(directory).iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    return sorted(paths, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list:
    """Sorts names so that the digits in them count as numbers; never equal for two names."""
    parts = re.split(r"(\d+)", name)
    numbers = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return [*numbers, (-1, name)]
