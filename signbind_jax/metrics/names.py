"""Names of sentences that no label tells of: words that training text never had, and words with a
capital inside a sentence (docs/use/names.md)."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files, sealed
from signbind_jax.data.labels import APOSTROPHES
from signbind_jax.errors import SignBindError

KNOWN_WORDS = "known_words.json"  # of a run that writes sentences
# Scripts without spaces between words (kana, ideographs, Thai, Lao, Burmese, Khmer): what stands
# between two spaces is no word there.
_UNDIVIDED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
# A capital inside a sentence is no sign of a name: nouns have one.
_CAPITAL_NOUNS = ("de", "lb")
# A corpus in which more of the words inside sentences than this have a capital is not in cased
# text, but in capitals or in titles.
_MOST_CAPITALS = 0.5
_WORD = re.compile(r"\w+(?:['-]\w+)*")
_POSSESSIVE = re.compile(r"'s$")
_FIRST_PERSON = re.compile(r"i'(?:m|d|ll|ve)$")
# Between a word and the one before it: what ends a sentence or begins one that is quoted.
_BEGINS = re.compile(r"[.!?…:;\"“”„«»()\[\]]|--|[–—]")
_TITLES = ("mr", "mrs", "ms", "dr", "prof", "st", "mt")  # a full stop behind them ends nothing


def known_words(texts: Iterable[str]) -> frozenset[str]:
    """The words of training text, case-folded; of "well-known" and "Anna's" the parts."""
    words = {word for text in texts for word in _WORD.findall(text.translate(APOSTROPHES))}
    return frozenset(part for word in words for part in _Word(word, True).folded.split("-"))


def word_counts(text: str) -> Counter[str]:
    """How often a text has each word, case-folded: "Anna's" is "anna", "Anna-Lee" is not."""
    return Counter(_Word(*word).folded for word in _words(text))


def write_known_words(directory: Path, words: frozenset[str]) -> None:
    """Writes the words that a run was trained on into its directory."""
    sealed.write(directory / KNOWN_WORDS, {"words": sorted(words)})


def read_known_words(directory: Path) -> frozenset[str] | None:
    """The words that a run was trained on; None of a run of before they were kept.

    Raises:
      SignBindError: the file is not as it was written.
    """
    path = directory / KNOWN_WORDS
    if not path.exists():
        return None
    words = files.field(sealed.read(path), "words", list, str(path))
    if not all(isinstance(word, str) for word in words):
        raise SignBindError(f"{path}: words: found other than text, wanted a list of words")
    return frozenset(words)


def names_of(
    texts: Sequence[str], languages: Sequence[str], known: frozenset[str]
) -> list[tuple[str, ...]]:
    """The names in each sentence of a corpus, in order, as they are written.

    A word is a name (1) where a part of it is not in `known`, or (2) where it has a capital inside
    a sentence. The first word of a sentence, of a quotation or behind a colon is one by (2) only
    where the corpus has it with a capital inside a sentence too, and nowhere without. By (2) no
    name is found in German, in text in capitals or in titles. "I", single letters, words with a
    digit and words of scripts that put no space between words are none; of "Anna's" the name is
    "Anna".

    Args:
      texts, languages: a sentence a clip, and its BCP-47 tag.
      known: see `known_words`.
    """
    rows = [[_Word(*word) for word in _words(text)] for text in texts]
    cased = [
        re.split("[-_]", language.lower())[0] not in _CAPITAL_NOUNS and text != text.upper()
        for text, language in zip(texts, languages, strict=True)
    ]
    inside = [
        word for row, ok in zip(rows, cased, strict=True) if ok for word in row if word.inside
    ]
    capitals = Counter(word.folded for word in inside if word.is_capital)
    if capitals.total() > _MOST_CAPITALS * len(inside):
        capitals.clear()
    always = capitals.keys() - {w.folded for row in rows for w in row if not w.is_capital}

    def is_name(word: _Word, cased: bool) -> bool:
        if not word.may_be_a_name:
            return False
        written_so = cased and word.is_capital
        found = written_so and word.folded in (capitals if word.inside else always)
        return found or not known.issuperset(word.folded.split("-"))

    return [
        tuple(word.bare for word in row if is_name(word, ok))
        for row, ok in zip(rows, cased, strict=True)
    ]


class _Word(NamedTuple):
    """A word of a text, and whether it stands inside a sentence."""

    text: str
    inside: bool

    @property
    def bare(self) -> str:
        return _POSSESSIVE.sub("", self.text)

    @property
    def folded(self) -> str:
        return self.bare.casefold()

    @property
    def is_capital(self) -> bool:
        return self.text[0].isupper()

    @property
    def may_be_a_name(self) -> bool:
        digit = any(char.isdigit() for char in self.text)
        short = len(self.bare) < 2 or _FIRST_PERSON.match(self.folded)
        return not (short or digit or _UNDIVIDED.search(self.text))


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """The words of a text, and whether each stands inside a sentence."""
    text, before, end = text.translate(APOSTROPHES), "", 0
    for match in _WORD.finditer(text):
        gap = text[end : match.start()]
        begins = not before or _BEGINS.search(gap)
        yield match.group(), not begins or (gap == ". " and before in _TITLES)
        before, end = match.group().casefold(), match.end()
