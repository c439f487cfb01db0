"""Stage 1: an expert learns to read its own modality with CTC."""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import ctc, streams
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.batch import RowBatch, collate, reads_lips
from signbind_jax.data.batch_plan import EMPTY_ROW, Step
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.preprocess import prepare_lips, prepare_pose
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import Expert, ExpertConfig, ExpertOutput
from signbind_jax.models.token_stream import TokenStream
from signbind_jax.stages.stage import Stage


def modality_lengths(dataset: ClipDataset, frontend: str) -> np.ndarray:
    """Frames of the modality that a frontend reads, by clip; 0 where absent."""
    return dataset.lengths("lips" if reads_lips(frontend) else "pose")


def check_crops(config: ExpertConfig, clips: ClipDataset | ClipList, where: str) -> None:
    """Whether the mouth crops of clips, if there are any, have the size that an expert reads.

    Raises:
      SignBindError: they do not; begins with `where`.
    """
    size = config.lip_size
    if reads_lips(config.frontend) and clips.lip_size not in (None, (size, size)):
        found = "x".join(map(str, clips.lip_size))
        raise SignBindError(
            f"{where}: found {size}, wanted that of the crops of {clips.name}, {found}"
        )


def impossible_clips(needed_steps, lengths: np.ndarray, model_config: ExpertConfig) -> np.ndarray:
    """The clips whose target is longer than an expert's CTC output, as bool (clips,).

    Args:
      needed_steps: `ctc.min_steps` of each clip's target.
      lengths: frames of the modality the expert reads; a clip without it is not counted.
    """
    return (lengths > 0) & (np.asarray(needed_steps) > model_config.n_steps(lengths))


def prepare(batch: RowBatch, frontend: str, key=None, augment: AugmentConfig | None = None):
    """Normalised (and, given a key, augmented) input of an expert: x, and which clip of its row
    a frame belongs to."""
    prepared = prepare_lips if reads_lips(frontend) else prepare_pose
    return prepared(batch.frames_bt, batch.start_bg, batch.length_bg, batch.index_bg, key, augment)


def with_room_for_targets(
    model_config: ExpertConfig, needed_steps, lengths: np.ndarray, most: float
) -> ExpertConfig:
    """The expert with half as many frames a step, and again, while more clips than a share `most`
    of those that have its modality are impossible; see `impossible_clips`."""
    n_present = np.count_nonzero(lengths)
    while model_config.subsample > 1:
        n = np.count_nonzero(impossible_clips(needed_steps, lengths, model_config))
        if n <= most * n_present:
            break
        model_config = replace(model_config, subsample=model_config.subsample // 2)
    return model_config


@functools.partial(jax.jit, static_argnums=(0, 3))
def read_batch(graphdef, params, batch: RowBatch, unread_s: float = 0.0) -> TokenStream:
    """What an expert reads from a batch, times in seconds, and what it leaves unread, see
    `ctc.greedy_stream`."""
    model: Expert = nnx.merge(graphdef, params)
    output = model(*prepare(batch, model.config.frontend))
    return read_output(model, output, batch, unread_s)


def read_output(
    model: Expert, output: ExpertOutput, batch: RowBatch, unread_s: float = 0.0
) -> TokenStream:
    """The tokens of what an expert says about a batch, see `read_batch`."""
    seconds_bg = model.seconds_per_step(jnp.maximum(batch.fps_bg, 1.0))
    return ctc.greedy_stream(
        output.log_probs_bsv, output.hidden_bsd, output.clip_bs, seconds_bg, unread_s
    )


@functools.partial(jax.jit, static_argnums=0)
def read_hidden(graphdef, params, batch: RowBatch):
    """An expert's hidden vectors hidden_bsd of all steps of a batch, and which are of a clip."""
    model: Expert = nnx.merge(graphdef, params)
    output = model(*prepare(batch, model.config.frontend))
    return output.hidden_bsd.astype(jnp.float32), output.clip_bs >= 0


@dataclass(frozen=True)
class ExpertShapes:
    """What data decide of an expert.

    Attributes:
      n_tokens: size of the vocabulary, the blank included.
      target: room for the tokens of a CTC target.
      clips_per_row: the most clips of a row.
      lip_size: side in pixels of the mouth crops; None: there are none.
      subsample: frames a step; 0: as the config says.
    """

    n_tokens: int
    target: int
    clips_per_row: int
    lip_size: int | None = None
    subsample: int = 0

    @classmethod
    def assumed(cls, config: RunConfig) -> "ExpertShapes":
        """As `config.assumed` states them."""
        sizes, alphabet = config.assumed, streams.get(config.stage).alphabet
        return cls(
            n_tokens=1 + len(alphabet) if alphabet else sizes.vocabulary,
            target=-(-sizes.target // 8) * 8,
            clips_per_row=sizes.clips_per_row,
            lip_size=sizes.lip_size,
        )


def expert_config(config: RunConfig, n_tokens: int, lip_size: int | None = None) -> ExpertConfig:
    """The expert that a run's config asks for, of mouth crops of `lip_size` where it does not say.

    Raises:
      SignBindError: a value in `config.model` that does not go.
    """
    given = {"frontend": streams.get(config.stage).frontend}
    if lip_size:
        given["lip_size"] = lip_size
    given |= config.model
    return from_mapping(ExpertConfig, given | {"n_tokens": n_tokens}, "config.model")


class ExpertStage(Stage):
    """Trains the expert of the stream that `config.stage` names."""

    Shapes = ExpertShapes
    unit = "frames"

    def __init__(self, config: RunConfig, shapes: ExpertShapes):
        super().__init__(config, shapes)
        self.main_metric = streams.get(config.stage).metric
        self.augment = from_mapping(AugmentConfig, config.augment, "config.augment")
        self.model_config = expert_config(config, shapes.n_tokens, shapes.lip_size)
        if shapes.subsample:
            self.model_config = replace(self.model_config, subsample=shapes.subsample)

    def _one_row(self, length):
        nothing = np.full((1, self.shapes.clips_per_row), EMPTY_ROW, np.int32)
        step = Step(length, nothing, np.zeros_like(nothing))
        size, frontend = self.model_config.lip_size, self.model_config.frontend
        return collate([], step, frontend, [], self.shapes.target, lip_size=(size, size))

    def loss(self, model, batch: RowBatch, key):
        loss, weight, metrics, _ = self.ctc_loss(model, batch, key)
        return loss, weight, metrics

    def ctc_loss(self, model, batch: RowBatch, key):
        """As `loss`, and what the expert says about the batch."""
        augment_key, dropout_key = jax.random.split(key)
        x, clip_bt = prepare(batch, self.model_config.frontend, augment_key, self.augment)
        output = model(x, clip_bt, dropout_key)
        length_bg, valid_bg = batch.target_length_bg, batch.valid_bg
        loss_bg, feasible_bg = ctc.ctc_loss(
            output.log_probs_bsv, output.clip_bs, batch.target_bgn, length_bg
        )
        counted_bg = valid_bg & feasible_bg
        weight = jnp.sum(jnp.maximum(length_bg, 1) * counted_bg)
        infeasible = jnp.sum(valid_bg & ~feasible_bg)
        return jnp.sum(loss_bg * counted_bg), weight, {"infeasible": infeasible}, output
