"""What an expert learns from: clips that have its modality, and their CTC targets."""

import numpy as np

from signbind_jax import ctc, streams
from signbind_jax.config import RunConfig
from signbind_jax.data import folds
from signbind_jax.data.batch import MODALITIES, modality_of, reads_lips
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.frame_rate import trained_fps
from signbind_jax.data.training_plan import training_plan
from signbind_jax.data.vocabulary import BLANK, Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import ExpertEvaluator
from signbind_jax.sources.source import ClipSource, without_empty
from signbind_jax.stages.expert import (
    ExpertShapes,
    check_crops,
    expert_config,
    impossible_clips,
    modality_lengths,
    with_room_for_targets,
)
from signbind_jax.stages.read_streams import ExpertReader


class ExpertSource(ClipSource):
    """Clips for the expert of the stream that `config.stage` names.

    Attributes:
      packs: whether a row holds several clips.
    """

    packs = True

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.stream = streams.get(config.stage)
        train = self.dataset.split(config.data.train)
        self._targets = [labels[self.stream.target] for labels in train.targets]
        self.vocabulary = self._make_vocabulary()
        self._targets = [
            [token for token in target if token in self.vocabulary] for target in self._targets
        ]
        self.vocabularies = {self.stream.vocabulary: self.vocabulary}
        frontend = config.model.get("frontend", self.stream.frontend)
        crops = train.lip_size if frontend in MODALITIES and reads_lips(frontend) else None
        lip_size = crops and crops[0]
        self.model_config = expert_config(config, len(self.vocabulary), lip_size)
        self.lengths = modality_lengths(train, self.model_config.frontend)
        check_crops(self.model_config, train, "config.model.lip_size")
        self._leave_out_unclear(train)
        self._leave_out_long(train)
        self._check_feasible(train)
        self.fps = trained_fps(train.read_labels(), modality_of(self.model_config.frontend))
        self.held_out = self._hold_out(train)
        empty = np.array([not target for target in self._targets])
        self.lengths, note = without_empty(self.lengths, empty, config)
        self.notes += note
        self.plan = training_plan(
            self.lengths, config.data, config.seed, times=train.times, rows=self.packs
        )
        self.target_ids = [self.vocabulary.encode(target) for target in self._targets]
        self.frontend = self.model_config.frontend
        self.target = -(-max(map(len, self.target_ids)) // 8) * 8
        self.shapes = ExpertShapes(
            n_tokens=len(self.vocabulary),
            target=self.target,
            clips_per_row=self.plan.clips_per_row if self.packs else 1,
            lip_size=lip_size,
            subsample=self.model_config.subsample,
        )
        self._tell_plan()

    def _make_vocabulary(self) -> Vocabulary:
        if not any(self._targets):
            raise SignBindError(
                f"{self.config.data.directory}: split {self.config.data.train}: "
                f"found no {self.stream.target} label, wanted some to train "
                f"{self.config.stage}"
            )
        if self.stream.alphabet:
            return Vocabulary(self.stream.vocabulary, (BLANK, *self.stream.alphabet))
        return self._target_vocabulary(self.stream.target, self.stream.vocabulary)

    def _leave_out_unclear(self, train: ClipDataset) -> None:
        """Letters that nobody could tell would be learnt as blanks."""
        if not self.stream.spells:
            return
        unclear = train.unclear & (self.lengths > 0)
        if unclear.any():
            self.lengths = np.where(unclear, 0, self.lengths)
            self.notes.append(
                f"{unclear.sum()} clips left out: something is spelled, but what was not found "
                "(data.spellings)"
            )

    def _leave_out_long(self, train: ClipDataset) -> None:
        longest_s, modality = self.config.data.longest_s, modality_of(self.model_config.frontend)
        if not longest_s:
            return
        fps = [
            clip.modalities[modality].fps if clip.n_frames(modality) else 0.0
            for clip in train.labels
        ]
        is_long = self.lengths > longest_s * np.array(fps)
        n_present = np.count_nonzero(self.lengths)
        if is_long.sum() == n_present:
            raise SignBindError(
                f"config.data.longest_s: found {longest_s:g}, and every clip of split {train.name} "
                f"that {self.config.stage} can learn from is longer, wanted more seconds"
            )
        self.lengths = np.where(is_long, 0, self.lengths)
        self.notes.append(
            f"{is_long.sum()} of {n_present} clips left out: longer than {longest_s:g} s "
            "(data.longest_s)"
        )

    def _check_feasible(self, train: ClipDataset) -> None:
        """Counts the clips whose target is longer than the CTC output, and leaves them out. Where
        they are more than the stated share, the expert takes fewer frames a step; where they are at
        one too, the run refuses to start."""
        needed = np.array([ctc.min_steps(t) for t in self._targets])
        n_present, most = int((self.lengths > 0).sum()), self.config.data.max_impossible
        if not n_present:
            raise SignBindError(
                f"{self.config.data.directory}: split {self.config.data.train}: no "
                f"clip has the modality of frontend "
                f"'{self.model_config.frontend}'"
            )
        asked = self.model_config
        too_short = impossible_clips(needed, self.lengths, asked).sum()
        self.model_config = with_room_for_targets(asked, needed, self.lengths, most)
        impossible = impossible_clips(needed, self.lengths, self.model_config)
        if impossible.sum() > most * n_present:
            steps = self.model_config.n_steps(self.lengths)
            worst = int(np.argmax(np.where(impossible, needed - steps, 0)))
            raise SignBindError(
                f"{self.config.data.directory}: {impossible.sum()} of {n_present} clips have a "
                f"{self.stream.target} target longer than the CTC output, such as "
                f"{train.ids[worst]}: {needed[worst]} steps needed, "
                f"{int(steps[worst])} there at a step a frame; wanted at most "
                f"{100 * most:g} % (data.max_impossible)"
            )
        if self.model_config.subsample < asked.subsample:
            self.notes.append(
                f"{self.model_config.subsample} instead of {asked.subsample} frames a step "
                f"(model.subsample): {too_short} of {n_present} clips were too short for their "
                f"{self.stream.target}"
            )
        self.lengths = np.where(impossible, 0, self.lengths)
        if impossible.any():
            self.notes.append(f"{impossible.sum()} clips left out: target longer than CTC output")

    def _hold_out(self, train: ClipDataset) -> list[str]:
        """Leaves out the clips of the config's fold, and gives their ids. Their tokens stay in the
        vocabulary, which all folds share."""
        fold, by = self.config.data.fold, self.config.data.fold_by
        if not fold:
            return []
        held_out = folds.held_out(train, fold, by)
        self.lengths = np.where(held_out, 0, self.lengths)
        if not self.lengths.any():
            raise SignBindError(
                f"config.data.fold: found {fold}, which holds out every clip of split {train.name} "
                f"that {self.config.stage} can learn from, wanted a smaller part"
            )
        alone = sum(by == folds.RECORDING and not clip.recording for clip in train.labels)
        self.notes.append(
            f"fold {fold} by {by}: {held_out.sum()} of {len(train)} clips held out"
            + (f"; {alone} of no known recording count as one each" if alone else "")
        )
        return [train.ids[i] for i in np.flatnonzero(held_out)]

    def side_files(self):
        if not self.held_out:
            return {}
        return {folds.HELD_OUT: "".join(f"{clip}\n" for clip in self.held_out)}

    def evaluator(self, weights):
        given = self.config.stage, self.model_config, self.vocabulary, weights
        return ExpertEvaluator(ExpertReader(*given, self.config.data.row_frames))
