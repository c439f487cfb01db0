"""Folds of a training split: the clips that an expert leaves out, so that it reads them unseen."""

import hashlib
import heapq
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Matching

if TYPE_CHECKING:
    from signbind_jax.data.dataset import ClipDataset

ALL = "all"  # of the directory of `signbind crossfit`, the run that leaves out no clip
HELD_OUT = "held_out_clips.txt"  # of a run: the ids of the clips it left out, a line each
RECORDING, SIGNER = "recording", "signer"
GROUPS = (RECORDING, SIGNER)
MOST_FOLDS = 100
_HELD_OUT_BYTES = 2**29


def parse_fold(fold: str) -> tuple[int, int] | None:
    """(k, K) of "k/K"; None where it is no such text."""
    match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", fold, re.ASCII)
    k, n = map(int, match.groups()) if match else (0, 0)
    return (k, n) if 2 <= n <= MOST_FOLDS and k < n else None


Fold = Annotated[
    str,
    Matching(
        lambda fold: not fold or parse_fold(fold),
        f"part k of K as k/K such as 0/5, K from 2 to {MOST_FOLDS} and k below K, or nothing",
    ),
]


def fold_directories(directory: Path) -> dict[int, Path]:
    """The runs of the folds that a directory of `signbind crossfit` holds, by their number."""
    found = {}
    for place in directory.glob("fold*"):
        if match := re.fullmatch(r"fold(\d{1,3})", place.name, re.ASCII):
            found[int(match[1])] = place
    return dict(sorted(found.items()))


def held_out(clips: "ClipDataset", fold: str, by: str) -> np.ndarray:
    """Which clips of a split belong to fold "k/K", bool (clips,).

    Clips of one recording (one signer) stay together. A clip of which the dataset names no
    recording is one by itself. Folds hold about equally many clips: the largest recordings come
    first, each into the fold that has the fewest by then.

    Raises:
      SignBindError: fewer recordings (signers) than folds, or a clip without a signer.
    """
    k, n = parse_fold(fold)
    keys = [_key(clip, by) for clip in clips.labels]
    if not all(keys):
        raise SignBindError(
            f"config.data.fold_by: found 'signer', and {keys.count('')} of {len(keys)} clips of "
            f"split {clips.name} without one, such as {clips.ids[keys.index('')]}; wanted a signer "
            "of each, or 'recording'"
        )
    sizes = Counter(keys)
    if len(sizes) < n:
        raise SignBindError(
            f"config.data.fold: found {n} folds, wanted at most {len(sizes)}: split {clips.name} "
            f"has no more {by}s"
        )
    fold_of, emptiest = {}, [(0, i) for i in range(n)]
    for key in sorted(sizes, key=lambda key: (-sizes[key], hashlib.sha256(key.encode()).digest())):
        held, i = emptiest[0]
        heapq.heapreplace(emptiest, (held + sizes[key], i))
        fold_of[key] = i
    return np.array([fold_of[key] == k for key in keys])


def held_out_ids(workdir: Path) -> frozenset[str]:
    """The ids of the clips that a run left out.

    Raises:
      SignBindError: it left out none.
    """
    path = workdir / HELD_OUT
    if not path.exists():
        raise SignBindError(f"{path}: not found, wanted a fold of `signbind crossfit`")
    return frozenset(files.read_text(path, _HELD_OUT_BYTES).splitlines())


def _key(clip, by: str) -> str:
    # A clip's id and the name of another's recording are never the same key.
    return clip.signer if by == SIGNER else clip.recording or f"clip {clip.id}"
