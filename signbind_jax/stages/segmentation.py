"""Segmentation: a model learns where one sentence ends and the next begins, of joined clips."""

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.batch import RowBatch, collate
from signbind_jax.data.batch_plan import EMPTY_ROW, EvaluationPlan, Step
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.joined_clips import JoinedClips, join_clips
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.preprocess import prepare_pose
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.distributed import hosts
from signbind_jax.metrics.boundaries import peaks
from signbind_jax.models import random_bits
from signbind_jax.models.segmenter import Segmenter, SegmenterConfig
from signbind_jax.processes import interrupts
from signbind_jax.stages.read_streams import Weights
from signbind_jax.stages.stage import Stage

FRONTEND, NO_TARGET = "pose", 1  # of its batches: the modality, and room for the tokens of none
AT_JOINT_S = 0.2  # of a step from a joint, at most, that it is taught to be a boundary
# What a step at a boundary counts where others count 1: about one step of a row in eleven is one.
# A probability of 1/2 then says that one of three such steps is a boundary.
POSITIVE = 2.0
SCORED_KEY = 0  # of the joints that are scored, in every run


@dataclass(frozen=True)
class SegmentationShapes:
    """What data decide of a segmenter's batches.

    Attributes:
      clips_per_row: the most clips of a row.
    """

    clips_per_row: int

    @classmethod
    def assumed(cls, config: RunConfig) -> "SegmentationShapes":
        """As `config.assumed` states them."""
        return cls(config.assumed.clips_per_row)


class SegmentationStage(Stage):
    """Trains a segmenter on rows of clips that are joined anew at every step."""

    Shapes = SegmentationShapes
    main_metric = "boundary_f1"
    unit = "frames"

    def __init__(self, config: RunConfig, shapes: SegmentationShapes):
        super().__init__(config, shapes)
        self.augment = from_mapping(AugmentConfig, config.augment, "config.augment")
        self.model_config = from_mapping(SegmenterConfig, config.model, "config.model")

    def _one_row(self, length):
        nothing = np.full((1, self.shapes.clips_per_row), EMPTY_ROW, np.int32)
        return collate([], Step(length, nothing, np.zeros_like(nothing)), FRONTEND, [], NO_TARGET)

    def loss(self, model, batch: RowBatch, key):
        augment_key, joint_key, noise_key, dropout_key = jax.random.split(key, 4)
        joined = joined_rows(batch, joint_key, augment_key, self.augment)
        x_btkc = _shaken(joined.x_btkc, noise_key, self.augment.keypoint_noise)
        logits_bs, real_bs = model(x_btkc, joined.real_bt, dropout_key)
        target_bs = at_boundary(joined, batch.fps_bg, model.config.subsample, logits_bs.shape[1])
        loss_bs = optax.sigmoid_binary_cross_entropy(logits_bs, target_bs)
        loss_bs *= jnp.where(target_bs, POSITIVE, 1.0) * real_bs
        return jnp.sum(loss_bs), jnp.sum(real_bs), {"at_boundary": jnp.sum(target_bs & real_bs)}


def joined_rows(batch: RowBatch, key, augment_key=None, augment=None) -> JoinedClips:
    """The clips of each row of a batch joined, and, where a key for it is given, augmented: all
    clips of a row alike, as one recording. Noise is left to `_shaken`."""
    if augment is not None:
        augment = replace(augment, keypoint_noise=0.0)
    index_bg = jnp.broadcast_to(batch.index_bg[:, :1], batch.index_bg.shape)
    placed = (batch.start_bg, batch.length_bg, index_bg)
    x_btkc, clip_bt = prepare_pose(batch.frames_bt, *placed, augment_key, augment)
    return join_clips(x_btkc, clip_bt, batch.fps_bg, batch.index_bg, key)


def _shaken(x_btkc, key, noise: float):
    """With uniform noise of a standard deviation on all points that are seen: on what is between
    clips too, which would else be smoother than they are. Drawn by place in the batch, as dropout
    is."""
    bits = random_bits.bits(key, (*x_btkc.shape[:-1], 2))
    noise_btkc = noise * 3.0**0.5 * (bits.astype(jnp.float32) / 2.0**31 - 1.0)
    seen_btk1 = x_btkc[..., 2:] > 0
    return x_btkc.at[..., :2].add(jnp.where(seen_btk1, noise_btkc, 0))


