"""Evaluators: the only way anything is scored, in the training loop and of finished runs."""

import copy
import functools
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from signbind_jax import streams
from signbind_jax.checkpoint.artefact import Artefact
from signbind_jax.data.clip import Clip, TimedToken, exact
from signbind_jax.data.dataset import ClipDataset, DatasetInfo
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import ExpertTokens, SplitStreams, default_cache
from signbind_jax.data.vocabulary import FUSION_TARGETS, Vocabulary
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluation import ClipOutput, Evaluation
from signbind_jax.evaluate.stream_errors import transcripts
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import GenerationConfig, read_options
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.metrics import conventions, names
from signbind_jax.metrics.boundaries import NEAR_S, BoundaryCounts, matches
from signbind_jax.metrics.sequence import error_counts
from signbind_jax.metrics.translation import name_recall, translation_scores
from signbind_jax.overrides import unknown_name
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.language_model import LanguageModelOptions, write_from_text
from signbind_jax.stages.open_experts import open_reader_of
from signbind_jax.stages.read_streams import ExpertReader, StreamReader, Weights, readable
from signbind_jax.stages.segmentation import read_joined_split
from signbind_jax.stages.system import System
from signbind_jax.use.bundle import BundlePart
from signbind_jax.use.translator import Translator

logger = logging.getLogger(__name__)

# Splits in which time alone decides what is right.
TIME_SPLITS = ("role", "lonely_twin", "adjacent_names")


class Evaluator:
    """Scores one stage. Its weights may be those of a run under way: `BatchSource.evaluator`; or
    of a finished one: `open_evaluator`.

    Attributes:
      generation: how sentences are written; None where none are.
    """

    generation: GenerationConfig | None = None

    def run(self, clips: ClipDataset) -> Evaluation:
        """Scores and outputs of a split; every process has to call it, and all get the same.

        Raises:
          Interrupted: on every process, where a signal came to one while a run was under way.
        """
        raise NotImplementedError

    def evaluations(self, clips: ClipDataset, only: Collection[str] = ()) -> dict[str, Evaluation]:
        """What `signbind evaluate` prints of a split, by variant; the last is `run`'s. A stage
        without variants has one without a name.

        only: the variants wanted; empty: all.

        Raises:
          SignBindError: there is no such variant.
        """
        _check_variants(only, ())
        return {"": self.run(clips)}

    def rewritten(self, settings: Mapping[str, Any]) -> "Evaluator":
        """The same, with other fields of GenerationConfig.

        Raises:
          SignBindError: this stage writes no sentences; settings that do not go together.
        """
        if self.generation is None:
            name = next(iter(settings))
            raise SignBindError(f"generation.{name}: found it for a stage that writes no sentences")
        other = copy.copy(self)
        other.generation = generation_config.overridden(self.generation, settings)
        return other

    def streams(self, clips: ClipDataset) -> list[Clip]:
        """The clips without modalities, with what was read in each of those that were there.

        Raises:
          SignBindError: this stage reads text alone.
        """
        raise SignBindError("--streams: found a stage that reads no clips, wanted another")


class ExpertEvaluator(Evaluator):
    """Error rates in percent of an expert's greedy stream, pooled over a split.

    cache: where its streams are kept; None: they are not, as its weights change.
    """

    def __init__(self, reader: ExpertReader, cache: Path | None = None):
        self.reader, self.cache = reader, cache

    def run(self, clips):
        reader, stream = self.reader, streams.get(self.reader.name)
        tokens = self._read(clips)
        present = reader.lengths(clips) > 0
        present, references, hypotheses = transcripts(reader, tokens, clips, present)

        def score() -> dict:
            counts = error_counts(references, hypotheses)
            scores = {
                "n": len(present),
                "absent": len(clips) - len(present),
                "substitutions": counts.s,
                "deletions": counts.d,
                "insertions": counts.i,
                "reference_tokens": counts.n,
            }
            if stream.accuracy:
                htk = error_counts(references, hypotheses, costs="htk")
                htk = {f"{stream.metric}_htk": htk.accuracy}
                return {stream.metric: counts.accuracy} | htk | scores
            return {stream.metric: counts.rate} | scores

        scores = hosts.broadcast("scoring", score)
        logged = {stream.metric: scores[stream.metric]}
        ids = [clips.ids[i] for i in present]
        return Evaluation(scores, _numbers(logged), _outputs(ids, references, hypotheses))

    def streams(self, clips):
        name, vocabulary = self.reader.name, self.reader.vocabulary
        read, lengths = self._read(clips), self.reader.lengths(clips)
        return [
            _with_streams(clip, {name: readable(read, vocabulary, i)} if lengths[i] else {})
            for i, clip in enumerate(clips.labels)
        ]

    def _read(self, clips: ClipDataset) -> ExpertTokens:
        if self.cache is None:
            return self.reader.read(clips, hidden=False)
        return self.reader.read_split(clips, self.cache)


