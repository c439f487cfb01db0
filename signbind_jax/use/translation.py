"""Translation: what a translator says of one clip, and when its words were signed."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from signbind_jax import streams
from signbind_jax.data.clip import TimedToken
from signbind_jax.data.labels import words_of
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.models.spelled_text import LEAST_LETTERS


@dataclass(frozen=True)
class Word:
    """A word of the text and when it was signed, in seconds; None where that is not known.

    The times are an estimate, see `time_words`.
    """

    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class Translation:
    """What a translator says of one clip.

    Attributes:
      id: of the clip.
      text: the sentence.
      streams: what the experts read, when and how surely, by stream.
      fused: what fusion made of the streams: sense lemmas and letters.
      words: the words of the text with estimated times, see `time_words`.
      no_input: the streams that got nothing to read in this clip.
    """

    id: str
    text: str
    streams: dict[str, list[TimedToken]]
    fused: list[str]
    words: list[Word]
    no_input: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready copy."""
        record = dataclasses.asdict(self)
        record["streams"] = {
            name: [token._asdict() for token in row] for name, row in self.streams.items()
        }
        return record | {"no_input": list(self.no_input)}


def json_line(found: Translation, generation: GenerationConfig, **where: Any) -> str:
    """A translation as one line of JSON, behind what says `where` it is from, with what it was
    written with."""
    record = found.to_json()
    own = {"id": record.pop("id"), "sentence": record.pop("text")}
    record = {**where, **own, "generation": dataclasses.asdict(generation), **record}
    return json.dumps(record, ensure_ascii=False)


def time_words(text: str, read: Mapping[str, Sequence[TimedToken]]) -> list[Word]:
    """The words of a text with the times of tokens that say the same.

    An estimate by spelling alone: a word has the times of the first token or run of letters, not
    given to a word before it, that reads as the word does, whatever the case. An inflected form
    ("came" for COME) and a word that nothing was signed for have no times.

    Args:
      read: the tokens by stream, in order of time; phonemes are not looked at.
    """
    targets = {name: streams.get(name).target for name in read}
    letters = [_Letters(tokens) for name, tokens in read.items() if streams.get(name).spells]
    whole = [t for name, row in read.items() if targets[name] not in _PARTS for t in row]
    whole.sort(key=lambda token: token.start)
    words = []
    for word in words_of(text):
        own = word.casefold()
        found = next((t for t in whole if t.token.casefold() == own), None)
        if found:
            whole.remove(found)
            words.append(Word(word, found.start, found.end))
        else:
            times = next(filter(None, (run.take(own) for run in letters)), ())
            words.append(Word(word, *times))
    return words


# Targets whose tokens are parts of words.
_PARTS = (streams.FINGERSPELLING.target, streams.LIPREADING.target)


class _Letters:
    """The letters of a stream, from which words are taken."""

    def __init__(self, tokens: Sequence[TimedToken]):
        self.tokens = [token for token in tokens if len(token.token) == 1]
        self.text = "".join(token.token for token in self.tokens)

    def take(self, word: str) -> tuple[float, float] | None:
        """Start and end of a run that spells the word, which no other word then has."""
        first = self.text.find(word) if len(word) >= LEAST_LETTERS else -1
        if first < 0:
            return None
        last = first + len(word) - 1
        self.text = self.text[:first] + " " * len(word) + self.text[last + 1 :]
        return self.tokens[first].start, self.tokens[last].end
