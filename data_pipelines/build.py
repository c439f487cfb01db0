"""`signbind data build`: reads a corpus and writes it as a dataset."""

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.build_report import BuildReport
from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError

Splits = dict[str, Callable[[], Iterable[Clip]]]


@dataclass(frozen=True)
class Corpus:
    """A corpus opened for reading.

    Attributes:
      splits: split name -> a function that gives its clips.
      source: JSON-ready record of where they come from.
      expected: clips a split, where known before reading.
    """

    splits: Splits
    source: dict
    expected: dict[str, int]


def _synthetic(arguments: argparse.Namespace, report: BuildReport) -> Corpus:
    from data_pipelines.synthetic.corpus import SyntheticConfig, splits

    names = [field.name for field in dataclasses.fields(SyntheticConfig)]
    given = {name: getattr(arguments, name, None) for name in names}
    config = SyntheticConfig(**{name: x for name, x in given.items() if x is not None})
    if arguments.source is not None:
        raise SignBindError("--source: the synthetic corpus is generated and takes none")
    readers = splits(config)
    sizes = {name: getattr(config, name, config.time_split) for name in readers}
    source = {"corpus": "synthetic", "synthetic": True, **dataclasses.asdict(config)}
    del source["workers"]  # changes nothing in the clips
    return Corpus(readers, source, sizes)


def _folder(arguments: argparse.Namespace, report: BuildReport) -> Corpus:
    from data_pipelines.folder import splits

    if arguments.source is None:
        raise SignBindError("--source: missing; wanted the directory that holds manifest.tsv")
    readers = splits(arguments.source, report, lip_size=arguments.lip_size, strict=arguments.strict)
    source = {
        "corpus": "folder",
        "synthetic": False,
        "directory": str(arguments.source.absolute()),
        "lip_size": arguments.lip_size,
    }
    return Corpus(readers, source, {})


def _joined_letters(arguments: argparse.Namespace, report: BuildReport) -> Corpus:
    from data_pipelines.joined_letters import splits

    if arguments.source is None:
        raise SignBindError("--source: missing; wanted a folder corpus with one clip a letter")
    names = ("seed", "train", "test")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    readers = splits(arguments.source, report, **given)
    source = {"corpus": "joined_letters", "synthetic": True, **given,
              "directory": str(arguments.source.absolute())}  # fmt: skip
    return Corpus(readers, source, {})


CORPORA = {"folder": _folder, "joined_letters": _joined_letters, "synthetic": _synthetic}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `signbind data build`."""
    parser.add_argument("corpus", metavar="CORPUS", help=f"one of: {', '.join(CORPORA)}")
    parser.add_argument("--source", type=Path, metavar="DIR", help="where the corpus lies")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True,
                        help="the dataset to write; complete or not there at all")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace a dataset at --out")
    parser.add_argument("--strict", action="store_true",
                        help="a broken clip ends the build instead of being left out")  # fmt: skip
    parser.add_argument("--lip_size", type=_positive, default=32, metavar="PIXELS",
                        help="side of the mouth crops (default 32)")  # fmt: skip
    own = parser.add_argument_group("synthetic corpus; seed, train, test: also joined_letters")
    own.add_argument("--seed", type=int, metavar="N", help="another corpus of the same kind")
    for split in ("train", "validation", "test"):
        own.add_argument(f"--{split}", type=_positive, metavar="CLIPS", help=f"clips in {split}")
    own.add_argument("--time_split", type=_positive, metavar="CLIPS",
                     help="clips in each split that time alone decides")  # fmt: skip
    own.add_argument("--workers", type=_positive, metavar="N", help="processes that generate clips")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"found {value}, wanted at least 1")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Reads a corpus and writes it as a TFDS dataset of ArrayRecord shards.

    What was repaired or left out is printed by clip id and stored in the dataset.
    """
    if arguments.corpus not in CORPORA:
        known = ", ".join(CORPORA)
        raise SignBindError(f"corpus: found '{arguments.corpus}', wanted one of: {known}")
    for line in build(arguments).lines():
        print(line)
    print(f"dataset written to {arguments.out}")
    return 0


def build(arguments: argparse.Namespace) -> BuildReport:
    """Builds the dataset that the parsed `arguments` ask for; returns what was done."""
    from data_pipelines.writer import write_dataset

    report = BuildReport()
    corpus = CORPORA[arguments.corpus](arguments, report)
    write_dataset(arguments.out, corpus.splits, report, source=corpus.source,
                  overwrite=arguments.overwrite, expected=corpus.expected)  # fmt: skip
    return report
