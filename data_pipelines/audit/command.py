"""`signbind data audit`: what is wrong with a dataset, before it is trained on."""

import argparse
from pathlib import Path

from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines.audit.feasibility import load_configs
from signbind_jax.errors import SignBindError
from signbind_jax.processes.parallel_runs import usable_cores
from signbind_jax.ranges import Count, argument
from signbind_jax.streams import SHIPPED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind data audit`."""
    parser.add_argument(
        "dataset", type=Path, metavar="DIR", help="a dataset that `signbind data build` wrote"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="everything found, each finding with all of its clips",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="a page with histograms and example clips"
    )
    parser.add_argument(
        "--configs",
        nargs="+",
        default=list(SHIPPED),
        metavar="NAME[:ARG]",
        help=f"experts whose CTC targets are checked (default: {' '.join(SHIPPED)})",
    )
    parser.add_argument(
        "--clips",
        type=argument(Count),
        metavar="N",
        help="read the arrays of N evenly spaced clips and compare files by size "
        "only (default: read all, compare digests)",
    )
    parser.add_argument(
        "--workers",
        type=argument(Count),
        metavar="N",
        default=len(usable_cores()),
        help="processes that read clips; the findings do not depend on it "
        "(default: the cores, here %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Checks a dataset for what would make training wrong or a score misleading.

    Exit code 1 where there is an error, else 0. docs/use/audit_a_dataset.md lists checks and
    thresholds.
    """
    from signbind_jax.data_pipelines.audit.page import write_audit_page
    from signbind_jax.data_pipelines.audit.result import judge, write_json
    from signbind_jax.data_pipelines.audit.survey import survey
    from signbind_jax.data_pipelines.audit.terminal import show

    configs = load_configs(arguments.configs)
    info = open_dataset(arguments.dataset)
    result = judge(survey(info, arguments.clips, arguments.workers), configs)
    show(result)
    for path, write in ((arguments.json, write_json), (arguments.html, write_audit_page)):
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, result)
        except OSError as error:
            raise SignBindError(f"{path}: cannot be written: {error.strerror or error}") from error
        print(f"written to {path}")
    return result.exit_code
