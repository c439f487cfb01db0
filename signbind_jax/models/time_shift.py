"""Looking along time without looking into another clip of the same row."""

import jax.numpy as jnp


def time_shift(x_bt, n: int, clip_bt=None):
    """Delays x by n frames or steps (time is axis 1); n below 0 looks ahead.

    Zeros come in from beyond the row's ends and, where `clip_bt` says which clip of its row a
    frame belongs to, from other clips.
    """
    t = x_bt.shape[1]
    pad = [(0, 0), (max(n, 0), max(-n, 0))] + [(0, 0)] * (x_bt.ndim - 2)
    moved_bt = jnp.pad(x_bt[:, max(-n, 0) : t - max(n, 0)], pad)
    if clip_bt is None:
        return moved_bt
    same_bt = clip_bt == jnp.pad(
        clip_bt[:, max(-n, 0) : t - max(n, 0)], pad[:2], constant_values=-1
    )
    return jnp.where(same_bt[(..., *(None,) * (x_bt.ndim - 2))], moved_bt, 0)
