"""`signbind train`: one stage, from a config and overrides."""

import argparse
from pathlib import Path

from signbind_jax import streams, versions
from signbind_jax.config import load_config
from signbind_jax.errors import interrupted_code
from signbind_jax.train import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind train`; `parse` reads the overrides."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME[:ARG]",
        help=f"a module of configs/ ({', '.join((*streams.SHIPPED, *streams.STAGES_BEHIND))}) or "
        "a .py file",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        type=Path,
        metavar="DIR",
        help="checkpoints, metrics and logs; an interrupted run goes on",
    )
    parser.add_argument(versions.OPTION, action="store_true", help=versions.HELP)
    parser.add_argument(
        "--config.PATH",
        dest="unused",
        metavar="VALUE",
        help="overrides one value, such as --config.optim.learning_rate=3e-4 or "
        "--config.data.directory=DIR; one out of range is told with its range",
    )


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments with `overrides`: dotted path -> text."""
    rest, overrides = [], {}
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith("--config."):
            rest.append(argument)
            continue
        path, equals, text = argument.removeprefix("--config.").partition("=")
        text = text if equals else next(arguments, "--")
        if not equals and text.startswith("--"):
            parser.error(f"--config.{path}: found no value, wanted --config.{path}=VALUE")
        overrides[path] = text
    parsed = parser.parse_args(rest)
    parsed.overrides = overrides
    return parsed


def run(arguments: argparse.Namespace) -> int:
    """Trains one stage; run the same command again to go on with an interrupted run.

    SIGTERM or Ctrl-C stops it after the step in flight, saved, with exit code 0, or with that of
    the environment's SIGNBIND_INTERRUPTED_CODE, by which launchers tell it from a finished run;
    before the first step it stops at once, and in an evaluation, which the next start makes anew.
    On several processes a signal to any stops all at one step.
    """
    config = load_config(arguments.config, arguments.overrides)
    result = train(config, arguments.workdir, other_versions=arguments.other_versions)
    if not result.finished:
        saved = f"at step {result.step}, saved" if result.step else "before the first step"
        print(f"{config.stage}: stopped by a signal {saved}; run the same command to go on")
        return interrupted_code()
    scores = ", ".join(f"{name} {value:.2f}" for name, value in result.scores.items())
    print(f"{config.stage}: {result.step} steps, {result.seconds:.0f} s; "
          f"{config.data.validation or 'no evaluation'}: {scores}")  # fmt: skip
    return 0
