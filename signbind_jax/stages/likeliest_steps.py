"""Where in a clip an expert would read given tokens, had it to read each of them once."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import progress
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.data.batch import RowBatch
from signbind_jax.data.clip import TimedToken, exact
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.models.expert import Expert
from signbind_jax.stages.expert import check_crops, prepare
from signbind_jax.stages.read_streams import ExpertReader


@functools.partial(jax.jit, static_argnums=0)
def _likeliest(graphdef, params, batch: RowBatch):
    """Of each token of `batch.target_bgn` the seconds at which it is likeliest in its clip, how
    likely it is there, and each clip's seconds a step."""
    model: Expert = nnx.merge(graphdef, params)
    output = model(*prepare(batch, model.config.frontend))
    b, g, n = batch.target_bgn.shape
    ids_b1m = batch.target_bgn.reshape(b, 1, g * n)
    log_p_bsgn = jnp.take_along_axis(output.log_probs_bsv, ids_b1m, axis=2).reshape(b, -1, g, n)
    own_bsg = output.clip_bs[..., None] == jnp.arange(g)
    log_p_bsgn = jnp.where(own_bsg[..., None], log_p_bsgn, -jnp.inf)
    step_bgn = log_p_bsgn.argmax(axis=1) - own_bsg.argmax(axis=1)[..., None]
    seconds_bg = model.seconds_per_step(jnp.maximum(batch.fps_bg, 1.0))
    return step_bgn * seconds_bg[..., None], jnp.exp(log_p_bsgn.max(axis=1)), seconds_bg


def likeliest_steps(
    expert: Artefact, clips: ClipDataset, tokens: Sequence[Sequence[str]]
) -> dict[str, tuple[TimedToken, ...]]:
    """By clip id, the step of each token at which an expert finds it likeliest, in order of time;
    its confidence is how likely that is. Tokens that the expert does not know are left out.

    Args:
      tokens: of every clip.

    Raises:
      SignBindError: crops of another size than the expert was trained on.
    """
    reader = ExpertReader.of(expert)
    check_crops(reader.config, clips, f"{expert.workdir}: model.lip_size")
    known = [[token for token in row if token in reader.vocabulary] for row in tokens]
    lengths = np.where([bool(row) for row in known], reader.lengths(clips), 0)
    if not lengths.any():
        return {}
    plan = reading_plan(lengths, reader.row_frames)
    ids = [reader.vocabulary.encode(row) for row in known]
    room = -(-max(map(len, ids)) // 8) * 8
    graphdef, params = reader.weights()
    found = {}
    batches = clip_batches(clips, plan, reader.config.frontend, ids, room)
    for batch in progress.shown(batches, f"reading {reader.name}", plan.n_steps, "batch"):
        start_bgn, p_bgn, seconds_bg = jax.device_get(_likeliest(graphdef, params, batch))
        for at in zip(*np.nonzero(np.asarray(batch.valid_bg)), strict=True):
            clip = int(batch.index_bg[at])
            found[clips.ids[clip]] = _timed(known[clip], start_bgn[at], p_bgn[at], seconds_bg[at])
    return found


def _timed(tokens, start_n, p_n, seconds: float) -> tuple[TimedToken, ...]:
    rows = [
        TimedToken(token, exact(start), exact(start + seconds), exact(p))
        for token, start, p in zip(tokens, start_n, p_n, strict=False)
    ]
    return tuple(sorted(rows, key=lambda row: row.start))
