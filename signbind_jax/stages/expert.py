"""Stage 1: an expert learns to read its own modality with CTC."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from signbind_jax import ctc, streams
from signbind_jax.config import RunConfig, from_mapping
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.batch import RowBatch, collate, reads_lips
from signbind_jax.data.batch_plan import EMPTY_ROW, EvaluationPlan, Step
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.loader import clip_batches
from signbind_jax.data.mixture import open_data
from signbind_jax.data.preprocess import prepare_lips, prepare_pose
from signbind_jax.data.row_plan import reading_plan
from signbind_jax.data.training_plan import training_plan
from signbind_jax.data.vocabulary import BLANK, Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.metrics.sequence import error_counts
from signbind_jax.models.expert import Expert, ExpertConfig
from signbind_jax.models.token_stream import TokenStream
from signbind_jax.processes import interrupts
from signbind_jax.stages.stage import Evaluation, Stage, samples_of


def modality_lengths(dataset: ClipDataset, frontend: str) -> np.ndarray:
    """Frames of the modality that a frontend reads, by clip; 0 where absent."""
    return dataset.lengths("lips" if reads_lips(frontend) else "pose")


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


@functools.partial(jax.jit, static_argnums=(0, 3))
def read_batch(graphdef, params, batch: RowBatch, capacity: int) -> TokenStream:
    """What an expert reads from a batch, times in seconds, at most `capacity` tokens a clip."""
    model: Expert = nnx.merge(graphdef, params)
    output = model(*prepare(batch, model.config.frontend))
    seconds_bg = model.seconds_per_step(jnp.maximum(batch.fps_bg, 1.0))
    return ctc.greedy_stream(
        output.log_probs_bsv, output.hidden_bsd, output.clip_bs, seconds_bg, capacity
    )


class ExpertStage(Stage):
    """Trains the expert of the stream that `config.stage` names."""

    unit = "frames"

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.name = config.stage
        self.stream = streams.get(self.name)
        self.main_metric = self.stream.metric
        self.dataset = open_data(config.data)
        self.augment = from_mapping(AugmentConfig, config.augment, "config.augment")
        train = self.dataset.split(config.data.train)
        self._targets = {config.data.train: self._labels(train)}
        self.vocabulary = self._make_vocabulary()
        self.vocabularies = {self.stream.vocabulary: self.vocabulary}
        self.model_config = self._model_config(len(self.vocabulary))
        self.lengths = modality_lengths(train, self.model_config.frontend)
        self._check_crops(train)
        self._check_feasible(train)
        self._thin_empty()
        self.plan = training_plan(
            self.lengths, config.data, config.seed, times=train.times, rows=True
        )
        self.target_ids = [self.vocabulary.encode(t) for t in self._targets[config.data.train]]
        self.target_capacity = -(-max(map(len, self.target_ids)) // 8) * 8
        self.notes.append(
            f"{self.plan.n_clips} clips, {self.plan.steps_per_epoch} steps an epoch, "
            f"{100 * self.plan.fill:.1f} % of the frames are real"
        )

    def assume(self, sizes):
        self.name = self.config.stage
        self.stream = streams.get(self.name)
        self.augment = from_mapping(AugmentConfig, self.config.augment, "config.augment")
        alphabet = self.stream.alphabet
        self.model_config = self._model_config(1 + len(alphabet) if alphabet else sizes.vocabulary)
        self.target_capacity = -(-sizes.target // 8) * 8

    def empty_batch(self, length):
        shape = 1, self.config.assumed.clips_per_row
        step = Step(length, np.full(shape, EMPTY_ROW, np.int32), np.zeros(shape, np.int32))
        size = self.model_config.lip_size
        frontend = self.model_config.frontend
        return collate([], step, frontend, [], self.target_capacity, lip_size=(size, size))

    def _model_config(self, n_tokens: int) -> ExpertConfig:
        given = self.config.model | {"n_tokens": n_tokens}
        return from_mapping(
            ExpertConfig, {"frontend": self.stream.frontend} | given, "config.model"
        )

    def _labels(self, split: ClipDataset) -> list[tuple[str, ...]]:
        return [labels[self.stream.target] for labels in split.targets]

    def _make_vocabulary(self) -> Vocabulary:
        if self.stream.alphabet:
            return Vocabulary(self.stream.vocabulary, (BLANK, *self.stream.alphabet))
        targets = self._targets[self.config.data.train]
        if not any(targets):
            raise SignBindError(
                f"{self.config.data.directory}: split {self.config.data.train}: "
                f"found no {self.stream.target} label, wanted some to train "
                f"{self.name}"
            )
        return Vocabulary.from_sequences(self.stream.vocabulary, targets)

    def _check_crops(self, train: ClipDataset) -> None:
        size = self.model_config.lip_size
        if reads_lips(self.model_config.frontend) and train.lip_size not in (None, (size, size)):
            found = "x".join(map(str, train.lip_size))
            raise SignBindError(
                f"config.model.lip_size: found {size}, wanted that of the crops of "
                f"{self.config.data.directory}, {found}"
            )

    def _check_feasible(self, train: ClipDataset) -> None:
        """Counts the clips whose target is longer than the CTC output, leaves them out, and
        refuses to start when they are more than the stated share."""
        needed = np.array([ctc.min_steps(t) for t in self._targets[self.config.data.train]])
        impossible = impossible_clips(needed, self.lengths, self.model_config)
        n_present = int((self.lengths > 0).sum())
        if not n_present:
            raise SignBindError(
                f"{self.config.data.directory}: split {self.config.data.train}: no "
                f"clip has the modality of frontend "
                f"'{self.model_config.frontend}'"
            )
        share = impossible.sum() / n_present
        if share > self.config.data.max_impossible:
            steps = self.model_config.n_steps(self.lengths)
            worst = int(np.argmax(np.where(impossible, needed - steps, 0)))
            raise SignBindError(
                f"{self.config.data.directory}: {impossible.sum()} of {n_present} clips have a "
                f"{self.stream.target} target longer than the CTC output, such as "
                f"{train.ids[worst]}: {needed[worst]} steps needed, "
                f"{int(steps[worst])} there; wanted at most "
                f"{100 * self.config.data.max_impossible:g} % (data.max_impossible); lower "
                f"model.subsample (now {self.model_config.subsample})"
            )
        self.lengths = np.where(impossible, 0, self.lengths)
        if impossible.any():
            self.notes.append(f"{impossible.sum()} clips left out: target longer than CTC output")

    def _thin_empty(self) -> None:
        """Leaves out the stated share of the clips whose target is empty."""
        empty = np.array([not t for t in self._targets[self.config.data.train]])
        chance = np.random.Generator(np.random.Philox(key=[self.config.seed, 0]))
        left_out = empty & (self.lengths > 0)
        left_out &= chance.random(len(empty)) >= self.config.data.keep_empty
        self.lengths = np.where(left_out, 0, self.lengths)
        if left_out.any():
            self.notes.append(
                f"{left_out.sum()} of {empty.sum()} clips with an empty target left "
                "out (data.keep_empty)"
            )

    def dimensions(self):
        return {"d_model": self.model_config.d_model, "n_tokens": len(self.vocabulary)}

    def make_model(self, rngs):
        return Expert(self.model_config, rngs)

    def batches(self, start_step, stop_step=None):
        return clip_batches(
            self.dataset.split(self.config.data.train),
            self.plan,
            self.model_config.frontend,
            self.target_ids,
            self.target_capacity,
            start_step=start_step,
            stop_step=stop_step,
            threads=self.config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def loss(self, model, batch: RowBatch, key):
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
        return jnp.sum(loss_bg * counted_bg), weight, {"infeasible": infeasible}

    def evaluate(self, graphdef, params, split):
        """Error rates in percent of greedy decoding, pooled over the split."""
        clips = self.dataset.split(split)
        if split not in self._targets:
            self._targets[split] = self._labels(clips)
        references = self._targets[split]
        frontend = self.model_config.frontend
        lengths = modality_lengths(clips, frontend)
        data = self.config.data
        plan = reading_plan(lengths, data.row_frames, batch_multiple=data.batch_multiple)
        own_part = EvaluationPlan([plan.step(i) for i in hosts.own_steps(plan.n_steps)])
        empty = [[] for _ in references]
        own, overflow = {}, 0
        batches = clip_batches(clips, own_part, frontend, empty, 8)
        for batch in interrupts.until_asked(batches):
            stream = jax.device_get(read_batch(graphdef, params, batch, self.stream.capacity))
            overflow += int(stream.overflow_bg.sum())
            for row, place in zip(*np.nonzero(batch.valid_bg), strict=True):
                ids = stream.ids_bn[row, stream.clip_bn[row] == place]
                own[int(batch.index_bg[row, place])] = self.vocabulary.decode(ids)
        hypotheses = hosts.join_rows(f"reading {split}", own)
        overflow = sum(hosts.all_gather("counting overflow", overflow))
        present = np.flatnonzero(lengths > 0)

        def score() -> float:
            counts = error_counts(
                [list(references[i]) for i in present], [hypotheses[i] for i in present]
            )
            return counts.accuracy if self.stream.accuracy else counts.rate

        value = hosts.broadcast("scoring", score)
        samples = samples_of(
            [clips.ids[i] for i in present],
            [" ".join(references[i]) for i in present],
            [" ".join(hypotheses[i]) for i in present],
        )
        return Evaluation({self.stream.metric: value, "overflow": float(overflow)}, samples)
