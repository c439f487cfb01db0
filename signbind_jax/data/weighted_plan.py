"""A batch plan in which some clips are drawn more often than others: mixtures of corpora."""

import hashlib
from functools import cached_property

import numpy as np

from signbind_jax.data.batch_plan import BatchPlan, hash64

_DRAWS = 1 << 40  # streams of chance that plain plans do not use


class WeightedPlan(BatchPlan):
    """A `BatchPlan` whose epoch draws clip i `times[i]` times on average.

    The clips of one bucket and one weight are a cell. An epoch draws round(weight x size) of a
    cell, at least one where the weight is above 0, going on where the last epoch stopped in an
    endless row of shuffles: after any number of epochs, two clips of a cell differ by at most
    one draw.
    """

    def __init__(self, lengths, buckets, frames_per_batch, batch_multiple=1, seed=0, *, times):
        """`times`: float (clips,), each at least 0; equal within a corpus."""
        self.times = np.asarray(times, np.float64)
        kept = np.where(self.times > 0, np.asarray(lengths), 0)
        super().__init__(kept, buckets, frames_per_batch, batch_multiple, seed)

    @cached_property
    def _cells(self) -> list[tuple[int, np.ndarray, int]]:
        """(bucket, its clips of one weight, how many of them an epoch draws)."""
        buckets, times = self._bucket_of_clip[self._clips], self.times[self._clips]
        cells = []
        for bucket in range(len(self.buckets)):
            for weight in np.unique(times[buckets == bucket]):
                clips = self._clips[(buckets == bucket) & (times == weight)]
                cells.append((bucket, clips, max(1, round(weight * len(clips)))))
        return cells

    @cached_property
    def real_frames(self) -> float:
        """Frames of the clips an epoch draws, on average."""
        return float(sum(n * self.lengths[clips].mean() for _, clips, n in self._cells))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides the plan."""
        own = hashlib.sha256(super().digest.encode())
        own.update(self.times.astype("<f8").tobytes())
        return own.hexdigest()

    def clips_per_bucket(self) -> np.ndarray:
        n_by_bucket = np.zeros(len(self.buckets), np.int64)
        for bucket, _, n in self._cells:
            n_by_bucket[bucket] += n
        return n_by_bucket

    def shuffled(self, epoch: int) -> np.ndarray:
        drawn: list[list[np.ndarray]] = [[] for _ in self.buckets]
        for bucket, clips, n in self._cells:
            drawn[bucket].append(self._drawn(clips, epoch * n, n))
        shuffled = []
        for bucket, parts in enumerate(drawn):
            ids = np.concatenate(parts) if parts else np.zeros(0, np.int32)
            # A clip may stand there more than once: places are shuffled, not clips.
            places = hash64(np.arange(len(ids)) * len(self.buckets) + bucket, self.seed, 2 * epoch)
            shuffled.append(ids[np.argsort(places, kind="stable")])
        return np.concatenate(shuffled)

    def _drawn(self, clips: np.ndarray, start: int, n: int) -> np.ndarray:
        """Draws start .. start + n - 1 of a cell's endless row of shuffles."""
        size = len(clips)
        parts = []
        for lap in range(start // size, -(-(start + n) // size)):
            order = np.argsort(hash64(clips, self.seed, _DRAWS + lap), kind="stable")
            first = lap * size
            parts.append(clips[order[max(start - first, 0) : start + n - first]])
        return np.concatenate(parts)
