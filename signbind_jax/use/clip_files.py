"""Clip files named in Python, read as exactly one clip each."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError

if TYPE_CHECKING:
    from signbind_jax.data_pipelines.extraction.extract import Workers

logger = logging.getLogger(__name__)

ClipSource = str | os.PathLike[str] | Clip


class Reading(TypedDict, total=False):
    """How files are read; see `clip_inputs.read_paths`.

    Where `workers` are not given, a process a core extracts from videos, and is kept for the next
    ones; `Workers()` ends them with each call.
    """

    crops: bool
    extracted: str | os.PathLike[str] | None
    workers: "Workers | None"


def one_clip_each(
    sources: Sequence[ClipSource], lip_size: int | None, **how: Unpack[Reading]
) -> list[Clip]:
    """The clips of files, in the order given; what is a clip already stays as it is.

    Args:
      lip_size: side of the mouth crops in pixels; None: crops are not read.
      how: see `Reading`.

    Raises:
      SignBindError: the first file that cannot be read, or that holds no or several clips.
    """
    from signbind_jax.data_pipelines.clip_inputs import read_paths
    from signbind_jax.data_pipelines.extraction.extract import Workers
    from signbind_jax.data_pipelines.readers.clip_paths import place_of

    # A file that is named twice, in whatever way, is read once.
    named = {place_of(path): path for x in sources if not isinstance(x, Clip) for path in [Path(x)]}
    clips: dict[Path, list[Clip]] = {place: [] for place in named}
    if named:
        kept = how.pop("extracted", None)
        kept = None if kept is None else Path(kept)
        how["workers"] = how.get("workers") or Workers(keep=True)
        read = read_paths(list(map(str, named.values())), lip_size, extracted=kept, **how)
        if read.faults:
            more = len(read.faults) - 1
            raise SignBindError(read.faults[0] + (f"; and {more} more" if more else ""))
        for note in read.notes:
            logger.warning("%s", note)
        for path, clip in zip(read.paths, read.clips, strict=True):
            clips.setdefault(place_of(path), []).append(clip)
    for place, path in named.items():
        n = sum(len(own) for at, own in clips.items() if place in (at, *at.parents))
        if n != 1 or not clips[place]:
            raise SignBindError(f"{path}: found {n} clips, wanted the file of one")
    return [x if isinstance(x, Clip) else clips[place_of(Path(x))][0] for x in sources]
