"""Survey: one pass over a dataset that keeps a row of numbers a clip, in any number of processes.

Arrays are held for one clip a process; what grows with the corpus is that row, about 100 bytes.
"""

import concurrent.futures
import functools
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from signbind_jax.data import labels
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset, DatasetInfo, open_dataset
from signbind_jax.data_pipelines.audit.clip_facts import (
    Tally,
    blank_facts,
    note_arrays,
    note_labels,
)
from signbind_jax.data_pipelines.audit.finding import Ref
from signbind_jax.data_pipelines.processes import WORTH_A_PROCESS, in_processes
from signbind_jax.errors import SignBindError

CLIPS_PER_TASK = 200


@dataclass(frozen=True)
class SplitSurvey:
    """What is known of one split: `facts` (clips,) rows of `clip_facts.facts_type`, and counts."""

    facts: np.ndarray
    tally: Tally

    def __len__(self) -> int:
        return len(self.facts)

    @functools.cached_property
    def seconds(self) -> np.ndarray:
        """Duration of each clip, by its pose, else by its lips, else as its streams say; NaN where
        none does."""
        pose_s, lips_s, given_s = self.pose_seconds, self.lip_seconds, self.facts["given_s"]
        given_s = np.where(given_s > 0, given_s, np.nan)
        return np.where(np.isfinite(pose_s), pose_s, np.where(np.isnan(lips_s), given_s, lips_s))

    @property
    def pose_seconds(self) -> np.ndarray:
        """Duration of each clip's pose; NaN where absent."""
        return _seconds(self.facts["pose_frames"], self.facts["pose_fps"])

    @property
    def lip_seconds(self) -> np.ndarray:
        """Duration of each clip's mouth crops; NaN where absent."""
        return _seconds(self.facts["lip_frames"], self.facts["lip_fps"])


@dataclass(frozen=True)
class Survey:
    """What one pass over a dataset found.

    Attributes:
      info: the dataset.
      splits: those that could be opened.
      closed: split -> why it could not.
      damaged: file -> what is wrong with it.
      labelled: kinds of labels the corpus has.
      sampled: whether arrays were read of some clips only, and files compared by size only.
    """

    info: DatasetInfo
    splits: dict[str, SplitSurvey]
    closed: dict[str, str]
    damaged: dict[str, str]
    labelled: frozenset[str]
    sampled: bool

    @property
    def n_clips(self) -> int:
        """Clips in the splits that could be opened."""
        return sum(map(len, self.splits.values()))

    @property
    def n_read(self) -> int:
        """Clips whose arrays were asked for, the unreadable ones included."""
        return sum(
            int((s.facts["read"] | s.facts["unreadable"]).sum()) for s in self.splits.values()
        )

    def labels_of(self, refs: Iterable[Ref]) -> Iterator[tuple[Ref, Clip]]:
        """The clips of `refs` without their arrays, one after the other."""
        wanted: dict[str, set[int]] = {}
        for split, i in refs:
            wanted.setdefault(split, set()).add(i)
        for split, places in wanted.items():
            for i, clip in enumerate(ClipDataset(self.info, split).read_labels()):
                if i in places:
                    yield (split, i), clip


@dataclass(frozen=True)
class _Task:
    """A run of clips of one split: their labels, and which of them are read."""

    directory: Path
    split: str
    start: int
    clips: tuple[Clip, ...]
    read: tuple[bool, ...]
    labelled: frozenset[str]


def survey(
    info: DatasetInfo, n_clips: int | None = None, workers: int = 1, progress: bool = True
) -> Survey:
    """Looks at every clip's labels and at the arrays of `n_clips` evenly spaced clips, or of all.

    Raises:
      SignBindError: a process died.
    """
    _opened.cache_clear()  # an earlier dataset of this name
    shown = None if progress else True  # disable=None: shown on a terminal only
    sampled = n_clips is not None and n_clips < sum(info.splits.values())
    damaged = _damaged_files(info, sampled, workers, shown)
    opened, closed = _open_splits(info)
    labelled = _labelled(opened, closed)
    places = _evenly({name: len(split) for name, split in opened.items()}, n_clips)
    total = sum(map(len, opened.values()))
    parts: dict[str, list] = {name: [] for name in opened}
    tally = {name: Tally() for name in opened}
    tasks = _tasks(info, opened, closed, places, labelled)
    workers = 1 if total < WORTH_A_PROCESS else workers
    with tqdm(total=total, unit="clip", desc="clips", disable=shown) as bar:
        try:
            for split, facts, counts in in_processes(_look, tasks, workers, bar):
                parts[split].append(facts)
                tally[split].add(counts)
        except BrokenProcessPool as error:
            raise SignBindError(
                "a process that read clips died (out of memory?): give fewer --workers"
            ) from error
    splits = {}
    for name, split in opened.items():
        if name in closed:
            continue
        facts = np.concatenate(parts[name])
        facts["pose_frames"], facts["lip_frames"] = map(split.lengths, ("pose", "lips"))
        splits[name] = SplitSurvey(facts, tally[name])
    return Survey(info, splits, closed, damaged, labelled, sampled)


