"""What a command line says of a config: `--config.PATH=VALUE` and its other forms, as of
`ml_collections.config_flags`.

    --config.optim.learning_rate=3e-4     --config.optim.learning_rate 3e-4
    --config.options.fused_text           --noconfig.options.fused_text
    --config.data.weights[0]=2
"""

import argparse
import ast
import dataclasses
import difflib
import re
import sys
import typing
from collections.abc import Callable
from typing import Any

from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.ranges import field_error

LITERAL_CHARACTERS = 10_000  # of an override that may be a Python literal; longer ones are text
# Each stage has its fields and parts; a run's streams may come with its data.
FREE_SECTIONS = ("model", "augment", "options", "fusion", "decoder", "streams", "factors")
_OPTION = re.compile(r"--?(no)?config\.([^=]*)(?:=(.*))?", re.DOTALL)
_PATH = re.compile(r"(\w{1,80}(?:\.\w{1,80}){0,9})((?:\[-?\d{1,9}\]){0,3})")
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class Switch(str):
    """The text of an option without a value: `--config.PATH` is "True", `--noconfig.PATH` is
    "False"."""


def add_arguments(
    parser: argparse.ArgumentParser,
    which: str = "a module of configs/, or a .py file with get_config(arg)",
    metavar: str = "NAME[:ARG]",
) -> None:
    """Adds --config to a command, and shows the overrides in its help; `parse` reads both.

    Args:
      which: the help of --config.
    """
    parser.add_argument("--config", metavar=metavar, help=which)
    parser.add_argument(
        "--config.PATH",
        dest="unused",
        metavar="VALUE",
        help="overrides one value, such as --config.optim.learning_rate=3e-4 or "
        "--config.data.directory=DIR; --config.PATH and --noconfig.PATH alone turn on and off, "
        "--config.PATH[0]=VALUE is one of a list; a value out of range is told with its range",
    )


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments with `overrides`: dotted path -> text, in the order given, the last of a path."""
    rest: list[str] = []
    overrides: dict[str, str] = {}
    waiting = list(reversed(argv))
    while waiting:
        argument = waiting.pop()
        found = _OPTION.fullmatch(argument)
        if not found:
            _check_option(parser, argument)
            rest.append(re.sub("^-config(?==|$)", "--config", argument))
            continue
        no, path, text = found.groups()
        if no and text is not None:
            parser.error(
                f"--noconfig.{path}: found a value, wanted --noconfig.{path} alone, or "
                f"--config.{path}=VALUE"
            )
        if text is None:
            has_value = not no and waiting and not re.match("--|-(no)?config", waiting[-1])
            text = waiting.pop() if has_value else Switch(not no)
        overrides.pop(path, None)
        overrides[path] = text
    parsed = parser.parse_args(rest)
    parsed.overrides = overrides
    return parsed


def _check_option(parser: argparse.ArgumentParser, argument: str) -> None:
    """Names `--confg.steps`; no other option has dots."""
    found = re.match(r"--?(\w+)\.([^=]*)", argument)
    if found and difflib.get_close_matches(found[1], ("config", "noconfig"), 1):
        parser.error(f"{shorten(argument)}: unknown option; did you mean --config.{found[2]}?")


def unknown_name(where: str, name: str, known: typing.Iterable[str]) -> str:
    """One line for a name that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    return f"{where}: unknown name {shorten(str(name))}; {hint}"


def literal(text: str) -> Any:
    """What a Python literal means; text that is none as it is."""
    if len(text) > LITERAL_CHARACTERS:
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return text


def override(values: dict, path: str, text: str, default: Callable[[list[str]], Any]) -> None:
    """Puts a value into the nested dicts of a config.

    Args:
      path: names with dots between, and perhaps indices of a list behind.
      text: of a command line; see `Switch`.
      default: what a stage has at a path of its own sections that `values` does not name.

    Raises:
      SignBindError: no such path, with the near miss; no value where one is needed.
    """
    found = _PATH.fullmatch(path)
    if not found:
        raise SignBindError(
            f"--config.PATH: found {shorten(path)}, wanted names with dots between "
            "such as optim.learning_rate"
        )
    names = found[1].split(".")
    indices = [int(index) for index in re.findall(r"-?\d+", found[2])]
    *sections, last = names
    node, where, free = values, "config", False
    for key in sections:
        if key in node and not isinstance(node[key], dict):
            raise SignBindError(
                f"config.{path}: found a field of {where}.{key}, wanted "
                f"{where}.{key} itself, which has none"
            )
        # Which fields the free sections have is known to the stage, which checks them all.
        if key not in node and not free:
            raise SignBindError(unknown_name(f"{where}.{key}", key, node))
        node, where = node.setdefault(key, {}), f"{where}.{key}"
        free |= key in FREE_SECTIONS
    if last not in node and not free:
        raise SignBindError(unknown_name(f"{where}.{last}", last, node))
    old = node[last] if last in node else default(names)
    node[last] = _replaced(old, indices, text, where, last)


def _replaced(old: Any, indices: list[int], text: str, where: str, name: str) -> Any:
    """What stands in the place of a field's old value."""
    if isinstance(old, dict) or dataclasses.is_dataclass(old):
        raise field_error(where, name, text, f"one of its fields: --{where}.{name}.NAME=VALUE")
    if not indices:
        return _value(text, old, where, name)
    index, *inner = indices
    if not isinstance(old, list | tuple):
        raise SignBindError(
            f"{where}.{name}[{index}]: found an index, wanted {where}.{name} "
            "itself, which is no list"
        )
    if not -len(old) <= index < len(old):
        raise SignBindError(
            f"{where}.{name}[{index}]: found {len(old)} values there, wanted an "
            f"index among them; --{where}.{name}=VALUES gives all"
        )
    items = list(old)
    items[index] = _replaced(items[index], inner, text, where, f"{name}[{index}]")
    return tuple(items)


def _value(text: str, old: Any, where: str, name: str) -> Any:
    """The value of a text for a field that has the type of `old`; None: of any type."""
    if isinstance(text, Switch):
        if old is None or isinstance(old, bool):
            return text == "True"
        found = "no value" if text == "True" else f"--no{where}.{name}"
        raise SignBindError(f"{where}.{name}: found {found}, wanted --{where}.{name}=VALUE")
    if isinstance(old, bool) and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    value = literal(text)
    if isinstance(old, str) and not isinstance(value, str):
        return text  # a directory may be called 5
    if isinstance(old, list | tuple) and isinstance(value, str):  # names with commas between
        return tuple(part.strip() for part in text.split(",")) if text else ()
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) <= sys.float_info.max else value
    return value
