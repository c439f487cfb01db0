"""`signbind train`: one stage, from a config and overrides."""

import argparse
from pathlib import Path

from signbind_jax.config import load_config
from signbind_jax.train import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind train`; `parse` reads the overrides."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME[:ARG]",
        help="a module of configs/ (signing, fingerspelling, lipreading, language_model, fusion, "
        "alignment, translation) or a .py file",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        type=Path,
        metavar="DIR",
        help="checkpoints, metrics and logs; an interrupted run goes on",
    )
    parser.add_argument(
        "--config.PATH",
        dest="unused",
        metavar="VALUE",
        help="overrides one value, such as --config.optim.learning_rate=3e-4 or "
        "--config.data.directory=DIR",
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
        overrides[path] = text if equals else next(arguments, "")
    parsed = parser.parse_args(rest)
    parsed.overrides = overrides
    return parsed


def run(arguments: argparse.Namespace) -> int:
    """Trains one stage; run the same command again to go on with an interrupted run."""
    config = load_config(arguments.config, arguments.overrides)
    result = train(config, arguments.workdir)
    for name, value in result.scores.items():
        print(f"{name}: {value:.3f}")
    print(f"{arguments.workdir}: step {result.step} of {config.steps}, {result.seconds:.0f} s")
    if not result.finished:
        print("stopped by a signal after saving; run the same command to go on")
        return 1
    return 0
