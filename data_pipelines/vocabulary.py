"""`signbind data vocabulary`: one vocabulary of several datasets, as a file that runs share."""

import argparse
import collections
import os
from pathlib import Path

from signbind_jax import streams
from signbind_jax.data import labels
from signbind_jax.data.dataset import DatasetInfo, open_dataset
from signbind_jax.data.vocabulary import BLANK, Coverage, Vocabulary, count, write_vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Count, argument

FUSION = "fusion_targets"
_COLUMNS = ("dataset", "split", "tokens", "covered", "kinds", "covered")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind data vocabulary`."""
    parser.add_argument(
        "datasets",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="datasets that `signbind data build` wrote",
    )
    kinds = [spec.target for spec in streams.specs() if not spec.alphabet]
    parser.add_argument(
        "--kind",
        choices=(*kinds, FUSION),
        default=kinds[0],
        help=f"of which targets: an expert's, or {FUSION} (default: %(default)s)",
    )
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="is counted (default: %(default)s)"
    )
    parser.add_argument(
        "--min_count",
        type=argument(Count),
        default=1,
        metavar="N",
        help="tokens that occur less often in all datasets together are left out "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write, JSON"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the tokens of the targets of datasets as a file for `--config.data.vocabulary`.

    Shows how much of every split of each it covers.
    """
    kind, split = arguments.kind, arguments.split
    datasets = _open(arguments.datasets)
    counted = collections.Counter()
    for dataset in datasets:
        of_split = _count(dataset, kind, split)
        if not of_split:
            raise SignBindError(
                f"{dataset.directory}: split {split}: found no {kind} label, wanted some"
            )
        counted += of_split
    vocabulary = labels.counted_vocabulary(kind, kind, [counted.elements()], arguments.min_count)
    if vocabulary.tokens == (BLANK,):
        most = max(counted.values())
        raise SignBindError(
            f"--min_count: found {arguments.min_count:,}, wanted at most {most:,}, how often the "
            f"most frequent {kind} token occurs"
        )
    rows = [_row(d, vocabulary, kind, name) for d in datasets for name in d.splits]
    about = {
        "split": split,
        "min_count": arguments.min_count,
        "datasets": [dataset.digest for dataset in datasets],
    }
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SignBindError(f"{arguments.out}: cannot be written: {error.strerror}") from error
    write_vocabulary(arguments.out, kind, vocabulary, **about)
    _show([_COLUMNS, *rows])
    rare = Coverage.of(vocabulary, counted).unknown
    left_out = f", {len(rare):,} rarer ones left out" if rare else ""
    such_as = f", such as {', '.join(rare[:3])}" if rare else ""
    print(f"{kind}: {len(vocabulary) - 1:,} tokens{left_out}{such_as}")
    print(f"written to {arguments.out}")
    return 0


def _open(directories: list[Path]) -> list[DatasetInfo]:
    """The datasets, each once: one that is there twice would be counted twice."""
    datasets = {}
    for directory in directories:
        dataset = open_dataset(directory)
        if dataset.digest in datasets:
            other = datasets[dataset.digest].directory
            raise SignBindError(f"{directory}: found the dataset of {other} again, wanted it once")
        datasets[dataset.digest] = dataset
    return list(datasets.values())


def _count(dataset: DatasetInfo, kind: str, split: str) -> collections.Counter:
    return count(targets[kind] for targets in dataset.split(split).targets)


def _row(dataset: DatasetInfo, vocabulary: Vocabulary, kind: str, split: str) -> tuple[str, ...]:
    found = Coverage.of(vocabulary, _count(dataset, kind, split))
    known = found.kinds - len(found.unknown)
    of_kinds = 100 * known / max(found.kinds, 1)
    return (
        os.fspath(dataset.directory),
        split,
        f"{found.n:,}",
        f"{100 * found.share:.1f} %" if found.n else "-",
        f"{found.kinds:,}",
        f"{of_kinds:.1f} %" if found.n else "-",
    )


def _show(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        names = (f"{text:{n}}" for text, n in zip(row[:2], widths[:2], strict=True))
        numbers = (f"{text:>{n}}" for text, n in zip(row[2:], widths[2:], strict=True))
        print("  ".join([*names, *numbers]))
