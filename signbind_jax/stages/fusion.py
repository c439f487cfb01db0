"""Stage 2: fusion learns what the streams say together, with CTC on the fused tokens."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import ctc, streams
from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.batch_plan import EMPTY_ROW, Step
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.mixture import open_data
from signbind_jax.data.read_ahead import read_ahead
from signbind_jax.data.sentences import Sentences, reading_batches
from signbind_jax.data.stream_cache import SplitStreams, no_tokens
from signbind_jax.data.training_plan import training_plan
from signbind_jax.data.vocabulary import BLANK, Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.metrics.sequence import error_counts
from signbind_jax.models.fusion import Fusion, FusionConfig, frame_mask, read_ctc
from signbind_jax.models.token_noise import TokenNoiseConfig, add_noise
from signbind_jax.processes import interrupts
from signbind_jax.stages.read_streams import ExpertReader, read_split
from signbind_jax.stages.stage import Evaluation, Stage, samples_of

FUSED_CAPACITY = 96


def open_experts(config: RunConfig) -> dict[str, artefact.Artefact]:
    """The experts a config names, by stream.

    Raises:
      SignBindError: none named, not trained, or another stage's artefact.
    """
    experts = {}
    for name in config.streams:
        directory = config.parents[name]
        if not directory:
            continue
        experts[name] = artefact.open_artefact(directory)
        if experts[name].stage != name:
            raise SignBindError(
                f"config.parents.{name}: {directory}: stage: found "
                f"{experts[name].stage}, wanted {name}"
            )
    if not experts:
        raise SignBindError(
            "config.parents: found no expert, wanted at least one of " + ", ".join(streams.names())
        )
    return experts


def stream_vocabularies(
    names: Sequence[str], experts: Mapping[str, artefact.Artefact]
) -> list[Vocabulary]:
    """Vocabulary of each stream in order; the blank alone where there is no expert."""
    return [
        next(iter(experts[name].vocabularies.values()))
        if name in experts
        else Vocabulary(name, (BLANK,))
        for name in names
    ]


def assumed_n_ids(config: RunConfig) -> tuple[int, ...]:
    """What `config.assumed` says of the vocabularies of the run's streams, in order."""
    known = {spec.name: spec.assumed_vocabulary for spec in streams.specs()}
    return tuple((known | config.assumed.streams)[name] for name in config.streams)


def ctc_sums(log_probs_bsv, mask_bm, batch):
    """Summed CTC loss of the fused tokens and the samples it counts."""
    clip_bs = jnp.where(frame_mask(mask_bm, log_probs_bsv), 0, -1)
    loss_b1, feasible_b1 = ctc.ctc_loss(
        log_probs_bsv, clip_bs, batch.target_bn[:, None], batch.target_length_b[:, None]
    )
    counted_b = feasible_b1[:, 0] & batch.valid_b
    return jnp.sum(loss_b1[:, 0] * counted_b), counted_b


