"""`signbind evaluate`: scores of a trained stage on a split."""

import argparse
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signbind_jax import files
from signbind_jax.checkpoint import artefact
from signbind_jax.data.dataset import ClipDataset, open_dataset
from signbind_jax.distributed import hosts
from signbind_jax.evaluate.evaluators import Evaluator, open_evaluator
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import GenerationConfig

logger = logging.getLogger(__name__)


def evaluate(
    checkpoint: Path,
    data: Path,
    split: str,
    settings: Mapping[str, Any] | None = None,
    *,
    step: int | str = artefact.NEWEST,
    streams: Path | None = None,
) -> dict:
    """Scores of any stage on a split of a dataset, JSON-ready.

    Args:
      settings: fields of GenerationConfig in place of the run's own. What sentences were written
        with stands under `generation`.
      step: see `artefact.open_artefact`.
      streams: where to write what was read in the clips, see `readers.token_streams`.

    Raises:
      SignBindError: no such run, dataset or split; see also `open_evaluator`.
    """
    run = artefact.open_artefact(checkpoint, step)
    clips = open_dataset(data).split(split)
    evaluator = open_evaluator(run, settings)
    record = {"checkpoint": str(checkpoint), "step": run.step, "stage": run.stage, "split": split}
    if evaluator.generation:
        record["generation"] = dataclasses.asdict(evaluator.generation)
    if streams:
        _write_streams(streams, evaluator, clips)
    return record | {"scores": evaluator.report(clips)}


def _write_streams(path: Path, evaluator: Evaluator, clips: ClipDataset) -> None:
    """Writes the clips in which streams were read, and tells how many there are without."""
    from signbind_jax.data_pipelines.readers.token_streams import check_name, write_clips

    check_name(path)
    having = [clip for clip in evaluator.streams(clips) if clip.streams]
    if len(having) < len(clips):
        logger.warning(
            "%s: left out %d of %d clips: nothing reads what they hold",
            path,
            len(clips) - len(having),
            len(clips),
        )
    if hosts.is_primary():
        write_clips(path, having, clips.name)


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
    parser.add_argument(
        "--streams",
        type=Path,
        metavar="FILE",
        help="also write what was read in the clips, with its times, as .jsonl or .jsonl.gz that "
        "signbind data build streams and signbind translate read",
    )
    generation_config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """`signbind evaluate`: prints one line a score, below how the sentences were written."""
    settings = generation_config.given(arguments)
    record = evaluate(
        arguments.checkpoint,
        arguments.data,
        arguments.split,
        settings,
        step=arguments.step,
        streams=arguments.streams,
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