class FusionEvaluator(Evaluator):
    """Token error rate in percent of what fusion reads, all streams present.

    weights: of Fusion, or of a module that has one as its `fusion`.
    """

    def __init__(self, reader: StreamReader, weights: Weights, fusion_targets: Vocabulary):
        self.reader, self.weights, self.fusion_targets = reader, weights, fusion_targets

    def run(self, clips):
        sentences = Sentences.unlabelled(self.reader.read(clips))
        fused = read_fused(*self.weights(), sentences, self.fusion_targets)
        references = [list(labels["fusion_targets"]) for labels in clips.targets]
        rate = hosts.broadcast("scoring", lambda: error_counts(references, fused).rate)
        scores = {"token_error_rate": rate}
        outputs = _outputs(clips.ids, references, fused)
        return Evaluation(scores | {"n": len(clips)}, _numbers(scores), outputs)

    def streams(self, clips):
        return _streams_of(self.reader, clips)


class LanguageModelEvaluator(Evaluator):
    """Scores of sentences that a decoder writes from the true streams as text: `oracle_text`.

    convention: whose BLEU-4 is scored as well; empty: nobody's.
    known: the words of the text that it was trained on; None: not recorded.
    """

    def __init__(
        self,
        weights: Weights,
        tokenizer: TextTokenizer,
        generation: GenerationConfig,
        convention: str = "",
        known: frozenset[str] | None = None,
    ):
        self.weights, self.tokenizer, self.generation = weights, tokenizer, generation
        self.convention, self.known = convention, known

    def run(self, clips):
        hypotheses = write_from_text(*self.weights(), self.tokenizer, clips, self.generation)
        return translation_evaluation(clips, hypotheses, self.convention, self.known)

    def evaluations(self, clips, only=()):
        _check_variants(only, ("oracle_text",))
        return {"oracle_text": self.run(clips)}


class TranslationEvaluator(Evaluator):
    """Scores of what a system translates, all of its streams present or some of them.

    convention, known: as of `LanguageModelEvaluator`.
    """

    def __init__(self, system: System, convention: str = "", known: frozenset[str] | None = None):
        self.system, self.generation = system, system.generation
        self.convention, self.known = convention, known

    def run(self, clips):
        return self.variants(clips, ("all",))["all"]

    def variants(self, clips: ClipDataset, only: Collection[str] = ()) -> dict[str, Evaluation]:
        """By variant (`streams.variants`), of all variants or of those named.

        The score `name_recall_read` is name recall over the names of clips whose letters were
        all read right: what is lost there is lost behind the expert.
        """
        read = self.system.read(clips)
        read_right = self._letters_read_right(read, clips)
        found = {}
        for variant, keep in streams.variants(self.system.streams).items():
            if not only or variant in only:
                hypotheses = self.system.write(read, keep, self.generation, clips.previous)
                found[variant] = translation_evaluation(
                    clips, hypotheses, self.convention, self.known
                )
                found[variant].scores["name_recall_read"] = _name_recall(
                    clips.labels, hypotheses, read_right
                )
        return found

    def time_splits(
        self, dataset: DatasetInfo, only: Collection[str] = ()
    ) -> dict[str, dict[str, float]]:
        """Contrast accuracies in percent: variant (all, or those of `only`) -> time split ->
        value."""
        found = {variant: {} for variant in only or streams.variants(self.system.streams)}
        for split in dataset.splits:
            if split in TIME_SPLITS:
                for variant, row in self.variants(dataset.split(split), only).items():
                    found[variant][split] = row.scores["contrast_accuracy"]
        return found

    def evaluations(self, clips, only=()):
        _check_variants(only, streams.variants(self.system.streams))
        return self.variants(clips, only)

    def streams(self, clips):
        return _streams_of(self.system.reader, clips)

    def _letters_read_right(self, read: SplitStreams, clips: ClipDataset) -> list[bool]:
        spelling = next((name for name in self.system.streams if streams.get(name).spells), "")
        tokens = [self.system.tokens(read, i).get(spelling, []) for i in range(len(clips))]
        return [
            [t.token for t in row] == list(labels["letters"])
            for row, labels in zip(tokens, clips.targets, strict=True)
        ]


class BoundaryEvaluator(Evaluator):
    """How well a segmenter tells where sentences end, of clips that are joined as in training, in
    one order and at the same places for every run.

    row_frames: of the rows it was trained on.
    """

    def __init__(self, weights: Weights, row_frames: int):
        self.weights, self.row_frames = weights, row_frames

    def run(self, clips):
        rows = read_joined_split(self.weights, clips, self.row_frames)
        counts, n_false, n_taken = BoundaryCounts(), 0, 0
        for row in rows:
            counts = counts.plus(matches(row.found, row.true))
            n_false += len(row.false)
            n_taken += sum(any(abs(f - place) <= NEAR_S for f in row.found) for place in row.false)
        scores = {
            "boundary_f1": counts.f1,
            "boundary_precision": counts.precision,
            "boundary_recall": counts.recall,
            "false_joints_taken": 100.0 * n_taken / n_false if n_false else None,
        }
        numbers = {"n": counts.true, "found": counts.found, "false_joints": n_false}
        sides = ([[f"{second:.2f}" for second in row[k]] for row in rows] for k in (2, 1))
        outputs = _outputs([row.name for row in rows], *sides)
        return Evaluation(scores | numbers, _numbers(scores), outputs)


