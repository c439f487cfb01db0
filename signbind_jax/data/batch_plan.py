"""Batch plan: which clips make up step i, a pure function of (seed, epoch, lengths).

Every host computes the same plan, so a run resumes from one integer on any number of hosts.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from signbind_jax.errors import SignBindError

EMPTY_ROW = -1
_MAX_CANDIDATES = 2048  # bucket lengths the search weighs; coarser cells beyond it
_CACHED_EPOCHS = 2  # reading ahead crosses from one epoch into the next
FEW_CLIPS = 32  # so many at most are a request rather than a split, and get batches of their size


@dataclass(frozen=True)
class Step:
    """The clips of one batch, in rows that hold one or several end to end.

    Attributes:
      bucket_length: frames of a row.
      ids: int32 (batch_size, g) indices of clips, -1 behind a row's last.
      starts: int32 (batch_size, g) frame at which each begins.
    """

    bucket_length: int
    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def padded(cls, bucket_length: int, ids_b: np.ndarray) -> "Step":
        """Rows that hold one clip each, or none where its index is -1."""
        ids = np.asarray(ids_b, np.int32)[:, None]
        return cls(bucket_length, ids, np.zeros_like(ids))

    @property
    def batch_size(self) -> int:
        """Rows, empty ones included."""
        return len(self.ids)

    def for_process(self, process_index: int, process_count: int) -> "Step":
        """The equal part of the rows that falls to one of several processes.

        Raises:
          SignBindError: rows that do not divide among the processes.
        """
        rows = own_rows(self.batch_size, process_index, process_count)
        return Step(self.bucket_length, self.ids[rows], self.starts[rows])


def own_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of a batch that fall to one of several processes: equal runs.

    Raises:
      SignBindError: rows that do not divide among the processes.
    """
    if batch_size % process_count:
        raise SignBindError(
            f"batch plan: found batches of {batch_size} rows and {process_count} "
            f"processes, wanted a multiple: set batch_multiple to {process_count} "
            "or a multiple"
        )
    n = batch_size // process_count
    return slice(process_index * n, process_index * n + n)


