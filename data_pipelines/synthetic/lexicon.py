"""The words of the synthetic language: glosses, categories, English forms, phonemes.

Words with mouthings stand in words.txt, phonemes in ARPAbet without stress. A pair ("brother /
cousin") shares one sign; only its mouthings tell the two words apart.
"""

from dataclasses import dataclass
from pathlib import Path

# Words that are never mouthed, so they need no phonemes.
_FUNCTION_WORDS = {
    "pronoun": "I,me you,you we,us they,them",
    "possessive": "my your our",
    "relation": "on under behind beside",
    "wh-adverb": "where when why",
    "modal": "can must",
    "particle": "not question what who how-many and but because please this have want own again",
}

_NOUNS = ("person", "thing", "place")


def _content_words() -> dict[str, list[str]]:
    """Category -> the lines of its words in words.txt."""
    words: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            words[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            words[next(reversed(words))].append(line)
    return words


_CONTENT_WORDS = _content_words()


@dataclass(frozen=True)
class Entry:
    """One word.

    Attributes:
      sense: the lemma that fusion writes; unique.
      gloss: the label of its sign; a pair shares one.
      category: its place in the grammar.
      text: its plain English form.
      second: plural, past or object form, by category.
      phonemes: how it is mouthed; empty where it never is.
      twin: the sense that shares its sign; empty where none does.
    """

    sense: str
    gloss: str
    category: str
    text: str
    second: str
    phonemes: tuple[str, ...] = ()
    twin: str = ""


def _entry(word: str, category: str) -> Entry:
    forms, *phonemes = word.split(" ") if "," not in word else _split_forms(word)
    lemma, _, second = forms.partition(",")
    if category in ("past-time", "future-time"):
        return Entry(lemma, lemma.upper(), category, second or lemma, "", tuple(phonemes))
    second = second or (lemma + "s" if category in _NOUNS else "")
    return Entry(lemma, lemma.upper(), category, lemma, second, tuple(phonemes))


def _split_forms(word: str) -> list[str]:
    # Phonemes are upper case: the forms end before the first upper-case field.
    fields = word.split(" ")
    n_forms = next(i for i, field in enumerate(fields) if i and field.isupper())
    return [" ".join(fields[:n_forms]), *fields[n_forms:]]


def _build() -> dict[str, Entry]:
    lexicon = {}
    for category, lines in _CONTENT_WORDS.items():
        for line in lines:
            entries = [_entry(word, category) for word in line.split(" / ")]
            if len(entries) == 2:
                gloss = "|".join(entry.gloss for entry in entries)
                senses = [entry.sense for entry in entries]
                entries = [
                    Entry(e.sense, gloss, category, e.text, e.second, e.phonemes, twin)
                    for e, twin in zip(entries, reversed(senses), strict=True)
                ]
            lexicon.update((entry.sense, entry) for entry in entries)
    for category, words in _FUNCTION_WORDS.items():
        for word in words.split():
            lemma, _, second = word.partition(",")
            lexicon[lemma.lower()] = Entry(lemma.lower(), lemma.upper(), category, lemma, second)
    return lexicon


LEXICON: dict[str, Entry] = _build()
GLOSSES: tuple[str, ...] = tuple(dict.fromkeys(entry.gloss for entry in LEXICON.values()))


def _by_category() -> dict[str, tuple[tuple[Entry, ...], tuple[tuple[Entry, Entry], ...]]]:
    table = {}
    for category in (*_CONTENT_WORDS, *_FUNCTION_WORDS):
        members = [entry for entry in LEXICON.values() if entry.category == category]
        singles = tuple(entry for entry in members if not entry.twin)
        pairs = tuple(
            (entry, LEXICON[entry.twin])
            for entry in members
            if entry.gloss.startswith(entry.sense.upper() + "|")
        )
        table[category] = (singles, pairs)
    return table


# category -> (words with a sign of their own, pairs that share a sign)
BY_CATEGORY = _by_category()
PAIRS: tuple[tuple[Entry, Entry], ...] = tuple(
    p for _, pairs in BY_CATEGORY.values() for p in pairs
)
