"""`signbind preflight`: whether and how fast a config runs on accelerators that are not there."""

import argparse
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from signbind_jax import files, overrides
from signbind_jax.preflight import text, topologies
from signbind_jax.preflight.check import check
from signbind_jax.preflight.outcome import FAILED, FITS, Outcome
from signbind_jax.preflight.page import write_page
from signbind_jax.ranges import Count, Positive, argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind preflight`."""
    overrides.add_arguments(parser)
    parser.add_argument(
        "--topology",
        action="append",
        metavar="NAME",
        help="such as v5e:4x4, v5p:2x2x4, v6e:4x4, v4:2x2x2, or cpu:8 for "
        "simulated devices; may be given several times",
    )
    parser.add_argument(
        "--all", action="store_true", help="every shipped config on its topologies; writes --page"
    )
    parser.add_argument(
        "--page",
        type=Path,
        default=Path("docs/use/check_fit_and_speed.md"),
        metavar="FILE",
        help="with --all, whose table is replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=argument(Positive),
        default=900.0,
        metavar="SECONDS",
        help="for each topology (default: %(default)g)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, a line each")
    parser.add_argument(
        "--go_on",
        action="store_true",
        help="takes what --json of an interrupted call holds as done",
    )
    parser.add_argument(
        "--jobs",
        type=argument(Count),
        default=1,
        metavar="N",
        help="topologies at a time (default: %(default)s)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keeps the compilers' HLO dumps")


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Reads arguments with `overrides`, as of `signbind train`."""
    arguments = overrides.parse(parser, argv)
    if arguments.go_on and not (arguments.json and not arguments.overrides):
        parser.error("--go_on: wanted --json=FILE of the interrupted call, and no --config.PATH")
    if arguments.all == bool(arguments.config or arguments.topology or arguments.overrides):
        parser.error("give --config and --topology, or --all alone")
    if not arguments.all and not (arguments.config and arguments.topology):
        parser.error("give both --config and --topology, or --all")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Compiles the programs of a config, the very ones that train and that write sentences, for
    a TPU topology on a machine without a TPU (`pip install 'signbind-jax[tpu]'`), and tells what
    they need: memory a chip against the compiler's own limit, FLOPs, bytes between chips, and an
    estimate of time and MFU as a range.

    The sizes of data and parents are those of `config.assumed`. Exit code 0: everything fits
    with a tenth of the memory to spare; 1: it does not, or only just.
    """
    if arguments.all:
        from signbind_jax.configs.shipped import SHIPPED

        jobs = list(SHIPPED)
    else:
        jobs = [(arguments.config, topology) for topology in arguments.topology]
    for _, topology in jobs:
        topologies.find(topology)
    done = _done(arguments)
    outcomes = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for found in pool.map(lambda job: _checked(arguments, done, *job), enumerate(jobs)):
            outcomes.append(found)
            _show(found, len(outcomes), len(jobs), brief=arguments.all)
            if arguments.json and (found.spec, found.topology) not in done:
                with arguments.json.open("a", encoding="utf-8") as file:
                    file.write(found.to_json() + "\n")
    if arguments.all:
        write_page(arguments.page, outcomes)
        print(f"{arguments.page}: {len(outcomes)} rows")
    return int(any(found.verdict != FITS for found in outcomes))


def _done(arguments: argparse.Namespace) -> dict[tuple[str, str], Outcome]:
    """Outcomes of an interrupted call; otherwise its file begins anew."""
    if not arguments.json:
        return {}
    path: Path = arguments.json
    if not (arguments.go_on and path.exists()):
        files.write(path, "")
    outcomes, damaged = [], 0
    for line in files.read_bytes(path).splitlines():
        try:
            outcomes.append(Outcome.from_json(line))
        except (ValueError, KeyError, TypeError):  # such as the last one of a killed call
            damaged += 1
    if damaged:
        files.write(path, "".join(o.to_json() + "\n" for o in outcomes))
        print(f"{path}: {damaged} damaged lines: what they said is checked again", file=sys.stderr)
    return {(o.spec, o.topology): o for o in outcomes if o.verdict != FAILED}


def _checked(arguments: argparse.Namespace, done: Mapping, i: int, job: tuple[str, str]) -> Outcome:
    spec, topology = job
    if job in done:
        return done[job]
    keep = arguments.keep and arguments.keep / f"{i:03d}"
    return check(spec, arguments.overrides, topology, arguments.timeout, keep)


def _show(found: Outcome, i: int, n: int, *, brief: bool) -> None:
    if brief:
        print(f"{i}/{n}  " + "  ".join(filter(None, text.row(found))), flush=True)
        return
    print("\n".join(text.lines(found)), flush=True)
