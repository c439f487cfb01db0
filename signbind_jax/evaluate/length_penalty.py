"""Several length penalties scored on one split, so that another is scored once, with the best."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from signbind_jax.checkpoint import artefact
from signbind_jax.data.dataset import open_dataset
from signbind_jax.distributed import hosts
from signbind_jax.evaluate.evaluators import open_evaluator
from signbind_jax.files import shorten
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.metrics import conventions
from signbind_jax.ranges import fits, hints_of, wanted


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--length_penalties`, read as a list of numbers."""
    hint = hints_of(GenerationConfig)["length_penalty"]

    def read(text: str) -> list[float]:
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if not values or not all(fits(value, hint) for value in values):
            found = f"found {shorten(text)}, wanted numbers with commas between, each"
            raise argparse.ArgumentTypeError(f"{found} {wanted(hint)}")
        return values

    parser.add_argument(
        "--length_penalties",
        type=read,
        metavar="X,X,...",
        help="instead of all scores: BLEU-4 with each of these length penalties, all streams "
        "present, and which is best; choose on validation, then score the test split once",
    )


def choose(
    checkpoint: Path,
    data: Path,
    split: str,
    penalties: Sequence[float],
    settings: Mapping[str, Any],
    *,
    step: int | str = artefact.NEWEST,
    convention: str = "",
) -> dict:
    """BLEU-4 of a split by length penalty, and the best one, of equal ones the first; JSON-ready.

    The beams are searched anew for each: those that are kept depend on it.

    Args:
      settings: other fields of GenerationConfig in place of the run's own.
      convention: whose BLEU-4; empty: sacrebleu's default.

    Raises:
      SignBindError: as of `open_evaluator`; a search without beams, where it decides nothing.
    """
    run = artefact.open_artefact(checkpoint, step)
    clips = open_dataset(data).split(split)
    found: dict[float, float] = {}
    base = open_evaluator(run, settings)
    for penalty in penalties:
        evaluator = base.rewritten({"length_penalty": penalty})
        scored = evaluator.run(clips)
        own = scored.scores["bleu4"]
        by = conventions.bleu4(convention, *scored.lines).value if convention else own
        found[penalty] = hosts.broadcast("scoring", lambda by=by: by)
    best = max(found, key=lambda penalty: found[penalty])
    return {
        "checkpoint": str(checkpoint),
        "step": run.step,
        "stage": run.stage,
        "split": split,
        "generation": dataclasses.asdict(base.rewritten({"length_penalty": best}).generation),
        "convention": convention,
        "bleu4": {f"{penalty:g}": value for penalty, value in found.items()},
        "length_penalty": best,
    }


def show(record: Mapping[str, Any]) -> None:
    """Prints what `choose` found, one line a penalty."""
    print(f"{record['stage']} at step {record['step']} on split {record['split']}")
    for penalty, value in record["bleu4"].items():
        print(f"  length_penalty {penalty:8s} BLEU-4 {value:.2f}")
    print(f"best: --length_penalty={record['length_penalty']:g}")
