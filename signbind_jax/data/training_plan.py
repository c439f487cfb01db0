"""The batch plan a run trains by, chosen by its config."""

import numpy as np

from signbind_jax.data.batch_plan import BatchPlan, choose_buckets
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.row_plan import ALIGNMENT, N_SLOTS, RowPlan
from signbind_jax.data.weighted_plan import WeightedPlan


def training_plan(
    lengths,
    data: DataConfig,
    seed: int,
    *,
    times: np.ndarray | None = None,
    multiple: int = 8,
    rows: bool = False,
) -> BatchPlan | RowPlan:
    """Padded buckets, or rows that hold several clips.

    Args:
      lengths: frames (or tokens) of each clip; 0 is never drawn.
      times: how often an epoch draws each clip on average; None: once.
      multiple: bucket lengths are multiples of this.
      rows: whether the stage reads rows that hold several clips.
    """
    n, unit = (N_SLOTS, ALIGNMENT) if rows else (data.n_buckets, multiple)
    drawn = np.asarray(lengths) if times is None else np.where(times > 0, lengths, 0)
    given = (choose_buckets(drawn, n, unit), data.frames_per_batch, data.batch_multiple, seed)
    if times is None:
        plan = BatchPlan(lengths, *given)
    else:
        plan = WeightedPlan(lengths, *given, times=times)
    return RowPlan(plan, data.row_frames) if rows else plan
