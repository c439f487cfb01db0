"""The batch plan a run trains by, chosen by its config."""

import numpy as np

from signbind_jax.config import DataConfig
from signbind_jax.data.batch_plan import BatchPlan, choose_buckets
from signbind_jax.data.packed_plan import ALIGNMENT, N_SLOTS, PackedPlan
from signbind_jax.data.weighted_plan import WeightedPlan


def training_plan(
    lengths,
    data: DataConfig,
    seed: int,
    *,
    times: np.ndarray | None = None,
    multiple: int = 8,
    packs: bool = False,
) -> BatchPlan | PackedPlan:
    """Padded buckets, or filled rows where `data.row_frames` asks for them.

    Args:
      lengths: frames (or tokens) of each clip; 0 is never drawn.
      times: how often an epoch draws each clip on average; None: once.
      multiple: bucket lengths are multiples of this.
      packs: whether the stage reads rows that hold several clips.
    """
    packed = packs and data.row_frames > 0
    n, unit = (N_SLOTS, ALIGNMENT) if packed else (data.n_buckets, multiple)
    drawn = np.asarray(lengths) if times is None else np.where(times > 0, lengths, 0)
    given = (choose_buckets(drawn, n, unit), data.frames_per_batch, data.batch_multiple, seed)
    if times is None:
        plan = BatchPlan(lengths, *given)
    else:
        plan = WeightedPlan(lengths, *given, times=times)
    return PackedPlan(plan, data.row_frames) if packed else plan
