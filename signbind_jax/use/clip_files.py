"""Clip files named in Python, read as exactly one clip each."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError

logger = logging.getLogger(__name__)

ClipSource = str | os.PathLike[str] | Clip


def one_clip_each(sources: Sequence[ClipSource], lip_size: int | None, **how: Any) -> list[Clip]:
    """The clips of files, in the order given; what is a clip already stays as it is.

    Args:
      lip_size: side of the mouth crops in pixels; None: crops are not read.
      how: see `clip_inputs.read_paths`.

    Raises:
      SignBindError: the first file that cannot be read, or that holds no or several clips.
    """
    from signbind_jax.data_pipelines.clip_inputs import read_paths

    named = dict.fromkeys(Path(x) for x in sources if not isinstance(x, Clip))
    clips: dict[Path, list[Clip]] = {}
    if named:
        read = read_paths(list(map(str, named)), lip_size, **how)
        if read.faults:
            more = len(read.faults) - 1
            raise SignBindError(read.faults[0] + (f"; and {more} more" if more else ""))
        for note in read.notes:
            logger.warning("%s", note)
        for path, clip in zip(read.paths, read.clips, strict=True):
            clips.setdefault(path, []).append(clip)
    for path in named:
        n = sum(len(own) for at, own in clips.items() if path in (at, *at.parents))
        if n != 1 or path not in clips:
            raise SignBindError(f"{path}: found {n} clips, wanted the file of one")
    return [x if isinstance(x, Clip) else clips[Path(x)][0] for x in sources]
