"""Stage 2: fusion learns what the streams say together, with CTC on the fused tokens."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import ctc, streams
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.sentences import Sentences, empty_row, reading_batches
from signbind_jax.data.stream_cache import SplitStreams, no_tokens
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.models.fusion import Fusion, FusionConfig, frame_mask, read_ctc
from signbind_jax.models.token_noise import TokenNoiseConfig, add_noise
from signbind_jax.processes import interrupts
from signbind_jax.stages.stage import Stage


def ctc_sums(log_probs_bsv, mask_bm, batch, keep_empty: float = 1.0):
    """Summed CTC loss of the fused tokens and the samples it counts.

    keep_empty: weight of the samples with an empty target.
    """
    clip_bs = jnp.where(frame_mask(mask_bm, log_probs_bsv), 0, -1)
    loss_b1, feasible_b1 = ctc.ctc_loss(
        log_probs_bsv, clip_bs, batch.target_bn[:, None], batch.target_length_b[:, None]
    )
    counted_b = feasible_b1[:, 0] & batch.valid_b
    loss_b = loss_b1[:, 0] * counted_b
    if keep_empty < 1:
        loss_b *= jnp.where(batch.target_length_b > 0, 1.0, keep_empty)
    return jnp.sum(loss_b), counted_b


@dataclass(frozen=True)
class FusionShapes:
    """What data and experts decide of fusion.

    Attributes:
      n_ids: vocabulary size of each stream, in order, blanks included.
      d_hidden: size of the experts' largest hidden vector.
      n_targets: size of the fused vocabulary, blank included.
      capacities: length of a batch -> its room for (target, prompt, text) tokens.
      unread: see `FusionConfig`.
    """

    n_ids: tuple[int, ...]
    d_hidden: int
    n_targets: int
    capacities: Mapping[int, tuple[int, int, int]]
    unread: tuple[bool, ...] = ()

    @property
    def sizes(self) -> dict:
        """Those of them that FusionConfig has."""
        names = ("n_ids", "d_hidden", "n_targets", "unread")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def assumed(cls, config: RunConfig) -> "FusionShapes":
        """As `config.assumed` states them."""
        sizes = config.assumed
        n_ids = tuple(
            sizes.streams.get(name, streams.get(name).assumed_vocabulary) for name in config.streams
        )
        capacity = (sizes.target, sizes.prompt_tail, sizes.text)
        unread = (True,) * len(n_ids) if config.data.unread_s else ()
        return cls(n_ids, sizes.d_hidden, sizes.fusion_targets, {sizes.longest: capacity}, unread)


class FusionStage(Stage):
    """Trains the fusion transformer on cached streams of frozen experts."""

    Shapes = FusionShapes
    main_metric = "token_error_rate"

    def __init__(self, config: RunConfig, shapes: FusionShapes):
        super().__init__(config, shapes)
        self.noise = from_mapping(TokenNoiseConfig, config.augment, "config.augment")
        self.model_config = self._model_config()

    def _model_config(self):
        return from_mapping(FusionConfig, self.config.model | self.shapes.sizes, "config.model")

    @property
    def fusion_config(self) -> FusionConfig:
        """Of the fusion transformer, which may be the model or a part of it."""
        return self.model_config

    def _one_row(self, length):
        none = dict.fromkeys(self.config.streams, no_tokens(self.fusion_config.d_hidden))
        return empty_row(SplitStreams(none), length, self.shapes.capacities)

    def loss(self, model: Fusion, batch, key):
        noise_key, dropout_key = jax.random.split(key)
        tokens = add_noise(batch.tokens, batch.index_b, noise_key, self.noise, self.config.streams)
        _, mask_bm, log_probs_bsv = model(tokens, dropout_key)
        loss, counted_b = ctc_sums(log_probs_bsv, mask_bm, batch)
        weight = jnp.sum(jnp.maximum(batch.target_length_b, 1) * counted_b)
        return loss, weight, {}


def read_fused(
    graphdef, params, sentences: Sentences, fusion_targets: Vocabulary
) -> list[list[str]]:
    """What fusion says each clip holds, by greedy CTC: token strings, clip by clip, all of them
    on every process.

    graphdef and params: of Fusion, or of a module that has one as its `fusion`.
    """
    own = {}
    for batch in interrupts.until_asked(reading_batches(sentences, 4096)):
        ids_bn = np.asarray(_read_fused(graphdef, params, batch))
        for row, ids in zip(batch.index_b, ids_bn, strict=True):
            if row >= 0:
                own[int(row)] = fusion_targets.decode(ids)
    read = hosts.join_rows("reading fused tokens", own)
    return [read.get(i, []) for i in range(len(sentences))]


@functools.partial(jax.jit, static_argnums=0)
def _read_fused(graphdef, params, batch):
    module = nnx.merge(graphdef, params)
    return read_ctc(*getattr(module, "fusion", module)(batch.tokens))[0]
