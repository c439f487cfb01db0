"""`signbind score`: every scoring convention of the field, from plain text files."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.significance import (
    Compared,
    add_resamples,
    check_memory,
    compared,
    print_compared,
)
from signbind_jax.metrics import conventions, translation
from signbind_jax.metrics.names import known_words
from signbind_jax.metrics.text import VERSION, Score

_MOST_BYTES = 2**24  # of a file: at 60 characters a line about 270,000 sentences
_LONGEST_LINE = 10_000  # characters
# What grows with the square of a line is bounded over all lines of a file together, so that every
# score ends within seconds.
_MOST_ALIGNED = 5 * 10**8  # pairs of tokens whose edits are counted
_MOST_COMPARED = 2 * 10**10  # pairs of characters for ROUGE-L
_MOST_NAMES = 100  # of a line
_MOST_PARTS = 3 * 10**6  # pairs of parts that full stops make, for ROUGE-L distinct

_EPILOG = "conventions:\n" + "\n".join(
    f"  {name:10} {convention.about}" for name, convention in conventions.CONVENTIONS.items()
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind score` to `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        _EPILOG
        + "\n\nFiles are UTF-8 with one sentence a line; line n of one belongs to line n of the "
        "other.\nA line has at most 10,000 characters; an empty hypothesis line counts as an empty "
        "translation.\nValues are 0 to 100 unless the signature says otherwise. A number is only "
        "comparable with one\nof the same signature."
    )
    parser.add_argument(
        "--hypotheses", required=True, type=Path, metavar="FILE", help="what was written"
    )
    parser.add_argument(
        "--references", required=True, type=Path, metavar="FILE", help="what was meant"
    )
    parser.add_argument(
        "--convention",
        default="all",
        choices=["all", *conventions.CONVENTIONS],
        help="who to score like; all: every convention for translations (default)",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help="the fingerspelled names of each line, divided by spaces; adds name recall",
    )
    parser.add_argument(
        "--training_text",
        type=Path,
        metavar="FILE",
        help="the sentences that the system was trained on, one a line; adds text name recall: of "
        "the words that these lack and of those with a capital inside a sentence",
    )
    parser.add_argument(
        "--text_language",
        default="",
        metavar="TAG",
        help="of --training_text, such as de, whose capitals tell no names (default: one whose do)",
    )
    parser.add_argument(
        "--rbleu_words",
        type=Path,
        metavar="FILE",
        help="words rBLEU takes out of both sides, one a line; without it our own list of "
        "English function words is used and the score is called reduced BLEU",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="what another system wrote of the same clips: how it scores, and whether the "
        "difference is more than chance, by sacrebleu's paired bootstrap",
    )
    add_resamples(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Prints the scores the arguments ask for and returns 0.

    Raises:
      SignBindError: a file cannot be read or does not fit the others.
    """
    paths = [path for path in (arguments.hypotheses, arguments.against) if path]
    references, *systems = read_systems(arguments.references, paths, arguments.convention)
    rows, *baseline = (_scores(arguments, references, system) for system in systems)
    tested = []
    if baseline:
        check_memory(len(references), arguments.resamples)
        tested = compared(rows, baseline[0], arguments.resamples)
    if arguments.json:
        _print_json(arguments, len(references), rows, tested)
    elif tested:
        print_compared(tested)
    else:
        _print_table(rows)
    return 0


def read_systems(references: Path, paths: Sequence[Path], convention: str) -> list[list[str]]:
    """The sentences of the references and of what systems wrote, checked for `convention`.

    Raises:
      SignBindError: a file cannot be read or does not fit the others; what would take minutes.
    """
    lines = read_sentences(references)
    if not lines:
        raise SignBindError(f"{references}: found no lines, wanted one reference sentence a line")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise SignBindError(
                f"{references}, line {number}: found an empty reference, wanted a "
                "sentence; take the line out of both files"
            )
    systems = [_read_parallel(path, references, len(lines)) for path in paths]
    for path, system in zip(paths, systems, strict=True):
        _check_work(convention, path, lines, system)
    return [lines, *systems]


def read_sentences(path: Path) -> list[str]:
    """The lines of a UTF-8 file, divided by newlines alone, without their ends.

    Raises:
      SignBindError: the file is missing, no file, too large or not UTF-8; a line is too long.
    """
    content = files.read_bytes(path, _MOST_BYTES)
    # Not splitlines(): a sentence may hold U+2028 or a form feed, and the files must stay parallel.
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [_decoded(line, path, number) for number, line in enumerate(lines, start=1)]


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise SignBindError(
            f"{path}, line {number}: found byte 0x{line[error.start]:02x} at column "
            f"{error.start + 1}, wanted UTF-8; convert the file, for example with iconv"
        ) from error
    if len(text) > _LONGEST_LINE:
        raise SignBindError(
            f"{path}, line {number}: found {len(text):,} characters, wanted at most "
            f"{_LONGEST_LINE:,}: give every sentence its own line"
        )
    return text