def _damaged_files(info: DatasetInfo, by_size: bool, workers: int, shown) -> dict[str, str]:
    files = info.description["files"]
    check = info.check_size if by_size else info.check_digest

    def fault(name: str) -> str:
        try:
            check(name)
        except SignBindError as error:
            return str(error)
        except OSError as error:
            return f"{info.directory / name}: cannot be read: {error.strerror or error}"
        return ""

    damaged = {}
    total = sum(file["bytes"] for file in files.values())
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc="files", disable=shown) as bar,
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
    ):
        for name, what in zip(files, pool.map(fault, files), strict=True):
            bar.update(files[name]["bytes"])
            if what:
                damaged[name] = what
    return damaged


def _open_splits(info: DatasetInfo) -> tuple[dict[str, ClipDataset], dict[str, str]]:
    """The splits, even those of which a shard is damaged: its other shards can be read."""
    opened, closed = {}, {}
    for name in info.splits:
        try:
            opened[name] = ClipDataset(info, name)
        except SignBindError as error:
            closed[name] = str(error)
    return opened, closed


def _labelled(opened: dict[str, ClipDataset], closed: dict[str, str]) -> frozenset[str]:
    """As `DatasetInfo.labelled`, of the splits that can be read."""
    found: frozenset[str] = frozenset()
    for name, split in opened.items():
        try:
            found |= labels.labelled(split.read_labels())
        except SignBindError as error:
            closed[name] = str(error)
    return found


def _evenly(sizes: dict[str, int], n_clips: int | None) -> dict[str, np.ndarray]:
    """split -> bool (clips,): `n_clips` places spread over all splits, or every place."""
    total = sum(sizes.values())
    chosen = np.ones(total, bool)
    if n_clips is not None and n_clips < total:
        chosen[:] = False
        chosen[np.linspace(0, total - 1, n_clips).round().astype(int)] = True
    ends = np.cumsum(list(sizes.values()))
    return dict(zip(sizes, np.split(chosen, ends[:-1]), strict=True)) if sizes else {}


def _tasks(info, opened, closed, places, labelled) -> Iterator[_Task]:
    for name, split in opened.items():
        if name in closed:
            continue
        try:
            clips = split.read_labels()
            known = labelled - info.withheld(name)
            for start in range(0, len(split), CLIPS_PER_TASK):
                run = tuple(islice(clips, CLIPS_PER_TASK))
                read = tuple(places[name][start : start + len(run)].tolist())
                yield _Task(info.directory, name, start, run, read, known)
        except SignBindError as error:  # the index is damaged further on
            closed[name] = str(error)


@functools.lru_cache(maxsize=4)
def _opened(directory: Path, split: str) -> ClipDataset:
    return ClipDataset(open_dataset(directory), split)


def _look(task: _Task, tick) -> tuple[str, np.ndarray, Tally]:
    facts, tally = blank_facts(len(task.clips)), Tally()
    for j, (clip, read) in enumerate(zip(task.clips, task.read, strict=True)):
        note_labels(clip, task.labelled, facts[j], tally)
        if read:
            i = task.start + j
            try:
                note_arrays(_opened(task.directory, task.split)[i], facts[j], tally)
            except SignBindError as error:
                facts[j]["unreadable"] = True
                tally.unreadable[i] = str(error)
        tick()
    return task.split, facts, tally


def _seconds(frames: np.ndarray, fps: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((frames > 0) & (fps > 0), frames / fps, np.nan)
