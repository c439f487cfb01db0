"""`signbind compare`: two systems side by side on the same clips, as a page."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from sacrebleu.metrics import CHRF

from signbind_jax.data.dataset import ClipDataset, open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.score import read_systems
from signbind_jax.evaluate.significance import add_resamples, check_memory, compared
from signbind_jax.files import shorten
from signbind_jax.metrics import conventions
from signbind_jax.ranges import Range, argument
from signbind_jax.report.comparison import Pair, write_comparison_page

_CLIPS = 8
_SEED = 0  # of the clips that are drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind compare`."""
    parser.add_argument(
        "--hypotheses",
        required=True,
        action="append",
        type=Path,
        metavar="FILE",
        help="what a system wrote, one sentence a line; given twice, once for each system",
    )
    parser.add_argument(
        "--references", required=True, type=Path, metavar="FILE", help="what was meant"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.html", help="the page")
    parser.add_argument(
        "--names",
        default="",
        metavar="NAME,NAME",
        help="what the systems are called on the page (default: as their files)",
    )
    parser.add_argument(
        "--convention",
        default="all",
        choices=["all", *conventions.CONVENTIONS],
        help="who to score like, see `signbind score --help` (default: all for translations)",
    )
    add_resamples(parser)
    parser.add_argument(
        "--clips",
        type=argument(Annotated[int, Range(1, 100)]),
        default=_CLIPS,
        metavar="N",
        help="how many of the best, the worst, the most different and of any (default: "
        "%(default)s each)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the dataset that the lines are clips of, whose ids, signers and skeletons are shown",
    )
    parser.add_argument("--split", default="test", help="of --data (default: test)")


def run(arguments: argparse.Namespace) -> int:
    """Writes the page and says where.

    Raises:
      SignBindError: a file cannot be read or does not fit the others; not two systems.
    """
    names = _names(arguments.names, arguments.hypotheses)
    given = arguments.references, arguments.hypotheses, arguments.convention
    references, *systems = read_systems(*given)
    check_memory(len(references), arguments.resamples)
    clips = None
    if arguments.data:
        clips = open_dataset(arguments.data).split(arguments.split)
        _check_clips(clips, arguments.references, references)
    scores = [conventions.scores_by(arguments.convention, references, system) for system in systems]
    pairs = compare_clips(references, systems)
    write_comparison_page(
        arguments.out,
        names,
        compared(*scores, arguments.resamples),
        pairs,
        choose(pairs, arguments.clips),
        clips,
    )
    print(f"page written to {arguments.out}")
    return 0


def compare_clips(references: Sequence[str], systems: Sequence[Sequence[str]]) -> list[Pair]:
    """Every clip with what both systems wrote, and the chrF of each sentence by itself."""
    metric, pairs = CHRF(), []
    for i, (reference, *written) in enumerate(zip(references, *systems, strict=True)):
        scores = tuple(metric.sentence_score(text, [reference]).score for text in written)
        pairs.append(Pair(i, reference, tuple(written), scores))
    return pairs


def choose(pairs: Sequence[Pair], n: int) -> dict[str, list[int]]:
    """The places of up to n clips of each kind: those that both systems together write worst and
    best, those where they differ most, half of them in favour of each where there are so many, and
    any, drawn with a fixed seed."""
    mean = np.array([sum(pair.chrf) for pair in pairs])
    apart = np.array([pair.difference for pair in pairs])
    order = np.argsort(-apart, kind="stable")
    ahead, behind = order[apart[order] > 0], order[apart[order] < 0][::-1]
    ahead = ahead[: n - min(n // 2, len(behind))]
    drawn = np.random.Generator(np.random.Philox(key=_SEED)).permutation(len(pairs))
    orders = {
        "worst": np.argsort(mean, kind="stable"),
        "best": np.argsort(-mean, kind="stable"),
        "different": np.concatenate([ahead, behind[: n - len(ahead)]]),
        "random": drawn,
    }
    return {kind: order[:n].tolist() for kind, order in orders.items()}


def _names(given: str, paths: Sequence[Path]) -> list[str]:
    if len(paths) != 2:
        raise SignBindError(f"--hypotheses: found {len(paths)} files, wanted two, one a system")
    names = [name.strip() for name in given.split(",")] if given else [p.stem for p in paths]
    if not given and names[0] == names[1]:
        names = [str(path) for path in paths]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise SignBindError(
            f"--names: found {shorten(given or names[0])}, wanted two names that differ, divided "
            "by a comma"
        )
    return names


def _check_clips(clips: ClipDataset, path: Path, references: Sequence[str]) -> None:
    """Raises SignBindError where lines are not the texts of the clips, one after the other."""
    if len(clips) != len(references):
        raise SignBindError(
            f"{path}: found {len(references)} lines, wanted the {len(clips)} clips of split "
            f"{clips.name} of {clips.info.directory}"
        )
    for i, (clip, line) in enumerate(zip(clips.labels, references, strict=True), start=1):
        if clip.text.split() != line.split():
            raise SignBindError(
                f"{path}, line {i}: found {shorten(line)}, wanted the text of clip {clip.id}: "
                f"{shorten(clip.text)}; are these of another split?"
            )
