"""Batch plans whose rows hold several clips each.

However well their lengths are chosen, eight buckets pad away a fifth of the frames of such a
corpus (docs/develop/decisions.md). Rows filled with clips end to end need one compiled shape and
next to no padding.
"""

import hashlib
import heapq
from functools import cached_property

import numpy as np

from signbind_jax.data.batch_plan import (
    EMPTY_ROW,
    FEW_CLIPS,
    BatchPlan,
    EpochCache,
    EvaluationPlan,
    Step,
    batch_sizes,
    cap_batch_size,
    checked_lengths,
    hash64,
    next_power_of_two,
    rows_of_few,
    standard_buckets,
)
from signbind_jax.errors import SignBindError

ALIGNMENT = 4  # clips begin at multiples of this many frames: no encoder step holds two clips
N_SLOTS = 96  # slot lengths; each clip is padded to the next, 1 to 2 % of the frames in all
_ROW_MULTIPLE = 8
_TRIED = np.arange(8, 11)  # eighths of the longest clip that a row may have: attention and CTC
_WORTH_LONGER = 0.99  # cost more in longer rows, so that an epoch has to have fewer frames there
_SPARE = 1.01  # rows over the fewest that the frames need
READING_FRAMES = 8192  # a batch of clips that are only read
READING_ROW = 256  # frames of its rows at least: every split of short clips then has one shape
_LEAST_CLIPS = 4  # that its rows have places for; no more where clips are few: one shape less


