"""Options that corpora share on the command line, and the types of their values."""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from signbind_jax.data_pipelines.extraction.worker import mouth

LIP_SIZE = mouth.SIZE  # no crop that `signbind extract` cut is scaled unless it is asked for
_MOST_FPS = 1000.0
_LONGEST_S = 1e6


def add_directory(parser, name: str, text: str, required: bool = False) -> None:
    """Adds an option that is a directory; None where it is not given."""
    parser.add_argument(f"--{name}", type=Path, metavar="DIR", required=required, help=text)


def add_number(parser, name: str, kind: Callable, default, metavar: str, text: str) -> None:
    """Adds an option that is a number, whose help tells its default."""
    text += " (default: %(default)s)"
    parser.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)


def add_lip_size(parser) -> None:
    """Adds the side of the mouth crops."""
    add_number(parser, "lip_size", pixels, LIP_SIZE, "PIXELS", "side of the mouth crops")


def frames_a_second(text: str) -> float:
    """A frame rate."""
    rate = _number(text)
    if not 0 < rate <= _MOST_FPS:
        raise argparse.ArgumentTypeError(
            f"found {text[:40]}, wanted a number above 0, at most {_MOST_FPS:g}"
        )
    return rate


def whole_number(text: str, least: int, most: int) -> int:
    """A whole number within limits."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(
            f"found {text[:40]}, wanted a whole number, {least} to {most}"
        )
    return value


pixels = partial(whole_number, least=1, most=1024)  # of a mouth crop's side


def seconds(text: str, least: float = -_LONGEST_S) -> float:
    """Seconds of at least `least`, at most a million."""
    value = _number(text)
    if not least <= value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"found {text[:40]}, wanted seconds, {least:g} to {_LONGEST_S:g}"
        )
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


duration = partial(seconds, least=0)
