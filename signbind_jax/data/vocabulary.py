"""Token inventories of the experts and of fusion, with digests that manifests carry; as files they
are shared by runs on several corpora."""

import collections
import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from signbind_jax import files, sealed
from signbind_jax.errors import SignBindError

BLANK = "<blank>"
UNREAD = "<unread>"  # last of a stream's tokens: a while in which its expert read nothing
# What fusion reads out, as datasets and artefacts call it: another name would change the digests of
# those that exist.
FUSION_TARGETS = "senses"
LEAST_COVERAGE = 0.5  # share of a corpus's tokens below which a vocabulary is of another one
LETTERS = (" ", "&", "'", ".", "@", *"abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Vocabulary:
    """An ordered token inventory; id 0 is the CTC blank.

    `name` says what the tokens are ("gloss", "letters", "phonemes", FUSION_TARGETS).
    """

    name: str
    tokens: tuple[str, ...]

    def __post_init__(self):
        if not self.tokens or self.tokens[0] != BLANK:
            raise SignBindError(
                f"vocabulary {self.name}: token 0: found {self.tokens[:1]}, wanted {BLANK}"
            )
        if len(set(self.tokens)) != len(self.tokens):
            twice = [t for t, n in collections.Counter(self.tokens).items() if n > 1]
            raise SignBindError(f"vocabulary {self.name}: tokens listed twice: {twice[:5]}")

    @classmethod
    def from_sequences(
        cls,
        name: str,
        sequences: Iterable[Iterable[str]],
        min_count: int = 1,
        always: Container[str] = (),
    ) -> "Vocabulary":
        """The tokens that occur in `sequences`, sorted, after the blank: `min_count` times at
        least, those of `always` once."""
        counts = count(sequences)
        kept = [token for token, n in counts.items() if n >= min_count or token in always]
        return cls(name, (BLANK, *sorted(kept)))

    @classmethod
    def letters(cls) -> "Vocabulary":
        """The 31 symbols of fingerspelling (ChicagoFSWild) and the blank."""
        return cls("letters", (BLANK, *LETTERS))

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the ordered tokens."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def encode(self, sequence: Iterable[str]) -> list[int]:
        """Ids of the known tokens of `sequence`; unknown tokens are left out.

        Count what is left out with `unknown`.
        """
        return [self._ids[token] for token in sequence if token in self._ids]

    def unknown(self, sequence: Iterable[str]) -> list[str]:
        """The tokens of `sequence` that this vocabulary does not hold."""
        return [token for token in sequence if token not in self._ids]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Tokens of `ids`, blanks left out."""
        return [self.tokens[i] for i in ids if i != 0]

    def to_json(self) -> dict:
        """A JSON-ready copy, read back by `from_json`."""
        return {"name": self.name, "tokens": list(self.tokens)}

    @classmethod
    def from_json(cls, record: dict, where: str = "vocabulary") -> "Vocabulary":
        """The vocabulary that `to_json` wrote; `where` names its file in errors.

        Raises:
          SignBindError: it is not what `to_json` writes.
        """
        tokens = files.field(record, "tokens", list, where)
        if not all(isinstance(token, str) for token in tokens):
            raise SignBindError(f"{where}: tokens: found other than text, wanted a list of tokens")
        return cls(files.field(record, "name", str, where), tuple(tokens))


def count(sequences: Iterable[Iterable[str]]) -> collections.Counter[str]:
    """How often each token occurs."""
    return collections.Counter(token for sequence in sequences for token in sequence)


@dataclass(frozen=True)
class Coverage:
    """How much of a corpus a vocabulary holds.

    Attributes:
      n, n_known: tokens, and those in the vocabulary.
      kinds: different tokens.
      unknown: those that are not in the vocabulary, the most frequent first.
    """

    n: int
    n_known: int
    kinds: int
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary, counts: Mapping[str, int]) -> "Coverage":
        """counts: how often each token occurs."""
        unknown = [token for token in counts if token not in vocabulary]
        unknown.sort(key=lambda token: (-counts[token], token))
        n = sum(counts.values())
        n_known = n - sum(counts[token] for token in unknown)
        return cls(n, n_known, len(counts), tuple(unknown))

    @property
    def share(self) -> float:
        """Of the tokens, those in the vocabulary; 1 where there is none."""
        return self.n_known / self.n if self.n else 1.0

    def check(self, where: str, corpus: str, wanted: str) -> None:
        """Refuses a vocabulary of another language or corpus.

        Args:
          where, wanted: what names the vocabulary, and what to give instead, for the error.
          corpus: what names the data.

        Raises:
          SignBindError: it holds less than LEAST_COVERAGE of the tokens.
        """
        if self.share < LEAST_COVERAGE:
            raise SignBindError(
                f"{where}: found {self.n_known:,} of the {self.n:,} tokens of {corpus} in the "
                f"vocabulary ({100 * self.share:.1f} %; not {', '.join(self.unknown[:3])}), wanted "
                f"at least {100 * LEAST_COVERAGE:g} %: {wanted}"
            )


def write_vocabulary(path: Path, kind: str, vocabulary: Vocabulary, **about) -> None:
    """Writes a vocabulary as a file; `about`: JSON-ready, where it comes from."""
    record = {"kind": kind, "tokens": list(vocabulary.tokens[1:])}
    sealed.write(path, record | about)


def read_vocabulary(path: Path | str, kind: str, name: str) -> Vocabulary:
    """The vocabulary of a file: one that `write_vocabulary` wrote, or JSON by hand with `kind` and
    `tokens` alone.

    Args:
      kind: what its tokens have to be.
      name: of the vocabulary.

    Raises:
      SignBindError: a damaged file, one of another kind, or tokens that are none or there twice.
    """
    record, where = sealed.read(path, frozenset({"kind", "tokens"})), str(path)
    found = files.field(record, "kind", str, where)
    if found != kind:
        raise SignBindError(f"{where}: kind: found {files.shorten(found)}, wanted {kind}")
    tokens = files.field(record, "tokens", list, where)
    bad = [token for token in tokens if not isinstance(token, str) or not token or "\n" in token]
    if bad or not tokens:
        found = files.shorten(bad[0]) if bad else "none"
        raise SignBindError(f"{where}: tokens: found {found}, wanted texts of one line")
    try:
        return Vocabulary(name, (BLANK, *tokens))
    except SignBindError as error:
        raise SignBindError(f"{where}: {error}") from error
