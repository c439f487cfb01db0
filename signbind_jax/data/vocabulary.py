"""Token inventories of the experts and of fusion, with digests that manifests carry."""

import collections
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from signbind_jax import files
from signbind_jax.errors import SignBindError

BLANK = "<blank>"
UNREAD = "<unread>"  # last of a stream's tokens: a while in which its expert read nothing
# What fusion reads out, as datasets and artefacts call it: another name would change the digests of
# those that exist.
FUSION_TARGETS = "senses"
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
    def from_sequences(cls, name: str, sequences: Iterable[Iterable[str]]) -> "Vocabulary":
        """All tokens that occur in `sequences`, sorted, after the blank."""
        return cls(name, (BLANK, *sorted({token for sequence in sequences for token in sequence})))

    @classmethod
    def letters(cls) -> "Vocabulary":
        """The 31 symbols of fingerspelling (ChicagoFSWild) and the blank."""
        return cls("letters", (BLANK, *LETTERS))

    def __len__(self) -> int:
        return len(self.tokens)

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
