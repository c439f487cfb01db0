"""What commands have in common that find something in the clips of a split, score it where the
truth is known, and write a file that runs read."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from signbind_jax import files
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data_pipelines.readers import token_streams
from signbind_jax.errors import SignBindError


def add_arguments(parser: argparse.ArgumentParser, label: str) -> None:
    """The arguments `dataset`, `split`, `truth`, `json` and `out`.

    label: the field of the truth that is compared with what was found.
    """
    parser.add_argument(
        "dataset", type=Path, metavar="DIR", help="a dataset that `signbind data build` wrote"
    )
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="of the dataset (default: %(default)s)"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help=f"token streams whose `{label}` is true, to score what was found (default: "
        "DIR.truth/SPLIT.jsonl.gz, where it is there)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the counts here")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write, JSON"
    )


def read_truth(arguments: argparse.Namespace, clips: ClipDataset) -> dict[str, Clip] | None:
    """The clips of a file of true labels by id, in the order of a split; None where there is none.

    Raises:
      SignBindError: it is not as it should be, or lacks a clip.
    """
    path = arguments.truth
    if path is None:
        directory = arguments.dataset.absolute()
        path = directory.with_name(f"{directory.name}.truth") / f"{clips.name}.jsonl.gz"
        if not path.exists():
            return None
    truth = {line.id: token_streams.clip_of(line) for line in token_streams.read_lines(path)}
    if missing := [clip_id for clip_id in clips.ids if clip_id not in truth]:
        raise SignBindError(
            f"{path}: found no clip {missing[0]!r}, wanted the {len(clips)} clips of split "
            f"{clips.name} of {arguments.dataset}"
        )
    return {clip_id: truth[clip_id] for clip_id in clips.ids}


def tell(arguments: argparse.Namespace, counts: Mapping[str, float | None]) -> None:
    """Prints the counts and where the file is, and writes them where they are asked for."""
    width = max(30, *map(len, counts))
    for name, value in counts.items():
        print(f"  {name:{width}s} {f'{value:.1f}' if isinstance(value, float) else value}")
    print(f"written to {arguments.out}")
    if arguments.json:
        files.write_json(arguments.json, counts)
