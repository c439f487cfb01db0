"""`signbind train`: one stage, from a config and overrides."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from signbind_jax import overrides, streams, versions
from signbind_jax.config import load_config
from signbind_jax.distributed import hosts
from signbind_jax.errors import interrupted_code
from signbind_jax.stages.sections import resolved
from signbind_jax.train.loop import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind train`; `parse` reads the overrides."""
    shipped = ", ".join((*streams.SHIPPED, *streams.NOT_EXPERTS))
    overrides.add_arguments(
        parser, f"a module of configs/ ({shipped}) or a .py file with get_config(arg)"
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        metavar="DIR",
        help="checkpoints, metrics and logs; an interrupted run goes on",
    )
    parser.add_argument(versions.OPTION, action="store_true", help=versions.HELP)
    parser.add_argument(
        "--print_config",
        action="store_true",
        help="prints every value of the config as it would train, and its digest; starts and "
        "writes nothing, and needs no --workdir",
    )


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments with `overrides`: dotted path -> text."""
    arguments = overrides.parse(parser, argv)
    needed = ("config",) if arguments.print_config else ("config", "workdir")
    if missing := [f"--{name}" for name in needed if not getattr(arguments, name)]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Trains one stage; run the same command again to go on with an interrupted run.

    SIGTERM or Ctrl-C stops it after the step in flight, saved, with exit code 0, or with that of
    the environment's SIGNBIND_INTERRUPTED_CODE, by which launchers tell it from a finished run;
    before the first step it stops at once, and in an evaluation, which the next start makes anew.
    On several processes a signal to any stops all at one step.
    """
    config = load_config(arguments.config, arguments.overrides)
    if arguments.print_config:
        lines = [*_lines(resolved(config), "config"), f"digest = {config.digest}"]
        if hosts.is_primary():
            print("\n".join(lines))
        return 0
    result = train(config, arguments.workdir, other_versions=arguments.other_versions)
    if not result.finished:
        saved = f"at step {result.step}, saved" if result.step else "before the first step"
        print(f"{config.stage}: stopped by a signal {saved}; run the same command to go on")
        return interrupted_code()
    scores = ", ".join(f"{name} {value:.2f}" for name, value in result.scores.items())
    print(
        f"{config.stage}: {result.step} steps, {result.seconds:.0f} s; "
        f"{config.data.validation or 'no evaluation'}: {scores}"
    )
    return 0


def _lines(values: dict, path: str) -> Iterator[str]:
    """`path = value` for every value in nested dicts."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{path}.{name}")
        else:
            yield f"{path}.{name} = {value!r}"
