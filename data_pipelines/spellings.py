"""`signbind data spellings`: which words of a dataset's sentences are spelled in its clips."""

import argparse
import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from signbind_jax import files, progress
from signbind_jax.data.clip import Clip, TimedToken
from signbind_jax.data.dataset import ClipDataset, open_dataset
from signbind_jax.data.spellings import Spellings, write_spellings
from signbind_jax.data.vocabulary import LETTERS
from signbind_jax.data_pipelines import found_in_split
from signbind_jax.data_pipelines import spelling_discovery as discovery
from signbind_jax.data_pipelines.readers import token_streams
from signbind_jax.data_pipelines.spelling_discovery import DiscoveryConfig
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import argument, hints_of

_OPTIONS = {
    "gap": "times the usual time from letter to letter after which another word begins",
    "min_letters": "of a word and of what was read of it",
    "min_confidence": "of the letters read of a word, their mean",
    "max_distance": "edits from what was read to the word, for each letter of the longer one",
    "false_discovery": "share of the words found that may be chance",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind data spellings`."""
    found_in_split.add_arguments(parser, "spelled")
    parser.add_argument(
        "--streams",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="what an expert read in its clips, as `signbind evaluate --streams` writes it; of "
        "several files each holds other clips",
    )
    parser.add_argument(
        "--stream",
        default="fingerspelling",
        metavar="NAME",
        help="which stream of the files holds letters (default: %(default)s)",
    )
    hints = hints_of(DiscoveryConfig)
    for field in dataclasses.fields(DiscoveryConfig):
        parser.add_argument(
            f"--{field.name}",
            type=argument(hints[field.name]),
            default=field.default,
            metavar="N",
            help=f"{_OPTIONS[field.name]} (default: %(default)s)",
        )


def run(arguments: argparse.Namespace) -> int:
    """Finds words that are spelled in clips of which nobody says so, by what an expert read.

    Runs of letters are compared with the words of their sentence, and with those of others to tell
    what is chance. The file stands for labels where --config.data.spellings names it.
    """
    names = [field.name for field in dataclasses.fields(DiscoveryConfig)]
    config = DiscoveryConfig(**{name: getattr(arguments, name) for name in names})
    dataset = open_dataset(arguments.dataset)
    clips = dataset.split(arguments.split)
    truth = found_in_split.read_truth(arguments, clips)
    read = _read(arguments.streams, arguments.stream, clips)
    found, counts = discover(clips.labels, read, clips.digest, config)
    if truth is not None:
        counts |= score(found, truth)
    settings = dataclasses.asdict(config) | {"stream": arguments.stream}
    write_spellings(arguments.out, found, settings=settings, counts=counts)
    found_in_split.tell(arguments, counts)
    return 0


def discover(
    clips: Sequence[Clip],
    read: Sequence[Sequence[TimedToken] | None],
    split: str,
    config: DiscoveryConfig,
) -> tuple[Spellings, dict]:
    """What is spelled in the clips of a split.

    Args:
      clips: their labels.
      read: the letters read in each; None where nothing looked.
      split: its digest.

    Returns:
      What was found, and counts, JSON-ready.
    """
    sentences = [discovery.candidates_of(clip.text, config) for clip in clips]
    spacing_s = discovery.spacing_s(row for row in read if row)
    gap_s = config.gap * spacing_s
    rows = [(i, row) for i, row in enumerate(read) if row]
    runs = [run for i, row in rows for run in discovery.runs_of(i, row, gap_s, config)]
    shown = progress.shown(runs, "comparing", len(runs), "run")
    matches = list(discovery.matches_of(shown, sentences, config))
    kept = discovery.accepted(matches, config)
    spelled = collections.defaultdict(list)
    for match in kept:
        spelled[clips[match.run.clip].id] += discovery.timed_words(match)
    open_runs = collections.Counter(run.clip for run in runs)
    open_runs.subtract(match.run.clip for match in kept)
    unclear = frozenset(clips[i].id for i, n in open_runs.items() if n)
    words = [word.token for row in spelled.values() for word in row]
    counts = {
        "clips": len(clips),
        "clips not read": sum(row is None for row in read),
        "milliseconds from letter to letter": 1000 * spacing_s,
        "runs of letters": len(runs),
        "runs as near to two words": sum(match is None for match in matches),
        "runs that are a word": len(kept),
        "spelled words": len(words),
        "different ones": len(set(words)),
        "clips with a spelled word": len(spelled),
        "unclear clips": len(unclear),
    }
    return Spellings(split, {clip: tuple(row) for clip, row in spelled.items()}, unclear), counts


def score(found: Spellings, truth: dict[str, Clip]) -> dict:
    """Precision and recall in percent of what was found, as words of their clips.

    A word that is not in its sentence cannot be found; how many are is told too.
    """
    n_found = n_true = n_right = n_in_text = 0
    for clip in truth.values():
        true = collections.Counter(clip.spelled)
        own = collections.Counter(found.words(clip.id))
        in_text = collections.Counter(discovery.words_of(clip.text))
        n_found, n_true = n_found + own.total(), n_true + true.total()
        n_right, n_in_text = n_right + (own & true).total(), n_in_text + (in_text & true).total()
    return {
        "truly spelled words": n_true,
        "of them in their sentence": n_in_text,
        "rightly found": n_right,
        "precision": 100.0 * n_right / n_found if n_found else None,
        "recall": 100.0 * n_right / n_true if n_true else None,
    }


def _read(
    paths: Sequence[Path], stream: str, clips: ClipDataset
) -> list[tuple[TimedToken, ...] | None]:
    """The letters of each clip of a split, in lower case; None where the files lack it.

    Raises:
      SignBindError: a file is not as it should be, of other clips, or has a clip that another has
        too; a token that is no letter.
    """
    read: dict[str, tuple[TimedToken, ...]] = {}
    known = frozenset(clips.ids)
    for path in paths:
        for line in token_streams.read_lines(path):
            where = f"{line.place}: clip {line.id!r}"
            if line.id not in known:
                raise SignBindError(
                    f"{where}: found no such clip in split {clips.name} of "
                    f"{clips.info.directory}, wanted streams of its clips"
                )
            if line.id in read:
                raise SignBindError(f"{where}: found it in another file too, wanted it once")
            tokens = token_streams.clip_of(line).streams.get(stream)
            if tokens is not None:
                read[line.id] = tuple(t._replace(token=t.token.lower()) for t in tokens)
            for token in tokens or ():
                if token.token.lower() not in LETTERS:
                    raise SignBindError(
                        f"{where}: stream {stream}: found {files.shorten(token.token)}, wanted "
                        "letters"
                    )
    if not read:
        raise SignBindError(f"{paths[0]}: found no stream {stream}, wanted letters of some clips")
    return [read.get(clip_id) for clip_id in clips.ids]
