"""`signbind crossfit`: one expert of all clips and one a fold that leaves it out."""

import argparse
from pathlib import Path
from typing import Annotated

import numpy as np

from signbind_jax import overrides, streams
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.data import folds
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.mixture import open_data
from signbind_jax.data.stream_cache import ExpertTokens, kept
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.stream_errors import errors_of, spread, target_told
from signbind_jax.metrics.sequence import ErrorCounts
from signbind_jax.ranges import Range, argument
from signbind_jax.stages.read_streams import ExpertReader
from signbind_jax.stages.sections import check_sections
from signbind_jax.stages.unseen_streams import UnseenReader, open_folds
from signbind_jax.sweep import record
from signbind_jax.sweep.command import add_run_arguments, options_of, run_points, show_plan
from signbind_jax.sweep.points import Point, Sweep
from signbind_jax.sweep.record import FINISHED

_FOLDS = Annotated[int, Range(2, folds.MOST_FOLDS)]
_SET_HERE = ("data.fold", "data.fold_by")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind crossfit`; `parse` reads the overrides."""
    overrides.add_arguments(parser, f"an expert: {', '.join(streams.SHIPPED)}, or a .py file")
    parser.add_argument(
        "--workdir",
        required=True,
        type=Path,
        metavar="DIR",
        help="run directories all, fold0, fold1, ...; --config.crossfit.STREAM=DIR of later stages",
    )
    parser.add_argument(
        "--folds",
        type=argument(_FOLDS),
        default=5,
        metavar="K",
        help="parts, each left out by one expert (default: %(default)s)",
    )
    parser.add_argument(
        "--by",
        choices=folds.GROUPS,
        default=folds.RECORDING,
        help="what stays together in a fold (default: %(default)s)",
    )
    add_run_arguments(parser)


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments with `overrides`: dotted path -> text."""
    arguments = overrides.parse(parser, argv)
    if arguments.config is None:
        parser.error("--config: found nothing, wanted an expert such as --config=signing")
    for path in _SET_HERE:
        if path in arguments.overrides:
            parser.error(f"--config.{path}: found it here, wanted --folds and --by, which set it")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Trains an expert of all clips, and for each fold of the training split one that lacks it.

    Runs are ordinary ones: finished ones are skipped, others go on when the same command is given
    again; --point trains one of them alone, such as one task of a SLURM array. At the end it shows
    how wrong each is on the clips that it left out, beside the expert of all clips on those that it
    was trained on. Exit code 1 where a run failed or a signal stopped it, else 0.
    """
    crossfit = load_crossfit(arguments)
    if arguments.report_only:
        return 0 if report(crossfit, arguments.workdir) else 1
    return run_points(arguments, crossfit, lambda: report(crossfit, arguments.workdir))


def load_crossfit(arguments: argparse.Namespace) -> Sweep:
    """The runs, each checked, as points that `sweep/` trains.

    Raises:
      SignBindError: no expert's config; fewer recordings (signers) than folds.
    """
    spec, given, points = arguments.config, arguments.overrides, []
    for k in range(-1, arguments.folds):
        own = (
            {"data.fold": f"{k}/{arguments.folds}", "data.fold_by": arguments.by} if k >= 0 else {}
        )
        config = load_config(spec, given | own)
        if config.stage not in streams.names():
            raise SignBindError(
                f"--config: found {config.stage}, wanted an expert: {', '.join(streams.names())}"
            )
        check_sections(config)
        paths = [f"--config.{path}={text}" for path, text in (given | own).items()]
        command = ("train", f"--config={spec}", *options_of(arguments), *paths)
        name = f"fold{k}" if k >= 0 else folds.ALL
        points.append(Point(k + 1, name, own, config, command))
    data = points[-1].config.data
    if data.directory:  # where it is not given, the sweep says so
        folds.held_out(open_data(data).split(data.train), data.fold, data.fold_by)
    return Sweep(f"crossfit {spec}", dict(given), ("data.fold",), tuple(points))


def report(crossfit: Sweep, workdir: Path) -> bool:
    """Prints how far the runs are, and their errors once all are finished, which it returns."""
    show_plan(crossfit, workdir)
    outcomes = [record.outcome_of(workdir, point) for point in crossfit.points]
    if not all(outcome.state == FINISHED for outcome in outcomes):
        return False
    full = open_artefact(workdir / folds.ALL)
    reader, data = ExpertReader.of(full), full.config.data
    dataset = open_data(data)
    train = dataset.split(data.train)
    others = data.validation not in ("", data.train)
    validation = dataset.split(data.validation) if others else None
    unseen = open_folds(full, reader, workdir, train, validation or train, data.stream_cache)
    for line in _error_lines(unseen, validation):
        print(line)
    print(f"for later stages: --config.crossfit.{full.stage}={workdir}")
    return True


def _error_lines(unseen: UnseenReader, validation) -> list[str]:
    train, full = unseen.train, unseen.full
    some = spread(len(train))
    tokens = unseen.read_split()
    counts = [
        errors_of(full, tokens, train, (unseen.fold_of == k) & some)
        for k in range(len(unseen.folds))
    ]
    shown = [(f"fold{k}, on the clips it left out", count) for k, count in enumerate(counts)]
    shown.append(("all folds, each on its own", sum(counts, ErrorCounts(0, 0, 0, 0))))
    seen = _read_some(unseen, train, some)
    shown.append(
        (f"{folds.ALL}, on {train.name}, which it has seen", errors_of(full, seen, train, some))
    )
    if validation is not None:
        some = spread(len(validation))
        read = _read_some(unseen, validation, some)
        shown.append(
            (f"{folds.ALL}, on {validation.name}", errors_of(full, read, validation, some))
        )
    lines = [f"{what:42s} {c.rate:6.1f} %" for what, c in shown if c.n]
    return [f"wrong tokens, {target_told(full.name, train)}:", *lines]


def _read_some(unseen: UnseenReader, clips: ClipDataset, some: np.ndarray) -> ExpertTokens:
    """What the expert of all clips reads of some; those of the whole split where they are kept."""
    tokens = kept(unseen.cache, clips.digest, unseen.full.digest)
    return tokens or unseen.full.read(clips, hidden=False, chosen=some)
