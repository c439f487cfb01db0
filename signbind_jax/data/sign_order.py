"""When an expert sees the pseudo-glosses of a training split's clips, as `signbind data order`
found it: a file by which derived targets stand in the order of the signs.

A text has its words in another order than its signs, and CTC can only learn what comes in order.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from signbind_jax import files, sealed
from signbind_jax.data.clip import FINGERSPELLED_PREFIX, TimedToken
from signbind_jax.data.spellings import Spellings, timed_tokens, write_found


@dataclass(frozen=True)
class SignOrder:
    """What was looked for in the clips of a split.

    Attributes:
      split: digest of the split.
      seen: clip id -> its pseudo-glosses where they are most likely, in order of time; without
        those that the expert does not know.
      digest: SHA-256 of the file.
    """

    split: str
    seen: Mapping[str, tuple[TimedToken, ...]]
    digest: str = ""

    def with_spelled(self, found: Spellings) -> "SignOrder":
        """The same with what was found to be spelled, as tokens that begin with "fs-"."""
        seen = {
            clip: (*self.seen.get(clip, ()), *(_as_token(word) for word in words))
            for clip, words in found.spelled.items()
        }
        return replace(self, seen={**self.seen, **seen})

    def ordered(self, clip_id: str, gloss: Sequence[str]) -> tuple[str, ...]:
        """The pseudo-glosses of a clip in the order in which they were seen.

        One that was not looked for stays behind the one before it in `gloss`.
        """
        starts: dict[str, list[float]] = defaultdict(list)
        for token in self.seen.get(clip_id, ()):
            starts[token.token].append(token.start)
        times, last = [], 0.0
        for one in gloss:
            last = starts[one].pop(0) if starts[one] else last
            times.append(last)
        return tuple(gloss[i] for i in sorted(range(len(gloss)), key=times.__getitem__))


def _as_token(word: TimedToken) -> TimedToken:
    return word._replace(token=FINGERSPELLED_PREFIX + word.token)


def write_sign_order(path: Path, found: SignOrder, **about) -> None:
    """Writes the file; `about`: JSON-ready, where it comes from.

    Raises:
      SignBindError: it cannot be written.
    """
    seen = {clip: [token.row for token in tokens] for clip, tokens in found.seen.items()}
    write_found(path, {"split": found.split, "seen": seen} | about)


def read_sign_order(path: Path | str) -> SignOrder:
    """What `write_sign_order` wrote.

    Raises:
      SignBindError: a damaged file, or another one.
    """
    record, where = sealed.read(path), str(path)
    split = files.field(record, "split", str, where)
    return SignOrder(split, timed_tokens(record, "seen", where), sealed.digest(record))
