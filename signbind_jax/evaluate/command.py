"""`signbind evaluate`: scores of a trained stage on a split."""

import argparse
import dataclasses
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from signbind_jax import files
from signbind_jax.checkpoint import artefact
from signbind_jax.data import folds
from signbind_jax.data.dataset import ClipDataset, open_dataset
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate import length_penalty
from signbind_jax.evaluate.evaluation import Evaluation
from signbind_jax.evaluate.evaluators import Evaluator, open_evaluator
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.metrics import conventions
from signbind_jax.use.opening import open_stage

logger = logging.getLogger(__name__)


def evaluate(
    checkpoint: Path,
    data: Path,
    split: str,
    settings: Mapping[str, Any] | None = None,
    *,
    step: int | str = artefact.NEWEST,
    convention: str = "",
    variants: Collection[str] = (),
    hypotheses: Path | None = None,
    references: Path | None = None,
    streams: Path | None = None,
    held_out: bool = False,
) -> dict:
    """Scores of any stage on a split of a dataset, JSON-ready.

    Args:
      settings: fields of GenerationConfig in place of the run's own. What sentences were written
        with stands under `generation`.
      step: see `artefact.open_artefact`.
      convention: one of `conventions.CONVENTIONS` to score by instead, each score as its value
        and signature.
      variants: those to score, where the stage has some; empty: all.
      hypotheses, references: where to write what was scored, of several variants the
        last, which has all streams: one line a clip, as `signbind score` reads it.
      streams: where to write what was read in the clips, see `readers.token_streams`.
      held_out: whether those are left out that the expert was trained on, see `folds`.

    Raises:
      SignBindError: no such run, dataset or split; see also `open_evaluator`.
    """
    run = open_stage(checkpoint, step)
    clips = open_dataset(data).split(split)
    evaluator = open_evaluator(run, settings)
    record = {"checkpoint": str(checkpoint), "step": run.step, "stage": run.stage, "split": split}
    if evaluator.generation:
        record["generation"] = dataclasses.asdict(evaluator.generation)
    if streams:
        kept = folds.held_out_ids(run.workdir) if held_out else None
        _write_streams(streams, evaluator, clips, kept)
    found = evaluator.evaluations(clips, variants)
    written = list(found.values())[-1].lines
    for path, lines in zip((references, hypotheses), written, strict=True):
        if path and hosts.is_primary():
            files.write(path, "".join(f"{line}\n" for line in lines))
    scores = {name: _scores(row, convention) for name, row in found.items()}
    return record | {"scores": scores.get("", scores)}


def _scores(row: Evaluation, convention: str) -> dict:
    if not convention:
        return row.scores

    def score() -> dict:
        found = conventions.CONVENTIONS[convention].scores(*row.lines)
        return {s.name: {"value": s.value, "signature": s.signature} for s in found}

    return hosts.broadcast("scoring", score)


def _write_streams(
    path: Path, evaluator: Evaluator, clips: ClipDataset, only: Collection[str] | None
) -> None:
    """Writes the clips in which streams were read, and tells how many there are without.

    only: ids of those wanted; None: all.
    """
    from signbind_jax.data_pipelines.readers.token_streams import check_name, write_clips

    check_name(path)
    read = [clip for clip in evaluator.streams(clips) if only is None or clip.id in only]
    having = [clip for clip in read if clip.streams]
    if len(having) < len(read):
        logger.warning(
            "%s: left out %d of %d clips: nothing reads what they hold",
            path,
            len(read) - len(having),
            len(read),
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
        help="run directory of any trained stage, or a bundle's, or its hub id",
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
        "--convention",
        default="",
        choices=conventions.CONVENTIONS,
        help="who to score like, see `signbind score --help`; default: scores of our own choice",
    )
    parser.add_argument(
        "--variants",
        default="",
        metavar="NAME,...",
        help="score translations of these streams alone, such as `all`; default: every variant",
    )
    for name in ("hypotheses", "references"):
        parser.add_argument(
            f"--{name}",
            type=Path,
            metavar="FILE",
            help=f"write the {name} here, one line a clip, as `signbind score` reads them",
        )
    parser.add_argument(
        "--streams",
        type=Path,
        metavar="FILE",
        help="also write what was read in the clips, with its times, as .jsonl or .jsonl.gz that "
        "signbind data build streams and signbind translate read",
    )
    parser.add_argument(
        "--held_out",
        action="store_true",
        help="into --streams only the clips that this fold of `signbind crossfit` left out",
    )
    length_penalty.add_argument(parser)
    generation_config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """`signbind evaluate`: prints one line a score, below how the sentences were written."""
    settings = generation_config.given(arguments)
    if arguments.held_out and not arguments.streams:
        raise SignBindError("--held_out: found it alone, wanted it beside --streams")
    if arguments.length_penalties:
        _choose_length_penalty(arguments, settings)
        return 0
    record = evaluate(
        arguments.checkpoint,
        arguments.data,
        arguments.split,
        settings,
        step=arguments.step,
        convention=arguments.convention,
        variants=[name for name in arguments.variants.split(",") if name],
        hypotheses=arguments.hypotheses,
        references=arguments.references,
        streams=arguments.streams,
        held_out=arguments.held_out,
    )
    print(f"{record['stage']} at step {record['step']} on split {record['split']}")
    if "generation" in record:
        print(f"  generation: {GenerationConfig(**record['generation'])}")
    for name, value in _lines(record["scores"]):
        print(f"  {name:45s} {value}")
    if arguments.json and hosts.is_primary():
        files.write_json(arguments.json, record)
    return 0


def _choose_length_penalty(arguments: argparse.Namespace, settings: dict) -> None:
    for name in ("variants", "hypotheses", "references", "streams", "length_penalty"):
        if getattr(arguments, name) not in ("", None):
            raise SignBindError(
                f"--{name}: found it beside --length_penalties, wanted it once one is chosen"
            )
    place = arguments.checkpoint, arguments.data, arguments.split, arguments.length_penalties
    record = length_penalty.choose(
        *place, settings, step=arguments.step, convention=arguments.convention
    )
    length_penalty.show(record)
    if arguments.json and hosts.is_primary():
        files.write_json(arguments.json, record)


def _lines(scores: dict, prefix: str = ""):
    for name, value in scores.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{name}/")
        else:
            yield prefix + name, f"{value:.2f}" if isinstance(value, float) else value
