"""Token streams of other people's recognisers, beside text, instead of recordings.

`--source` is a `.jsonl` or `.jsonl.gz` file, or a directory of them, with a clip a line:

    {"id": "a", "split": "train", "text": "hello anna", "fps": 25, "n_frames": 50,
     "streams": {"gloss": [["HELLO", 2, 18], ["ANNA", 20, 44, 0.8]], "mouth": []}}

In a directory each file is the split it is called by: `train.jsonl`, `dev.jsonl.gz`. In a file of
its own a line's `split` says it, else the file's name. Tokens are `[token, start, end]` or
`[token, start, end, confidence]` in order of start, in frames where the line says `fps` and
`n_frames`, in seconds where it says `seconds`. A line may also hold `text_language`,
`signed_language`, `signer` and the labels `gloss`, `spelled`, `phonemes` and `fusion_targets`.
"""

from functools import partial
from pathlib import Path

from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, forwarded
from signbind_jax.data_pipelines.readers.token_streams import (
    SUFFIXES,
    StreamLine,
    clip_of,
    is_token_file,
    read_lines,
    stem_of,
)
from signbind_jax.errors import SignBindError


def add_arguments(parser) -> None:
    """Options of `signbind data build streams`."""
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR_OR_FILE",
        required=True,
        help="a .jsonl or .jsonl.gz file, or a directory with one a split",
    )
    for name, example in (("text_language", "de"), ("signed_language", "gsg")):
        text = f"of clips whose lines have none, such as {example}"
        parser.add_argument(f"--{name}", default="", metavar="TAG", help=text)


def open_corpus(source: Path, text_language: str = "", signed_language: str = "") -> Corpus:
    """The corpus, its rows in the order of the lines.

    Args:
      source: a file, or a directory with one a split.
      text_language, signed_language: of clips whose lines have none.

    Raises:
      SignBindError: no such file; a line that is no object with an id of its own; two files of a
        split, or a line of a directory's file that names another.
    """
    source = Path(source)
    paths = _files_in(source) if source.is_dir() else [source]
    splits: dict[str, list[StreamLine]] = {}
    for path in paths:
        for line in read_lines(path):
            split = line.split or stem_of(path)
            if source.is_dir() and split != stem_of(path):
                raise SignBindError(
                    f"{line.place}: split: found {split[:60]!r}, wanted {stem_of(path)!r}, the "
                    "file's name, or a file that is no directory's as --source"
                )
            splits.setdefault(split, []).append(line)
    languages = {"text_language": text_language, "signed_language": signed_language}
    record = {
        "corpus": "streams",
        "synthetic": False,
        "directory": str(source.absolute()),
        **languages,
    }
    return Corpus(splits, partial(read_row, **languages), record)


from_arguments = forwarded(open_corpus)


def read_row(row: StreamLine, **languages: str) -> ReadResult:
    """The clip of a line.

    Raises:
      SignBindError: with the reason why there is no clip, its file and line.
    """
    try:
        clip = clip_of(row, **languages)
        if not clip.text.strip():
            raise SignBindError(f"{row.place}: clip {row.id!r}: empty text")
    except SignBindError as error:
        # A directory in front is what a build's report leaves out, with the line behind it.
        raise SignBindError(str(error).replace(row.place, Path(row.place).name, 1)) from error
    return ReadResult(clip)


def _files_in(directory: Path) -> list[Path]:
    paths = sorted(path for path in directory.iterdir() if is_token_file(path))
    if not paths:
        raise SignBindError(
            f"{directory}: found no {' or '.join(SUFFIXES)} file, wanted one for each split"
        )
    named: dict[str, Path] = {}
    for path in paths:
        if (other := named.setdefault(stem_of(path), path)) is not path:
            raise SignBindError(f"{path}: found {other.name} beside it, wanted one file of a split")
    return paths