def choose_buckets(
    lengths: Sequence[int] | np.ndarray, n_buckets: int = 6, multiple: int = 8
) -> tuple[int, ...]:
    """The at most `n_buckets` padded lengths that waste the fewest frames on `lengths`.

    Exact by dynamic programming over the histogram of lengths in cells of `multiple` frames
    (cells grow where there would be more than 2,048). Lengths of 0 are left out.

    Returns:
      Ascending multiples of `multiple`; the last holds the longest clip.
    """
    lengths = checked_lengths(lengths)
    lengths = lengths[lengths > 0]
    if n_buckets < 1 or multiple < 1:
        raise SignBindError(
            f"buckets: found n_buckets={n_buckets}, multiple={multiple}, wanted at least 1 each"
        )
    unit = multiple * -(-int(lengths.max()) // (multiple * _MAX_CANDIDATES))
    cells, counts = np.unique(-(-lengths // unit), return_counts=True)
    ends = cells.astype(np.float64) * unit
    below = np.concatenate([[0.0], np.cumsum(counts)])  # clips shorter than candidate j
    n = len(ends)
    # frames[i, j]: clips of candidates i..j-1 padded to candidate j-1; no use where i >= j.
    frames = np.concatenate([[0.0], ends])[None, :] * (below[None, :] - below[:, None])
    frames[np.tril_indices(n + 1)] = np.inf
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    choices = []
    for _ in range(min(n_buckets, n)):
        total = best[:, None] + frames
        choices.append(np.argmin(total, axis=0))
        best = np.min(total, axis=0)
    # min(n_buckets, n) buckets are never worse than fewer, so trace exactly that many back.
    buckets, j = [], n
    for choice in reversed(choices):
        buckets.append(int(ends[j - 1]))
        j = int(choice[j])
    return tuple(reversed(buckets))


def standard_buckets(longest: int) -> tuple[int, ...]:
    """16, 24, 32, 48, 64, ... up to the first that holds `longest`: two an octave.

    For reading and writing, where padding costs little and every new shape has to be
    compiled: splits of different lengths then share their programs.
    """
    buckets = [16]
    while buckets[-1] < longest:
        last = buckets[-1]
        buckets.append(last * 3 // 2 if last & (last - 1) == 0 else last * 4 // 3)
    return tuple(buckets)


class EpochCache:
    """What was last computed for an epoch, shared by the loader's threads."""

    def __init__(self):
        self._made: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()

    def get(self, epoch: int, make: Callable[[], Any]) -> Any:
        """`make()`, computed once while the epoch is among the newest."""
        with self._lock:
            if epoch not in self._made:
                while len(self._made) >= _CACHED_EPOCHS:
                    del self._made[min(self._made)]
                self._made[epoch] = make()
            return self._made[epoch]


class BatchPlan:
    """Endless shuffled epochs of length-bucketed batches with about constant frames.

    The rows of a bucket are `frames_per_batch // bucket`, rounded down to `batch_multiple`
    (at least one multiple), and no more than the clips of an epoch fill. What does not fill a
    batch of its bucket moves to the next longer one, so that only the last batch of the longest
    bucket in use has empty rows. A clip of length 0 (absent modality, left out by the caller)
    is never drawn; every other clip is drawn exactly once an epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        buckets: Sequence[int],
        frames_per_batch: int,
        batch_multiple: int = 1,
        seed: int = 0,
    ):
        self.lengths = checked_lengths(lengths)
        self.buckets = tuple(int(b) for b in buckets)
        sizes = batch_sizes(self.buckets, frames_per_batch, batch_multiple)
        self.frames_per_batch, self.batch_multiple = int(frames_per_batch), int(batch_multiple)
        self.seed = int(seed)
        self._bucket_of_clip = _bucket_of(self.lengths, self.buckets)
        self._clips = np.flatnonzero(self.lengths > 0).astype(np.int32)
        self.batch_sizes = tuple(
            cap_batch_size(size, self.n_clips, batch_multiple) for size in sizes
        )
        self._bucket_of_step, self._start_of_step = self._layout()
        self._epochs = EpochCache()

    @property
    def n_clips(self) -> int:
        """Clips drawn an epoch."""
        return int(self.clips_per_bucket().sum())

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the same in every epoch."""
        return len(self._bucket_of_step)

    @property
    def n_steps(self) -> None:
        """Endless."""
        return None

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(bucket length, rows) of every shape that occurs, for compiling ahead of time."""
        used = np.unique(self._bucket_of_step)
        return tuple((self.buckets[i], self.batch_sizes[i]) for i in used)

    @cached_property
    def real_frames(self) -> float:
        """Frames of the clips an epoch draws, on average."""
        return float(self.lengths.sum())

    @cached_property
    def fill(self) -> float:
        """Real frames over all frames of an epoch, padding and empty rows included."""
        padded = sum(self.buckets[i] * self.batch_sizes[i] for i in self._bucket_of_step)
        return float(self.real_frames / padded)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides the plan; hosts that differ here must not train."""
        numbers = (*self.buckets, self.frames_per_batch, self.batch_multiple, self.seed)
        digest = hashlib.sha256(f"batch plan 2 {numbers}".encode())
        digest.update(self.lengths.astype("<i4").tobytes())
        return digest.hexdigest()

    def step(self, i: int) -> Step:
        """The clips of global step i >= 0, counted over endless epochs."""
        if i < 0:
            raise IndexError(f"step {i} of a batch plan")
        epoch, j = divmod(int(i), self.steps_per_epoch)
        clips, order = self._epoch(epoch)
        j = order[j]
        bucket, start = self._bucket_of_step[j], self._start_of_step[j]
        return _step(clips[start:], self.buckets[bucket], self.batch_sizes[bucket])

    def _layout(self) -> tuple[np.ndarray, np.ndarray]:
        """Bucket and first clip of each batch, before batches are shuffled."""
        counts = self.clips_per_bucket()
        last = int(np.flatnonzero(counts)[-1])
        buckets, starts, done, waiting = [], [], 0, 0
        for bucket in range(last + 1):
            size = self.batch_sizes[bucket]
            waiting += int(counts[bucket])
            n = -(-waiting // size) if bucket == last else waiting // size
            buckets.append(np.full(n, bucket))
            starts.append(done + size * np.arange(n))
            done, waiting = done + n * size, waiting - n * size
        return np.concatenate(buckets), np.concatenate(starts)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Clips by bucket, shuffled within it, and the order in which the batches are drawn."""

        def make():
            steps = np.arange(self.steps_per_epoch)
            order = np.argsort(hash64(steps, self.seed, 2 * epoch + 1), kind="stable")
            return self.shuffled(epoch), order

        return self._epochs.get(epoch, make)

    def clips_per_bucket(self) -> np.ndarray:
        """How many clips an epoch draws, by bucket; the same in every epoch."""
        return np.bincount(self._bucket_of_clip[self._clips], minlength=len(self.buckets))

    def shuffled(self, epoch: int) -> np.ndarray:
        """The clips an epoch draws: bucket after bucket, shuffled within each."""
        # The bucket in the upper bits and chance below: one sort does both.
        key = hash64(self._clips, self.seed, 2 * epoch) >> np.uint64(16)
        key |= self._bucket_of_clip[self._clips].astype(np.uint64) << np.uint64(48)
        return self._clips[np.argsort(key, kind="stable")]


class EvaluationPlan:
    """Every clip once, longest first, so that only the last batch has empty rows.

    Longest first also means that a batch which does not fit the memory fails at once.
    """

    def __init__(self, steps: list[Step]):
        self._steps = steps

    @property
    def n_steps(self) -> int:
        """How many batches hold all clips."""
        return len(self._steps)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(bucket length, rows) of every shape that occurs."""
        return tuple(sorted({(s.bucket_length, s.batch_size) for s in self._steps}))

    def step(self, i: int) -> Step:
        """The clips of batch i, 0 <= i < n_steps."""
        if not 0 <= i < len(self._steps):
            raise IndexError(f"step {i} of an evaluation plan of {len(self._steps)} steps")
        return self._steps[i]


def evaluation_plan(
    lengths: Sequence[int] | np.ndarray,
    buckets: Sequence[int],
    frames_per_batch: int,
    batch_multiple: int = 1,
) -> EvaluationPlan:
    """The plan that visits every clip of nonzero length once, in order of length.

    A batch of a split has as many rows as `frames_per_batch` hold, however few clips are left: one
    program a bucket. Of up to `FEW_CLIPS` lengths, batches have the rows that they take, see
    `rows_of_few`.
    """
    lengths = checked_lengths(lengths)
    buckets = tuple(int(b) for b in buckets)
    sizes = batch_sizes(buckets, frames_per_batch, batch_multiple)
    bucket_of_clip = _bucket_of(lengths, buckets)
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    order = order[lengths[order] > 0]
    steps, start, few = [], 0, len(lengths) <= FEW_CLIPS
    while start < len(order):
        bucket = bucket_of_clip[order[start]]
        left, size = len(order) - start, sizes[bucket]
        size = rows_of_few(left, size, batch_multiple) if few else size
        steps.append(_step(order[start:], buckets[bucket], size))
        start += size
    return EvaluationPlan(steps)


def rows_of_few(n: int, batch_size: int, multiple: int = 1) -> int:
    """The rows of a batch for `n` clips or filled rows: the next power of two times `multiple`, at
    most `batch_size`. An empty row costs what a full one does, each number of rows a program."""
    return min(batch_size, next_power_of_two(-(-n // multiple)) * multiple)


def next_power_of_two(n: int) -> int:
    """The least power of two that is at least n > 0."""
    return 1 << (n - 1).bit_length()


def _step(clips: np.ndarray, bucket_length: int, batch_size: int) -> Step:
    ids = np.full(batch_size, EMPTY_ROW, np.int32)
    taken = clips[:batch_size]
    ids[: len(taken)] = taken
    return Step.padded(bucket_length, ids)


def hash64(x: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """One uint64 for each integer of x: the SplitMix64 finaliser (Steele et al., 2014).

    Unlike numpy's generators its values are the same in every version, so a checkpoint
    outlives an upgrade.
    """

    def mix(z):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    golden = np.uint64(0x9E3779B97F4A7C15)
    start = np.zeros(1, np.uint64)
    for part in (seed % 2**64, stream % 2**64):
        start = mix(start + golden + np.uint64(part))
    return mix(start + golden * (x.astype(np.uint64) + np.uint64(1)))


def checked_lengths(lengths) -> np.ndarray:
    """Lengths of clips as int64.

    Raises:
      SignBindError: none above 0, or one below.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if lengths.ndim != 1 or not (lengths > 0).any() or (lengths < 0).any():
        raise SignBindError(
            f"batch plan: lengths: found {lengths.size} clips, {int((lengths > 0).sum())} of them "
            f"with frames, {int((lengths < 0).sum())} negative; wanted at least one with frames"
        )
    return lengths


def batch_sizes(buckets: tuple[int, ...], frames: int, multiple: int) -> tuple[int, ...]:
    """Rows of a batch of each bucket: as many as `frames` hold, in multiples of `multiple`, and at
    least so many."""
    if not buckets or buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
        raise SignBindError(f"batch plan: buckets: found {buckets}, wanted ascending lengths > 0")
    if frames < 1 or multiple < 1:
        raise SignBindError(
            f"batch plan: found frames_per_batch={frames}, batch_multiple={multiple}, "
            "wanted at least 1 each"
        )
    return tuple(max(frames // bucket // multiple, 1) * multiple for bucket in buckets)


def cap_batch_size(batch_size: int, n: int, multiple: int) -> int:
    """A batch's rows, but no more than `n` clips or filled rows take, rounded up to `multiple`."""
    return min(batch_size, -(-n // multiple) * multiple)


def _bucket_of(lengths: np.ndarray, buckets: tuple[int, ...]) -> np.ndarray:
    too_long = np.flatnonzero(lengths > buckets[-1])
    if too_long.size:
        clip = int(too_long[0])
        raise SignBindError(
            f"batch plan: clip {clip} has {lengths[clip]} frames, wanted at most {buckets[-1]} "
            f"({too_long.size} clips are too long): add a longer bucket or leave them out"
        )
    return np.searchsorted(np.asarray(buckets), lengths)