class FusionStage(Stage):
    """Trains the fusion transformer on cached streams of frozen experts."""

    name = "fusion"
    main_metric = "token_error_rate"

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.dataset = open_data(config.data)
        self.noise = from_mapping(TokenNoiseConfig, config.augment, "config.augment")
        self.experts = open_experts(config)
        self.readers = {name: ExpertReader(expert) for name, expert in self.experts.items()}
        self.parents = {name: expert.digest for name, expert in self.experts.items()}
        train = self.dataset.split(config.data.train)
        self.senses = Vocabulary.from_sequences(
            "senses", (labels["senses"] for labels in train.targets)
        )
        vocabularies = stream_vocabularies(config.streams, self.experts)
        self.vocabularies = {v.name: v for v in (*vocabularies, self.senses)}
        self.model_config = self._model_config(vocabularies)
        self.sentences = self.read(train)
        self.plan = training_plan(
            self.sentences.lengths, config.data, config.seed, times=train.times, multiple=4
        )
        self.capacities = self.sentences.capacities(self.plan.buckets)
        self._note(train)

    def assume(self, sizes):
        self.noise = from_mapping(TokenNoiseConfig, self.config.augment, "config.augment")
        self.model_config = self._assumed_model(sizes)
        none = SplitStreams(dict.fromkeys(self.config.streams, no_tokens(sizes.d_hidden)))
        self.sentences = Sentences(np.zeros(0, int), none, [], [], [])
        self.capacities = (sizes.target, sizes.prompt_tail, sizes.text)

    def _assumed_model(self, sizes):
        values = {
            "n_ids": assumed_n_ids(self.config),
            "d_hidden": sizes.d_hidden,
            "n_targets": sizes.senses,
        }
        return from_mapping(FusionConfig, self.config.model | values, "config.model")

    def empty_batch(self, length):
        step = Step.padded(length, np.array([EMPTY_ROW]))
        return self.sentences.batch(step, self.capacities)

    def _model_config(self, vocabularies: Sequence[Vocabulary]):
        d_hidden = max(e.model["config"]["d_model"] for e in self.experts.values())
        sizes = {
            "n_ids": tuple(len(v) for v in vocabularies),
            "d_hidden": d_hidden,
            "n_targets": len(self.senses),
        }
        return from_mapping(FusionConfig, self.config.model | sizes, "config.model")

    def _note(self, train: ClipDataset) -> None:
        overflow = sum(int(e.overflow.sum()) for e in self.sentences.streams.experts.values() if e)
        impossible = sum(
            ctc.min_steps(t) > self.ctc_frames * n
            for t, n in zip(self.sentences.targets, self.sentences.lengths)
        )
        self.notes.append(
            f"{len(train)} clips, {self.plan.steps_per_epoch} steps an epoch, "
            f"{100 * self.plan.fill:.1f} % of the tokens are real, {overflow} tokens "
            f"lost to capacity, {impossible} clips with a target longer than the "
            "CTC output"
        )

    @property
    def ctc_frames(self) -> int:
        """CTC frames a fused token."""
        return self.model_config.ctc_frames

    @property
    def cache(self) -> Path:
        """Where decoded streams are kept: beside the first expert unless the config says."""
        if self.config.data.stream_cache:
            return Path(self.config.data.stream_cache)
        return next(iter(self.experts.values())).workdir.parent / "streams"

    def read(self, clips: ClipDataset) -> Sentences:
        """Streams and labels of a split."""
        return self.label(clips, read_split(self.readers, clips, self.cache, self.config.streams))

    def label(self, clips: ClipDataset, read: SplitStreams) -> Sentences:
        """Fusion targets beside the streams; no prompt, no text."""
        target_ids = [self.senses.encode(labels["senses"]) for labels in clips.targets]
        none = [()] * len(target_ids)
        return Sentences(np.asarray(read.lengths), read, target_ids, none, none)

    def dimensions(self):
        return {"d_model": self.model_config.d_model, "d_hidden": self.model_config.d_hidden}

    def make_model(self, rngs):
        return Fusion(self.model_config, rngs)

    def batches(self, start_step, stop_step=None):
        return read_ahead(self._batch, start_step, stop_step)

    def _batch(self, i: int):
        step = self.plan.step(i).for_process(jax.process_index(), jax.process_count())
        return self.sentences.batch(step, self.capacities[step.bucket_length])

    def loss(self, model: Fusion, batch, key):
        noise_key, dropout_key = jax.random.split(key)
        tokens = add_noise(batch.tokens, batch.index_b, noise_key, self.noise, self.config.streams)
        _, mask_bm, log_probs_bsv = model(tokens, dropout_key)
        loss, counted_b = ctc_sums(log_probs_bsv, mask_bm, batch)
        weight = jnp.sum(jnp.maximum(batch.target_length_b, 1) * counted_b)
        return loss, weight, {}

    def evaluate(self, graphdef, params, split):
        """Token error rate in percent of the fused sequence, all streams present."""
        clips = self.dataset.split(split)
        fused = read_fused(graphdef, params, self.read(clips), self.senses)
        references = [list(labels["senses"]) for labels in clips.targets]
        scores = hosts.broadcast(
            "scoring", lambda: {"token_error_rate": error_counts(references, fused).rate}
        )
        texts = ([" ".join(tokens) for tokens in side] for side in (references, fused))
        return Evaluation(scores, samples_of(clips.ids, *texts))


def read_fused(graphdef, params, sentences: Sentences, senses: Vocabulary) -> list[list[str]]:
    """What fusion says each clip holds, by greedy CTC: token strings, clip by clip, all of them
    on every process.

    graphdef and params: of Fusion, or of a module that has one as its `fusion`.
    """
    own = {}
    for batch in interrupts.until_asked(reading_batches(sentences, 4096)):
        ids_bn = np.asarray(_read_fused(graphdef, params, batch))
        for row, ids in zip(batch.index_b, ids_bn, strict=True):
            if row >= 0:
                own[int(row)] = senses.decode(ids)
    read = hosts.join_rows("reading fused tokens", own)
    return [read.get(i, []) for i in range(len(sentences))]


@functools.partial(jax.jit, static_argnums=0)
def _read_fused(graphdef, params, batch):
    module = nnx.merge(graphdef, params)
    _, mask_bm, log_probs_bsv = getattr(module, "fusion", module)(batch.tokens)
    return read_ctc(log_probs_bsv, mask_bm, FUSED_CAPACITY)[0]