def _read_parallel(path: Path, references_path: Path, n: int) -> list[str]:
    lines = read_sentences(path)
    if len(lines) != n:
        raise SignBindError(
            f"{path}: found {len(lines)} lines, wanted {n} as in {references_path}; give every "
            "clip one line, empty where nothing was written"
        )
    return lines


def _check_work(
    convention: str, path: Path, references: Sequence[str], hypotheses: Sequence[str]
) -> None:
    """Refuses lines that together would take minutes to compare.

    Raises:
      SignBindError: naming the line at which it is too much.
    """
    if convention == "letters":
        limits = ((len, _MOST_ALIGNED, "letters"),)
    elif convention in ("wer", "per"):
        limits = ((lambda line: len(line.split()), _MOST_ALIGNED, "words"),)
    else:
        limits = (
            (len, _MOST_COMPARED, "characters"),
            (lambda line: line.count(".") + 1, _MOST_PARTS, "parts between full stops"),
        )
    for size, most, what in limits:
        pairs = 0
        for number, sides in enumerate(zip(references, hypotheses, strict=True), start=1):
            pairs += size(sides[0]) * size(sides[1])
            if pairs > most:
                raise SignBindError(
                    f"{path}, line {number}: found {pairs:,} pairs of {what} up to "
                    f"here, wanted at most {most:,}: score shorter lines, or fewer at a time"
                )


def _scores(
    arguments: argparse.Namespace, references: list[str], hypotheses: list[str]
) -> list[tuple[str, Score]]:
    words = None
    if arguments.rbleu_words:
        words = [line.strip() for line in read_sentences(arguments.rbleu_words) if line.strip()]
        if not words:
            raise SignBindError(f"{arguments.rbleu_words}: found no words, wanted one a line")
    rows = conventions.scores_by(arguments.convention, references, hypotheses, words)
    if arguments.names:
        lines = _read_parallel(arguments.names, arguments.references, len(references))
        for number, line in enumerate(lines, start=1):
            if (n := len(line.split())) > _MOST_NAMES:
                raise SignBindError(
                    f"{arguments.names}, line {number}: found {n:,} names, wanted at most "
                    f"{_MOST_NAMES:,}"
                )
        found = translation.name_recall(references, hypotheses, [line.split() for line in lines])
        n_all = sum(len(line.split()) for line in lines)
        signature = f"whole-words|case:lc|judged:{found.n}/{n_all}|version:{VERSION}"
        rows.append(("names", Score("name recall", found.value, signature, found.resampling)))
    if arguments.training_text:
        known = known_words(read_sentences(arguments.training_text))
        languages = [arguments.text_language] * len(references)
        found = translation.text_name_recall(references, hypotheses, languages, known)
        capitals = f"lang:{arguments.text_language or 'none'}"
        signature = f"whole-words|case:lc|{capitals}|judged:{found.n}|known:{len(known)}"
        signature = f"{signature}|version:{VERSION}"
        rows.append(("names", Score("text name recall", found.value, signature, found.resampling)))
    return rows


def _print_table(rows: list[tuple[str, Score]]) -> None:
    cells = [("convention", "score", "value", "signature")] + [
        (name, score.name, "-" if score.value is None else f"{score.value:.2f}", score.signature)
        for name, score in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    for name, score, value, signature in cells:
        print(f"{name:{widths[0]}}  {score:{widths[1]}}  {value:>{widths[2]}}  {signature}")


def _print_json(
    arguments: argparse.Namespace,
    n: int,
    rows: list[tuple[str, Score]],
    tested: Sequence[Compared],
) -> None:
    scores = [
        {"convention": name, "name": score.name, "value": score.value, "signature": score.signature}
        for name, score in rows
    ]
    record = {
        "references": str(arguments.references),
        "hypotheses": str(arguments.hypotheses),
        "sentences": n,
        "scores": scores,
    }
    if tested:
        record["against"] = str(arguments.against)
        for score, row in zip(scores, tested, strict=True):
            score |= {
                "against": row.baseline.value,
                "paired_bootstrap": row.test and dataclasses.asdict(row.test),
            }
    print(json.dumps(record, indent=2, ensure_ascii=False))