class RowPlan:
    """Endless shuffled epochs of batches of filled rows.

    Which slots share a row is decided once, by length alone; every epoch puts other clips into
    the slots and draws the rows in another order. Each epoch has the same number of steps, and
    every clip is drawn as often as `plan` draws it.
    """

    n_steps = None  # endless

    def __init__(self, plan: BatchPlan, row_frames: int = 0):
        """
        Args:
          plan: says which clips an epoch draws; its buckets are the slots.
          row_frames: length of a row; more where the longest clip needs it. 0: as long as the
            longest clip, or up to a quarter more where less is wasted.
        """
        self.plan, self.lengths, self.seed = plan, plan.lengths, plan.seed
        slots, counts = np.asarray(plan.buckets), plan.clips_per_bucket()
        if (slots % ALIGNMENT).any():
            raise SignBindError(
                f"batch plan: slots: found {plan.buckets}, wanted multiples of {ALIGNMENT}"
            )
        longest = int(slots[counts > 0][-1])
        wanted = [max(row_frames, longest)] if row_frames else longest * _TRIED // 8
        multiple, least = plan.batch_multiple, np.inf
        for frames in wanted:
            frames = -(-int(frames) // _ROW_MULTIPLE) * _ROW_MULTIPLE
            filled = fill_rows(slots, counts, frames)
            (size,) = batch_sizes((frames,), plan.frames_per_batch, multiple)
            size = cap_batch_size(size, len(filled[0]), multiple)
            total = -(-len(filled[0]) // size) * size * frames
            if total < _WORTH_LONGER * least:
                least, self.row_frames, self.batch_size = total, frames, size
                self._place_rg, self.starts = filled
        self._epochs = EpochCache()

    @property
    def n_clips(self) -> int:
        """Clips drawn an epoch."""
        return self.plan.n_clips

    @property
    def clips_per_row(self) -> int:
        """The most clips a row holds."""
        return self._place_rg.shape[1]

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the same in every epoch."""
        return -(-len(self._place_rg) // self.batch_size)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(frames of a row, rows) of the one shape there is."""
        return ((self.row_frames, self.batch_size),)

    @property
    def fill(self) -> float:
        """Real frames over all frames of an epoch, padding and empty rows included."""
        padded = self.steps_per_epoch * self.batch_size * self.row_frames
        return float(self.plan.real_frames / padded)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides the plan; hosts that differ here must not train."""
        return hashlib.sha256(f"packed {self.plan.digest} {self.row_frames}".encode()).hexdigest()

    def step(self, i: int) -> Step:
        """The clips of global step i >= 0, counted over endless epochs."""
        if i < 0:
            raise IndexError(f"step {i} of a batch plan")
        epoch, j = divmod(int(i), self.steps_per_epoch)
        clips, order = self._epochs.get(epoch, lambda: self._epoch(epoch))
        rows = order[j * self.batch_size :][: self.batch_size]
        place_rg = self._place_rg[rows]
        ids = np.full((self.batch_size, self.clips_per_row), EMPTY_ROW, np.int32)
        starts = np.zeros_like(ids)
        ids[: len(rows)] = np.where(place_rg >= 0, clips[place_rg], EMPTY_ROW)
        starts[: len(rows)] = self.starts[rows]
        return Step(self.row_frames, ids, starts)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Clips slot after slot, shuffled within each length, and the order of the rows."""
        rows = np.arange(len(self._place_rg))
        order = np.argsort(hash64(rows, self.seed, 2 * epoch + 1), kind="stable")
        return self.plan.shuffled(epoch), order


def reading_plan(
    lengths, row_frames: int = 0, frames_per_batch: int = READING_FRAMES
) -> EvaluationPlan:
    """The plan that visits every clip of nonzero length once, in filled rows of one shape.

    Sizes go in coarse steps, so that splits of different lengths share their program. Of up to
    `FEW_CLIPS` clips the length of the longest and the number of rows alone make another.

    Args:
      lengths: frames of each clip; 0 is not read.
      row_frames: least length of a row.
    """
    lengths = checked_lengths(lengths)
    padded = -(-lengths // ALIGNMENT) * ALIGNMENT
    clips = np.argsort(padded, kind="stable")[(lengths == 0).sum() :]
    row_frames = standard_buckets(max(row_frames, READING_ROW, int(lengths.max())))[-1]
    most = _LEAST_CLIPS if len(lengths) <= FEW_CLIPS else None
    place_rg, start_rg = fill_rows(*np.unique(padded[clips], return_counts=True), row_frames, most)
    n_rows, g = place_rg.shape
    ids = np.full((n_rows, next_power_of_two(max(g, _LEAST_CLIPS))), EMPTY_ROW, np.int32)
    starts = np.zeros_like(ids)
    ids[:, :g] = np.where(place_rg >= 0, clips[place_rg], EMPTY_ROW)
    starts[:, :g] = start_rg
    (size,) = batch_sizes((row_frames,), frames_per_batch, 1)
    size = rows_of_few(n_rows, size)
    n_empty = -n_rows % size
    ids = np.pad(ids, ((0, n_empty), (0, 0)), constant_values=EMPTY_ROW)
    starts = np.pad(starts, ((0, n_empty), (0, 0)))
    return EvaluationPlan(
        [
            Step(row_frames, ids[i : i + size], starts[i : i + size])
            for i in range(0, len(ids), size)
        ]
    )


def fill_rows(slots: np.ndarray, counts: np.ndarray, row_frames: int, most: int | None = None):
    """Rows of `row_frames` frames that hold `counts` slots of each length.

    The longest slot left goes into the emptiest row (Graham's LPT rule), so that rows hold about
    equally many frames and about equally many clips; a row more is begun where none has room.

    most: clips of a row; None: as many as fit.

    Returns:
      places: int64 (rows, g), -1 behind a row's last: each slot's place among all slots in
        ascending order of length, as `BatchPlan.shuffled` orders clips.
      starts: int32 (rows, g), frame at which each slot begins.
    """
    ends = np.cumsum(counts)
    most = most or int(counts.sum())
    n_rows = round(_SPARE * float((slots * counts).sum()) / row_frames)
    n_rows = max(n_rows, -(-int(counts.sum()) // most))
    emptiest = [(0, row) for row in range(n_rows)]
    rows: list[list[tuple[int, int]]] = [[] for _ in range(n_rows)]
    for slot in range(len(slots) - 1, -1, -1):
        length = int(slots[slot])
        for place in range(int(ends[slot]) - 1, int(ends[slot] - counts[slot]) - 1, -1):
            while emptiest and len(rows[emptiest[0][1]]) == most:
                heapq.heappop(emptiest)
            if not emptiest or emptiest[0][0] + length > row_frames:
                used, row = 0, len(rows)
                rows.append([])
                heapq.heappush(emptiest, (length, row))
            else:
                used, row = emptiest[0]
                heapq.heapreplace(emptiest, (used + length, row))
            rows[row].append((place, used))
    rows = [row for row in rows if row]
    g = max(map(len, rows))
    places = np.full((len(rows), g), -1, np.int64)
    starts = np.zeros((len(rows), g), np.int32)
    for row, held in enumerate(rows):
        places[row, : len(held)], starts[row, : len(held)] = zip(*held, strict=True)
    return places, starts
