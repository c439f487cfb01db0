"""`signbind sweep`: a stage trained at every point of a grid, and one table of the scores."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from signbind_jax import files, overrides, versions
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Count, Whole, argument
from signbind_jax.sweep import record, table
from signbind_jax.sweep.local import train_points
from signbind_jax.sweep.points import Point, Sweep, load_sweep
from signbind_jax.sweep.record import FAILED, FINISHED
from signbind_jax.train import command

PAGE_FILE = "sweep.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind sweep`; `parse` reads the overrides."""
    overrides.add_arguments(
        parser,
        "a module of configs/sweeps/ or a .py file with get_config(arg) and get_hyper(h)",
        "sweeps/NAME[:ARG]",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        type=Path,
        metavar="DIR",
        help="one run directory a point, sweep.csv and sweep.html",
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="what ranks the points (default: the stage's own score)"
    )
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how points are trained, as `run_points` reads them."""
    parser.add_argument(
        "--jobs",
        type=argument(Count),
        default=1,
        metavar="N",
        help="points at a time, each on its share of the cores; for CPUs (default: 1)",
    )
    parser.add_argument(versions.OPTION, action="store_true", help=versions.HELP)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--dry_run", action="store_true", help="shows the points; trains nothing")
    kind.add_argument(
        "--print_commands",
        action="store_true",
        help="prints index, tab, command of every point; trains nothing",
    )
    kind.add_argument(
        "--point",
        type=argument(Whole),
        metavar="I",
        help="trains point I alone, in this process, such as one task of a SLURM "
        "array; --report_only makes the table afterwards",
    )
    kind.add_argument(
        "--report_only",
        action="store_true",
        help="makes the table again from what is on disk; needs --workdir alone",
    )


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments with `overrides`: dotted path -> text."""
    arguments = overrides.parse(parser, argv)
    if arguments.config is None and not arguments.report_only:
        parser.error("--config: found nothing, wanted a sweep such as --config=sweeps/NAME")
    if arguments.report_only and arguments.overrides:
        parser.error(
            f"--config.{next(iter(arguments.overrides))}: found beside --report_only, "
            "which reads --workdir alone"
        )
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Trains a stage at every point of a grid of config values and ranks them.

    Finished points are skipped, others go on: run the same command again after an interruption.
    Exit code 1 where a point failed or a signal stopped the sweep, else 0.
    """
    workdir = arguments.workdir
    if arguments.report_only:
        report(workdir, arguments.metric)
        return 0
    sweep = load_sweep(arguments.config, arguments.overrides, options_of(arguments))
    return run_points(arguments, sweep, lambda: report(workdir, arguments.metric))


def options_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Further arguments of each point's `signbind train`."""
    return (versions.OPTION,) if arguments.other_versions else ()


def run_points(arguments: argparse.Namespace, sweep: Sweep, make_report: Callable[[], bool]) -> int:
    """Shows or trains points, all or one of them, as `add_run_arguments` has it; the exit code.

    make_report: tells what came of all of them, and whether every one is finished.
    """
    workdir = arguments.workdir
    if arguments.print_commands:
        for point in sweep.points:
            print(f"{point.index}\t{shlex.join(['signbind', *point.command(workdir)])}")
        return 0
    if arguments.dry_run:
        show_plan(sweep, workdir)
        return 0
    if arguments.point is not None:
        return _train_one(sweep, arguments.point, workdir)
    return _train_all(sweep, workdir, arguments.jobs, make_report)


def report(workdir: Path, metric: str | None = None) -> bool:
    """Writes sweep.csv and sweep.html from what is on disk and prints the table.

    Returns:
      Whether every point is finished.

    Raises:
      SignBindError: no sweep there; no such metric.
    """
    from signbind_jax.sweep.page import write_sweep_page  # its charts take a second to import

    found = record.read_record(workdir)
    ranking = table.rank(found, metric)
    table.write_csv(found, workdir / table.CSV_FILE)
    write_sweep_page(workdir / PAGE_FILE, found, ranking)
    table.show(found, ranking)
    print(f"table: {workdir / table.CSV_FILE}\npage:  {workdir / PAGE_FILE}")
    return all(outcome.state == FINISHED for outcome in found.outcomes)


def _train_all(sweep: Sweep, workdir: Path, jobs: int, make_report: Callable[[], bool]) -> int:
    conditions = {point.index: record.conditions(point.config) for point in sweep.points}
    for point in sweep.points:
        record.check_point(workdir, point, conditions[point.index])
    record.write_record(workdir, sweep)
    through = train_points(sweep.points, workdir, jobs, conditions)
    finished = make_report()
    if not through:
        print("stopped by a signal; run the same command to go on")
    return 0 if through and finished else 1


def _train_one(sweep: Sweep, index: int, workdir: Path) -> int:
    if not 0 <= index < len(sweep.points):
        raise SignBindError(
            f"--point: found {index}, wanted 0 to {len(sweep.points) - 1}: "
            f"{sweep.spec} has {len(sweep.points)} points"
        )
    point = sweep.points[index]
    conditions = record.conditions(point.config)
    record.check_point(workdir, point, conditions)
    record.write_record(workdir, sweep)
    if record.outcome_of(workdir, point).state == FINISHED:
        print(f"{point.name}: finished already")
        return 0
    record.note_start(workdir, point, conditions)
    lock_file = workdir / point.name / record.LOCK_FILE
    with files.trying_to_lock(lock_file, shared=True) as lock:
        if lock is None:
            raise SignBindError(
                f"{workdir / point.name}: a sweep trains this point already; wait "
                "for it, or stop it"
            )
        return _train_here(point, workdir)


def _train_here(point: Point, workdir: Path) -> int:
    """`signbind train` in this process, so that several hosts can train one point together."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = command.parse(parser, point.command(workdir)[1:])
    try:
        return command.run(arguments)
    except Exception as error:
        kind = "" if isinstance(error, SignBindError) else f"{type(error).__name__}: "
        record.note_failure(workdir, point, f"{kind}{error}")
        raise


def show_plan(sweep: Sweep, workdir: Path) -> None:
    """Prints how far each point is."""
    outcomes = [record.outcome_of(workdir, point) for point in sweep.points]
    for outcome in outcomes:
        print(
            f"{outcome.index:4d}  {outcome.name}: {outcome.steps} steps, "
            f"{table.state_told(outcome)}"
        )
    left = sum(o.steps - o.step for o in outcomes if o.state != FINISHED)
    again = sum(o.state == FAILED for o in outcomes)
    print(
        f"{len(outcomes)} points of {sweep.stage}, {left} steps to go"
        + (f"; {again} failed and would be tried again" if again else "")
    )
