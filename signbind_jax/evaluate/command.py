"""Scores of a trained stage on a split: error rates of experts, translations by variant."""

import argparse
import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from signbind_jax import files, streams
from signbind_jax.checkpoint import artefact
from signbind_jax.data.dataset import ClipDataset, DatasetInfo, open_dataset
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import GenerationConfig, read_options
from signbind_jax.metrics.sequence import error_counts
from signbind_jax.metrics.translation import name_recall, translation_scores
from signbind_jax.stages.expert import modality_lengths
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.language_model import LanguageModelOptions, write_from_text
from signbind_jax.stages.read_streams import ExpertReader, open_experts_of, read_split
from signbind_jax.use.translate import Translator

# Splits in which time alone decides what is right.
TIME_SPLITS = ("role", "lonely_twin", "adjacent_names")


def evaluate_expert(expert: artefact.Artefact, clips: ClipDataset, cache: Path) -> dict:
    """Error rates in percent of an expert's greedy stream, pooled over the split."""
    name, stream = expert.stage, streams.get(expert.stage)
    vocabulary = expert.vocabularies[stream.vocabulary]
    tokens = read_split({name: ExpertReader(expert)}, clips, cache, (name,)).experts[name]
    present = np.flatnonzero(modality_lengths(clips, expert.model["config"]["frontend"]) > 0)
    references = [list(clips.targets[i][stream.target]) for i in present]
    hypotheses = [vocabulary.decode(tokens.ids[tokens.of(i)]) for i in present]
    counts = error_counts(references, hypotheses)
    scores = {
        "n": len(present),
        "absent": len(clips) - len(present),
        "overflow": int(tokens.overflow.sum()),
        "substitutions": counts.s,
        "deletions": counts.d,
        "insertions": counts.i,
        "reference_tokens": counts.n,
    }
    if stream.accuracy:
        htk = error_counts(references, hypotheses, costs="htk")
        return {stream.metric: counts.accuracy, f"{stream.metric}_htk": htk.accuracy} | scores
    return {stream.metric: counts.rate} | scores


def evaluate_fusion(run: artefact.Artefact, clips: ClipDataset, cache: Path) -> dict:
    """Token error rate in percent of what fusion reads.

    run: of any stage that has a fusion; its experts stand in its parents.
    """
    readers = {name: ExpertReader(expert) for name, expert in open_experts_of(run).items()}
    sentences = Sentences.unlabelled(read_split(readers, clips, cache, run.config.streams))
    graphdef, params = run.load_params()
    fused = read_fused(graphdef, params, sentences, run.vocabularies["senses"])
    references = [list(labels["senses"]) for labels in clips.targets]
    return {"token_error_rate": error_counts(references, fused).rate, "n": len(clips)}


def evaluate_translation(
    system: Translator, clips: ClipDataset, only: Collection[str] = ()
) -> tuple[dict, dict]:
    """Scores and sentences by variant, of all variants or of those named.

    `name_recall_read` is name recall over the names of clips whose letters were all read
    right: what is lost there is lost behind the expert.
    """
    read = system.read(clips)
    read_right = _letters_read_right(system, read, clips)
    scores, sentences = {}, {}
    for variant, keep in streams.variants(system.streams).items():
        if only and variant not in only:
            continue
        hypotheses = system.write(read, keep)
        scores[variant] = translation_scores(clips.labels, hypotheses)
        kept = [(c, h) for c, h, right in zip(clips.labels, hypotheses, read_right) if right]
        recall = name_recall(
            [c.text for c, _ in kept], [h for _, h in kept], [c.spelled for c, _ in kept]
        )
        scores[variant]["name_recall_read"] = recall.value
        sentences[variant] = hypotheses
    return scores, sentences


