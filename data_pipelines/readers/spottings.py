"""Sign spottings of BOBSL: single signs found automatically, as pseudo-glosses of sentences.

Two forms are read, as JSON or pickle: parallel lists `episode_name`, `annot_word`, `annot_time`,
`annot_prob`, `annot_type`; and by split and word, {split: {word: {names, global_times, probs}}}.
Where no `annot_type` says it, the file's name tells the type.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from signbind_jax import files
from signbind_jax.data_pipelines.readers import restricted_pickle
from signbind_jax.data_pipelines.readers.options import add_number, duration
from signbind_jax.errors import SignBindError

LISTS = ("episode_name", "annot_word", "annot_time", "annot_prob")
TYPES = ("mouthing", "dictionary", "attention", "exemplar", "novel", "pseudo_label")
# Frames from the time of a spotting to the middle of its sign, by the windows in public use:
# -9..11 for mouthings, -3..22 for the dictionary, 0..19 for the rest.
_TO_MIDDLE = {
    "mouthing": 1.0,
    "dictionary": 9.5,
    "exemplar": 9.5,
    "novel": 9.5,
    "pseudo_label": 9.5,
}
_FPS = 25
_SHORT = {
    "m": "mouthing",
    "d": "dictionary",
    "dict": "dictionary",
    "a": "attention",
    "e": "exemplar",
    "n": "novel",
    "p": "pseudo_label",
}
_MOST_BYTES = 2**31  # millions of spottings
_MOST_VALUES = 200_000_000


class Spottings(NamedTuple):
    """Spottings that were sure enough, in order of episode and time.

    Attributes:
      start_of: episode -> where its spottings begin; to the next one's.
      time_s: middle of the sign in its episode.
      word: index into `vocabulary`.
      vocabulary: the words.
      counts: type -> how many were read, too unsure, unreadable; and what was kept of all.
    """

    start_of: dict[str, slice]
    time_s: np.ndarray
    word: np.ndarray
    vocabulary: list[str]
    counts: dict[str, dict[str, int]]

    def glosses(self, episode: str, start_s: float, end_s: float) -> tuple[str, ...]:
        """The words whose signs have their middle in a span, in order of time."""
        there = self.start_of.get(episode)
        if there is None:
            return ()
        first, last = np.searchsorted(self.time_s[there], (start_s, end_s)) + there.start
        return tuple(self.vocabulary[word] for word in self.word[first:last])


NONE = Spottings({}, np.zeros(0), np.zeros(0, np.int32), [], {})


class _Columns(NamedTuple):
    """Spottings of one type or several: episodes and words as indices, times, probabilities."""

    episode: np.ndarray
    word: np.ndarray
    time_s: np.ndarray
    prob: np.ndarray


def add_arguments(parser) -> None:
    """The options of `read_spottings`."""
    parser.add_argument(
        "--spottings",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="sign spottings, .json or .pkl, as pseudo-glosses",
    )
    threshold = (
        "least probability, or one for each type that is to be used: mouthing=0.8,dictionary=0.9"
    )
    add_number(parser, "spotting_threshold", str, "0.8", "P", threshold)
    merge = "detections of one word at most this far apart are one sign"
    add_number(parser, "merge", duration, 1.0, "SECONDS", merge)


def read_spottings(
    paths: Sequence[Path],
    episodes: Collection[str],
    thresholds: Mapping[str, float],
    merge_s: float,
) -> Spottings:
    """Spottings of all files together.

    Detections of one word in one episode that follow each other by at most `merge_s` are one
    sign, at the time of the surest of them: the same sign is found by several methods and in
    neighbouring windows. Different words at one time all stay.

    Args:
      paths: the files.
      episodes: those wanted.
      thresholds: type -> least probability; types that it does not name are not used; "" stands
        for all.
      merge_s: seconds.

    Raises:
      SignBindError: a file in no known form; lists of different lengths; a type that is neither
        known nor told.
    """
    index_of = {episode: i for i, episode in enumerate(sorted(episodes))}
    words: dict[str, int] = {}
    counts: dict[str, dict[str, int]] = {}
    parts = [_columns(path, index_of, words, thresholds, counts) for path in paths]
    if not parts:
        return NONE
    found = _Columns(*map(np.concatenate, zip(*parts)))
    vocabulary = sorted(words)
    rank = np.empty(len(words), np.int32)
    rank[[words[word] for word in vocabulary]] = np.arange(len(words))
    found = _merged(found._replace(word=rank[found.word]), merge_s)
    counts["all"] = {"kept after merging": len(found.word)}
    names = list(index_of)
    first = np.searchsorted(found.episode, np.arange(len(names) + 1)).tolist()
    start_of = {
        name: slice(*first[i : i + 2]) for i, name in enumerate(names) if first[i] < first[i + 1]
    }
    return Spottings(start_of, found.time_s, found.word, vocabulary, counts)


def parse_thresholds(text: str) -> dict[str, float]:
    """`0.8`, or `mouthing=0.8,dictionary=0.9`, as `read_spottings` wants it.

    Raises:
      SignBindError: an unknown type; no number in 0..1.
    """
    thresholds = {}
    for part in text.split(","):
        name, _, number = part.strip().rpartition("=")
        kind = _type(name) if name else ""
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1 or kind not in ("", *TYPES):
            raise SignBindError(
                f"--spotting_threshold: found {part!r}, wanted a number in 0..1 or "
                f"TYPE=NUMBER,... with types of {', '.join(TYPES)}"
            )
        thresholds[kind] = value
    return thresholds


def _merged(found: _Columns, merge_s: float) -> _Columns:
    """One spotting a sign, in order of episode, time and word."""
    if not len(found.word):
        return found
    order = np.lexsort((found.time_s, found.word, found.episode))
    found = _Columns(*(column[order] for column in found))
    far = np.diff(found.time_s) > merge_s
    begins = far | (np.diff(found.word) != 0) | (np.diff(found.episode) != 0)
    sign = np.concatenate([[0], np.cumsum(begins)])
    by_sureness = np.lexsort((found.time_s, -found.prob, sign))
    surest = by_sureness[np.concatenate([[True], np.diff(sign[by_sureness]) != 0])]
    found = _Columns(*(column[surest] for column in found))
    order = np.lexsort((found.word, found.time_s, found.episode))
    return _Columns(*(column[order] for column in found))


def _columns(
    path: Path,
    index_of: dict[str, int],
    words: dict[str, int],
    thresholds: Mapping[str, float],
    counts: dict[str, dict[str, int]],
) -> _Columns:
    """The spottings of a file that are wanted and sure enough; the rest is counted."""
    lists = _lists(path)
    n = len(lists["episode_name"])
    episode = np.fromiter((index_of.get(_name(e), -1) for e in lists["episode_name"]), np.int32, n)
    word = np.fromiter(
        (words.setdefault(_word(w), len(words)) for w in lists["annot_word"]), np.int32, n
    )
    time_s, prob = (_numbers(lists[name], name, path) for name in ("annot_time", "annot_prob"))
    kinds: dict[str, int] = {}
    kind = np.fromiter(
        (kinds.setdefault(_type(k), len(kinds)) for k in _types(lists, path)), np.int32, n
    )
    empty = word == words.get("", -1)
    readable = np.isfinite(time_s) & np.isfinite(prob) & (time_s >= 0) & ~empty
    used = np.zeros(n, bool)
    for name, i in kinds.items():
        own = kind == i
        least = thresholds.get(name, thresholds.get("", np.inf))
        sure = own & readable & (prob >= least)
        used |= sure
        time_s[own] += _TO_MIDDLE.get(name, 0.0) / _FPS
        count = counts.setdefault(name, dict.fromkeys(("read", "unreadable", "too unsure"), 0))
        count["read"] += int(own.sum())
        count["unreadable"] += int((own & ~readable).sum())
        count["too unsure"] += int((own & readable & ~sure).sum())
    used &= episode >= 0
    return _Columns(episode[used], word[used], time_s[used], prob[used])


def _lists(path: Path) -> Mapping[str, Sequence]:
    data = _load(path)
    if isinstance(data, dict) and LISTS[0] not in data:
        data = _flattened(data, path)
    types = {"annot_type"} & data.keys() if isinstance(data, dict) else ()
    if not isinstance(data, dict) or not all(_is_list(data.get(n)) for n in (*LISTS, *types)):
        raise SignBindError(
            f"{path}: found no parallel lists {', '.join((*LISTS, *types))} and no words by split "
            "with names, global_times, probs: is it a spotting file?"
        )
    for name in (*LISTS[1:], *types):
        if len(data[name]) != len(data[LISTS[0]]):
            raise SignBindError(
                f"{path}: {name}: found {len(data[name])} values, wanted "
                f"{len(data[LISTS[0]])} as in {LISTS[0]}: copy the file "
                "again"
            )
    return data


def _load(path: Path) -> object:
    if path.suffix in (".pkl", ".pickle"):
        return restricted_pickle.load(path, _MOST_BYTES)
    return files.read_json(path, _MOST_BYTES, _MOST_VALUES)


def _flattened(data: dict, path: Path) -> dict[str, list] | None:
    """The parallel lists of spottings by split and word; None where that is not their form."""
    lists: dict[str, list] = {name: [] for name in LISTS}
    for by_word in data.values():
        if not isinstance(by_word, dict):
            return None
        for word, found in by_word.items():
            columns = [
                found.get(name) if isinstance(found, dict) else None
                for name in ("names", "global_times", "probs")
            ]
            if not all(isinstance(column, list) for column in columns):
                return None
            if len(set(map(len, columns))) > 1:
                n = ", ".join(str(len(column)) for column in columns)
                raise SignBindError(
                    f"{path}: word {str(word)[:60]!r}: found {n} names, global_times and probs, "
                    "wanted as many of each"
                )
            lists["annot_word"] += [word] * len(columns[0])
            for name, column in zip(("episode_name", "annot_time", "annot_prob"), columns):
                lists[name] += column
    return lists


def _types(lists: Mapping[str, Sequence], path: Path) -> Iterable[str]:
    if "annot_type" in lists:
        return lists["annot_type"]
    parts = re.split(r"[^a-z]+", path.stem.lower())
    known = [kind for kind in map(_type, parts) if kind in TYPES]
    if not known and "pseudo" in parts:
        known = ["pseudo_label"]
    if len(known) != 1:
        raise SignBindError(
            f"{path}: annot_type: missing, and the file's name tells no type, "
            f"wanted one of {', '.join(TYPES)} in it"
        )
    return itertools.repeat(known[0], len(lists["episode_name"]))


def _type(text: object) -> str:
    """A type's full name; what is not known stays as it is."""
    short = _text(text).strip().rstrip("*").lower()
    return _SHORT.get(short, short.removesuffix("s") if short.removesuffix("s") in TYPES else short)


def _name(episode: object) -> str:
    return _text(episode).strip().removesuffix(".mp4")


def _word(text: object) -> str:
    """A token without spaces inside; empty where there is none."""
    return "-".join(_text(text).lower().split())


def _text(value: object) -> str:
    """A value that is text; empty for any other, and for halves of characters from a pickle."""
    is_text = isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)
    return value if is_text else ""


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _numbers(values: Sequence, name: str, path: Path) -> np.ndarray:
    try:
        numbers = np.array(values, np.float64)
        if numbers.ndim == 1:
            return numbers
        found = f"shape {numbers.shape}"
    except (TypeError, ValueError, OverflowError) as error:
        found = " ".join(str(error).split())[:80]
    raise SignBindError(f"{path}: {name}: found {found}, wanted one number a spotting")
