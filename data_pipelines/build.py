"""`signbind data build`: reads a corpus and writes it as a dataset."""

import argparse
import importlib
from functools import partial
from pathlib import Path
from types import ModuleType

from signbind_jax.data_pipelines.corpus import Corpus
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import unknown_name
from signbind_jax.processes.parallel_runs import usable_cores
from signbind_jax.ranges import Count, argument

# corpus -> module of `data_pipelines` with add_arguments(parser) and from_arguments -> Corpus
CORPORA = {
    "bobsl": "bobsl",
    "chicago_fswild": "chicago_fswild",
    "chicago_fswild_plus": "chicago_fswild",
    "csl_daily": "csl_daily",
    "folder": "folder",
    "how2sign": "how2sign",
    "joined_letters": "joined_letters",
    "openasl": "openasl",
    "phoenix14t": "phoenix14t",
    "streams": "token_streams",
    "synthetic": "synthetic.corpus",
    "youtube_asl": "youtube_asl",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What all corpora share; `parse` adds those of the corpus."""
    add_corpus_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        required=True,
        help="the dataset to write; complete or not there at all",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a dataset at --out")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a broken clip ends the build instead of being left out",
    )
    parser.add_argument(
        "--workers",
        type=argument(Count),
        metavar="N",
        default=len(usable_cores()),
        help="processes that read clips; the dataset does not depend on it "
        "(default: the cores, here %(default)s)",
    )
    parser.add_argument(
        "--beam",
        metavar="OPTIONS",
        help="read clips on an Apache Beam runner "
        'instead, such as "--runner=FlinkRunner --parallelism=96"; --out has to '
        "lie where all its workers see it (extra: beam)",
    )


def add_corpus_argument(parser: argparse.ArgumentParser) -> None:
    """The corpus that a command of `signbind data` reads, its first argument."""
    parser.usage = f"{parser.prog} CORPUS [--help] [options]"
    parser.add_argument(
        "corpus",
        metavar="CORPUS",
        help=f"one of: {', '.join(CORPORA)}; `{parser.prog} CORPUS --help` tells its layout",
    )


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Parses the arguments of the corpus that `argv` begins with."""
    if argv and not argv[0].startswith("-"):
        module = _module(argv[0])
        parser.prog = f"{parser.prog} {argv[0]}"
        parser.usage = f"{parser.prog} --out=OUT [options]"
        parser.description = module.__doc__
        module.add_arguments(parser.add_argument_group(f"{argv[0]} corpus"))
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> int:
    """Reads a corpus and writes it as a TFDS dataset of ArrayRecord shards.

    What was repaired or left out is printed by clip id and stored in the dataset. A build that
    was interrupted goes on when the same command is given again.
    """
    from signbind_jax.data_pipelines.writing.beam_runner import write_shards_on_beam
    from signbind_jax.data_pipelines.writing.writer import write_dataset

    corpus = open_corpus(arguments)
    on_beam = None
    if arguments.beam is not None:
        on_beam = partial(write_shards_on_beam, options=arguments.beam)
    report = write_dataset(
        arguments.out,
        corpus,
        overwrite=arguments.overwrite,
        run=on_beam,
        strict=arguments.strict,
        workers=arguments.workers,
    )
    for line in report.lines():
        print(line)
    print(f"dataset written to {arguments.out}")
    if corpus.truth is not None:
        print(f"truth written to {_write_truth(arguments.out, corpus)}")
    return 0


def _write_truth(out: Path, corpus: Corpus) -> Path:
    """Writes what the clips are not told beside the dataset, as token streams, a file a split."""
    from signbind_jax.data_pipelines.readers.token_streams import write_clips

    out = Path(out).absolute()
    directory = out.with_name(f"{out.name}.truth")
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise SignBindError(f"{directory}: cannot be written: {error.strerror or error}") from error
    for split, rows in corpus.splits.items():
        path = directory / f"{split}.jsonl.gz"
        if rows:
            write_clips(path, map(corpus.truth, rows), split)
        else:  # of a dataset that was here before
            path.unlink(missing_ok=True)
    return directory


def open_corpus(arguments: argparse.Namespace) -> Corpus:
    """The corpus that parsed arguments ask for."""
    return _module(arguments.corpus).from_arguments(arguments)


def _module(corpus: str) -> ModuleType:
    if corpus not in CORPORA:
        raise SignBindError(unknown_name("corpus", corpus, CORPORA))
    return importlib.import_module(f"signbind_jax.data_pipelines.{CORPORA[corpus]}")