def open_evaluator(run: Artefact, settings: Mapping[str, Any] | None = None) -> Evaluator:
    """What scores a finished run.

    settings: fields of GenerationConfig in place of the run's own.

    Raises:
      SignBindError: a parent that is missing or was trained again since; settings that do not go
        together, or of a stage that writes no sentences.
    """
    settings = settings or {}
    if settings and run.stage not in streams.WRITING:
        raise SignBindError(
            f"generation.{next(iter(settings))}: found it for {run.stage}, which "
            "writes no sentences"
        )
    if run.stage in streams.names():
        return ExpertEvaluator(ExpertReader.of(run), run.workdir.parent / "streams")
    if run.stage == "fusion":
        return FusionEvaluator(
            open_reader_of(run), run.load_params, run.vocabularies[FUSION_TARGETS]
        )
    if run.stage == streams.SEGMENTATION:
        return BoundaryEvaluator(functools.cache(run.load_params), run.config.data.row_frames)
    known = names.read_known_words(run.workdir)
    if known is None:
        logger.warning(
            "%s: found no %s, as of an earlier version: text_name_recall is not scored; start its "
            "`signbind train` once more to have it written",
            run.workdir,
            names.KNOWN_WORDS,
        )
    if run.stage == "language_model":
        own = read_options(LanguageModelOptions, run.config.options).generation
        generation = generation_config.overridden(own, settings)
        weights = functools.cache(run.load_params)
        return LanguageModelEvaluator(weights, run.tokenizer, generation, known=known)
    if isinstance(run, BundlePart):
        system = Translator(run.workdir.parent, settings)
        system.reader.cache = default_cache()  # nothing is written into a bundle
    else:
        system = Translator(run.workdir, settings, step=run.step)
    return TranslationEvaluator(system, known=known)


def translation_evaluation(
    clips: ClipDataset,
    hypotheses: Sequence[str],
    convention: str = "",
    known: frozenset[str] | None = None,
) -> Evaluation:
    """Scores of what was written of a split; `convention` and `known` as of
    `LanguageModelEvaluator`."""
    references = [clip.text for clip in clips.labels]

    def score() -> dict:
        scores = translation_scores(clips.labels, hypotheses, known)
        if convention and references:
            found = conventions.bleu4(convention, references, hypotheses)
            name = f"bleu4_{convention}"
            scores |= {name: found.value, f"{name}_signature": found.signature}
        return scores

    scores = hosts.broadcast("scoring", score)
    logged = {name: value for name, value in scores.items() if isinstance(value, float)}
    if "text_name_recall" in logged:
        logged["n_text_names"] = float(scores["n_text_names"])
    return Evaluation(scores, logged, _outputs(clips.ids, references, hypotheses))


def _check_variants(only: Collection[str], known: Collection[str]) -> None:
    for name in only:
        if name not in known:
            raise SignBindError(unknown_name("--variants", name, known))


def _outputs(ids: Sequence[str], references: Sequence, hypotheses: Sequence) -> list[ClipOutput]:
    """Of token sequences, or of sentences."""
    texts = (
        [x if isinstance(x, str) else " ".join(x) for x in side]
        for side in (references, hypotheses)
    )
    return [ClipOutput(*row) for row in zip(ids, *texts, strict=True)]


def _streams_of(reader: StreamReader, clips: ClipDataset) -> list[Clip]:
    read, without = reader.read(clips), reader.without_input(clips)
    return [
        _with_streams(
            clip,
            {
                name: tokens
                for name, tokens in reader.tokens(read, i).items()
                if i not in without.get(name, ())
            },
        )
        for i, clip in enumerate(clips.labels)
    ]


def _with_streams(clip: Clip, streams: Mapping[str, Sequence[TimedToken]]) -> Clip:
    """A clip that lasts as long as its modalities, and to the end of the last token: an expert's
    last step may end behind the last frame."""
    ends = [t.end for tokens in streams.values() for t in tokens]
    lasting = [frames.seconds for frames in clip.modalities.values()]
    seconds = exact(max([clip.seconds, *lasting, *ends]))
    rows = {name: tuple(tokens) for name, tokens in streams.items()}
    return replace(clip, modalities={}, streams=rows, seconds=seconds)


def _numbers(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Without those that nothing was there to be scored by, such as reference tokens."""
    return {name: float(value) for name, value in scores.items() if value is not None}


def _name_recall(
    clips: Sequence[Clip], hypotheses: Sequence[str], chosen: Sequence[bool]
) -> float | None:
    """In percent, over the clips chosen."""
    kept = [(c, h) for c, h, wanted in zip(clips, hypotheses, chosen, strict=True) if wanted]
    return name_recall(
        [c.text for c, _ in kept], [h for _, h in kept], [c.spelled for c, _ in kept]
    ).value