def evaluate_time_splits(
    system: Translator, dataset: DatasetInfo, only: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """Contrast accuracies in percent: variant (all, or those of `only`) -> time split -> value."""
    scores = {variant: {} for variant in only or streams.variants(system.streams)}
    for split in dataset.splits:
        if split in TIME_SPLITS:
            by_variant, _ = evaluate_translation(system, dataset.split(split), only)
            for variant, row in by_variant.items():
                scores[variant][split] = row["contrast_accuracy"]
    return scores


def evaluate_language_model(
    model: artefact.Artefact, clips: ClipDataset, generation: GenerationConfig | None = None
) -> tuple[dict, list]:
    """Scores and sentences of the LLM fed the true streams as text: `oracle_text`.

    generation: how they are written; None: as the run's own config says.
    """
    graphdef, params = model.load_params()
    generation = generation or read_options(LanguageModelOptions, model.config.options).generation
    hypotheses = write_from_text(graphdef, params, model.tokenizer, clips, generation)
    return translation_scores(clips.labels, hypotheses), hypotheses


def evaluate(
    checkpoint: Path,
    data: Path,
    split: str,
    settings: Mapping[str, Any] | None = None,
    *,
    step: int | str = artefact.NEWEST,
) -> dict:
    """Scores of any stage on a split of a dataset, JSON-ready.

    Args:
      settings: fields of GenerationConfig in place of the run's own. What sentences were written
        with stands under `generation`.
      step: see `artefact.open_artefact`.

    Raises:
      SignBindError: no such run, dataset or split; settings that do not go together, or of a
        stage that writes no sentences.
    """
    settings = settings or {}
    run = artefact.open_artefact(checkpoint, step)
    clips = open_dataset(data).split(split)
    record = {"checkpoint": str(checkpoint), "step": run.step, "stage": run.stage, "split": split}
    if settings and run.stage in (*streams.names(), "fusion"):
        raise SignBindError(
            f"generation.{next(iter(settings))}: found it for {run.stage}, which "
            "writes no sentences"
        )
    if run.stage in streams.names():
        return record | {"scores": evaluate_expert(run, clips, checkpoint.parent / "streams")}
    if run.stage == "language_model":
        own = read_options(LanguageModelOptions, run.config.options).generation
        generation = generation_config.overridden(own, settings)
        scores = {"oracle_text": evaluate_language_model(run, clips, generation)[0]}
        return record | {"generation": dataclasses.asdict(generation), "scores": scores}
    if run.stage == "fusion":
        return record | {"scores": evaluate_fusion(run, clips, run.workdir.parent / "streams")}
    system = Translator(checkpoint, settings, step=step)
    scores = evaluate_translation(system, clips)[0]
    return record | {"generation": dataclasses.asdict(system.generation), "scores": scores}


def _letters_read_right(system: Translator, read: SplitStreams, clips: ClipDataset) -> list[bool]:
    spelling = next((name for name in system.streams if streams.get(name).spells), "")
    tokens = [system.tokens(read, i).get(spelling, []) for i in range(len(clips))]
    return [
        [t.token for t in row] == list(labels["letters"])
        for row, labels in zip(tokens, clips.targets, strict=True)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind evaluate`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="DIR",
        help="run directory of any trained stage",
    )
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        metavar="DIR",
        help="a dataset written by `signbind data build`",
    )
    parser.add_argument("--split", default="test", help="default: test")
    artefact.add_step_argument(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores here")
    generation_config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """`signbind evaluate`: prints one line a score, below how the sentences were written."""
    settings = generation_config.given(arguments)
    record = evaluate(
        arguments.checkpoint, arguments.data, arguments.split, settings, step=arguments.step
    )
    print(f"{record['stage']} at step {record['step']} on split {record['split']}")
    if "generation" in record:
        print(f"  generation: {GenerationConfig(**record['generation'])}")
    for name, value in _lines(record["scores"]):
        print(f"  {name:45s} {value}")
    if arguments.json and hosts.is_primary():
        files.write_json(arguments.json, record)
    return 0


def _lines(scores: dict, prefix: str = ""):
    for name, value in scores.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{name}/")
        else:
            yield prefix + name, f"{value:.2f}" if isinstance(value, float) else value