def at_boundary(joined: JoinedClips, fps_bg, subsample: int, n_steps: int):
    """bool (b, s): the steps whose middle lies within `AT_JOINT_S` of a true joint."""
    middle_s = jnp.arange(n_steps) * subsample + (subsample - 1) / 2
    # A joint lies between two frames.
    far_bsp = jnp.abs(middle_s[:, None] - (joined.joint_bp[:, None] - 0.5))
    near_bsp = far_bsp <= AT_JOINT_S * jnp.tile(fps_bg, (1, 2))[:, None]
    return (near_bsp & joined.true_bp[:, None]).any(axis=-1)


@functools.partial(jax.jit, static_argnums=0)
def read_joined(graphdef, params, batch: RowBatch):
    """What a segmenter says about joined clips that are the same in every run.

    Returns:
      probability_bs, real frames n_b, joint_bp and true_bp as of `JoinedClips`.
    """
    joined = joined_rows(batch, jax.random.key(SCORED_KEY))
    model: Segmenter = nnx.merge(graphdef, params)
    logits_bs, _ = model(joined.x_btkc, joined.real_bt)
    n_b = joined.real_bt.sum(axis=1)
    return jax.nn.sigmoid(logits_bs), n_b, joined.joint_bp, joined.true_bp


@functools.partial(jax.jit, static_argnums=0)
def read_poses(graphdef, params, pose_btkc, length_b):
    """Probabilities (b, s) that a sentence ends, of f16 poses (b, t, 91, 3) padded to t frames."""
    model: Segmenter = nnx.merge(graphdef, params)
    length_b1 = length_b[:, None]
    nothing_b1 = jnp.zeros_like(length_b1)
    x_btkc, clip_bt = prepare_pose(pose_btkc, nothing_b1, length_b1, nothing_b1)
    logits_bs, _ = model(x_btkc, clip_bt >= 0)
    return jax.nn.sigmoid(logits_bs)


def by_frame(probability_s: np.ndarray, padded: int, n_frames: int) -> np.ndarray:
    """float32 (n_frames,) probabilities, on straight lines between the middles of steps.

    padded: frames that the steps stand for.
    """
    subsample = -(-padded // len(probability_s))
    probability_s = probability_s[: -(-n_frames // subsample)]
    middle_s = np.arange(len(probability_s)) * subsample + (subsample - 1) / 2
    return np.interp(np.arange(n_frames), middle_s, probability_s).astype(np.float32)


class JoinedRow(NamedTuple):
    """What was said about a row of joined clips.

    Attributes:
      name: of its clips.
      found, true, false: where a boundary was found, is, and where clips were joined though no
        sentence ends, in seconds, in order.
    """

    name: str
    found: list[float]
    true: list[float]
    false: list[float]


def read_joined_split(weights: Weights, clips: ClipDataset, row_frames: int) -> list[JoinedRow]:
    """Joins the clips of a split in filled rows and finds boundaries in them.

    Of several processes each reads its part, and all get the whole.

    Args:
      row_frames: least length of a row.

    Raises:
      Interrupted: on every process, where a signal came to one.
    """
    lengths = clips.lengths(FRONTEND)
    if not lengths.any():
        return []
    graphdef, params = weights()
    plan = reading_plan(lengths, row_frames)
    own = hosts.own_steps(plan.n_steps)
    given = EvaluationPlan([plan.step(i) for i in own])
    batches = clip_batches(clips, given, FRONTEND, [[]] * len(clips), NO_TARGET)
    read = {}
    for i, batch in zip(own, interrupts.until_asked(batches), strict=False):
        said = jax.device_get(read_joined(graphdef, params, batch))
        rows = np.flatnonzero(batch.index_bg[:, 0] >= 0)
        read[i] = [_joined_row(clips, batch, int(b), *(x[b] for x in said)) for b in rows]
    joined = hosts.join_rows(f"reading {clips.name}", read)
    return [JoinedRow(*row) for i in sorted(joined) for row in joined[i]]


def _joined_row(clips: ClipDataset, batch: RowBatch, b: int, probability_s, n, joint_p, true_p):
    fps = float(batch.fps_bg[b, 0])
    held = [clips.ids[i] for i in batch.index_bg[b] if i >= 0]
    found = peaks(by_frame(probability_s, batch.frames_bt.shape[1], int(n)), fps)
    true, false = (np.sort(joint_p[(joint_p >= 0) & kind]) for kind in (true_p, ~true_p))
    name = held[0] if len(held) == 1 else f"{held[0]} and {len(held) - 1} more"
    return JoinedRow(name, *([float(t) / fps for t in side] for side in (found, true, false)))
