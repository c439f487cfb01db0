"""Batches of clips from disk: Grain reads and decodes behind a batch plan."""

import dataclasses
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.batch import RowBatch, collate, decode_lips, modality_of
from signbind_jax.data.batch_plan import EMPTY_ROW, BatchPlan, EvaluationPlan
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.row_plan import RowPlan
from signbind_jax.errors import SignBindError

_ENDLESS = 2**40  # steps; Grain wants a length
_POSE_FRAME_BYTES = keypoints.K * 3 * 2


def clip_batches(
    dataset: ClipDataset,
    plan: BatchPlan | RowPlan | EvaluationPlan,
    frontend: str,
    targets: Sequence[Sequence[int]],
    target_capacity: int,
    *,
    start_step: int = 0,
    stop_step: int | None = None,
    threads: int = 2,
    process_index: int = 0,
    process_count: int = 1,
    cache_bytes: int = 2**30,
) -> Iterator[RowBatch]:
    """Host batches of the plan's steps start_step .. stop_step - 1, read ahead by threads.

    The stream is the same for any number of threads and resumes from `start_step` alone.
    With several processes each gets its own equal slice of every batch's rows.

    Args:
      targets: token ids of every clip of the dataset, by index.
      stop_step: None: to the end of an evaluation plan, without end for a training plan.
      threads: batches prepared at a time; 0 prepares them when they are asked for.
      cache_bytes: a training split whose decoded clips fit into this is kept in memory, so
        that later epochs neither read nor decode (20 to 40 times as fast); 0 never does.

    Raises:
      SignBindError: batches that do not divide among the processes; a clip that cannot be
        read or does not fit.
    """
    modality_of(frontend)
    if len(targets) != len(dataset):
        raise SignBindError(
            f"loader: targets: found {len(targets)}, wanted one for each of the "
            f"{len(dataset)} clips of split {dataset.name}"
        )
    n_steps = _ENDLESS if plan.n_steps is None else plan.n_steps
    stop_step = n_steps if stop_step is None else min(stop_step, n_steps)
    if start_step >= stop_step:
        return iter(())
    plan.step(start_step).for_process(process_index, process_count)  # raises here, not in a thread
    source = _Batches(
        dataset, plan, frontend, targets, target_capacity, stop_step, process_index, process_count
    )
    if plan.n_steps is None and source.decoded_bytes() <= cache_bytes:
        source.cache = {}
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(grain.MapDataset.source(source)[start_step:].to_iter_dataset(options))


class _Batches:
    """A Grain source whose record i is the batch of step i."""

    def __init__(
        self,
        dataset,
        plan,
        frontend,
        targets,
        target_capacity,
        stop_step,
        process_index,
        process_count,
    ):
        self.dataset, self.plan, self.frontend = dataset, plan, frontend
        self.targets, self.target_capacity, self.stop_step = targets, target_capacity, stop_step
        self.process_index, self.process_count = process_index, process_count
        self.modality = modality_of(frontend)
        self.lip_size = dataset.lip_size if self.modality == "lips" else None
        self.cache: dict[int, tuple[Clip, np.ndarray | None]] | None = None

    def decoded_bytes(self) -> int:
        """Memory that the arrays of the whole split would take."""
        n_frames = int(self.dataset.lengths(self.modality).sum())
        if self.modality == "pose":
            return n_frames * _POSE_FRAME_BYTES
        height, width = self.lip_size or (0, 0)
        return n_frames * height * width

    def __len__(self) -> int:
        return self.stop_step

    def __repr__(self) -> str:
        return f"batches of split {self.dataset.name}"

    def __getitem__(self, i: int) -> RowBatch:
        step = self.plan.step(i).for_process(self.process_index, self.process_count)
        ids = step.ids[step.ids != EMPTY_ROW].tolist()
        decoded = [self._decoded(clip) for clip in ids]
        lips = {clip.id: frames_fhw for clip, frames_fhw in decoded}
        return collate(
            [clip for clip, _ in decoded],
            step,
            self.frontend,
            [self.targets[i] for i in ids],
            self.target_capacity,
            lip_size=self.lip_size,
            decode=lambda clip: lips[clip.id],
        )

    def _decoded(self, i: int) -> tuple[Clip, np.ndarray | None]:
        """Clip i and its mouth crops, without what the frontend does not read."""
        if self.cache is not None and i in self.cache:
            return self.cache[i]
        clip, frames_fhw = self.dataset[i], None
        kept = {n: frames for n, frames in clip.modalities.items() if n == self.modality}
        if "lips" in kept:
            frames_fhw = decode_lips(clip)
            kept["lips"] = kept["lips"]._replace(data=None)
        if self.cache is not None:
            # Arrays read from a record are views that would hold all of it in memory.
            if "pose" in kept:
                kept["pose"] = kept["pose"]._replace(data=kept["pose"].data.copy())
            frames_fhw = None if frames_fhw is None else frames_fhw.copy()
        decoded = dataclasses.replace(clip, modalities=kept), frames_fhw
        if self.cache is not None:
            self.cache[i] = decoded
        return decoded
