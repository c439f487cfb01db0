"""Drawing words and phrases for a sentence; every phrase knows its signs and its English."""

import random
from dataclasses import dataclass

from signbind_jax.data.clip import FINGERSPELLED_PREFIX
from signbind_jax.data_pipelines.synthetic import names
from signbind_jax.data_pipelines.synthetic.lexicon import BY_CATEGORY, LEXICON, Entry

_PAIR_SHARE = 0.4
_NAME_FIRST = 0.65
_PRONOUN_SHARE = 0.3


@dataclass(frozen=True)
class Word:
    """One element of the hand timeline: a sign (`entry`) or a fingerspelled `name`.

    `form` is the English form in the text and `twin_form` what its twin would look like.
    """

    entry: Entry | None = None
    name: str = ""
    form: str = ""
    twin_form: str = ""

    @property
    def sense(self) -> str:
        """The token that fusion writes for it."""
        return self.entry.sense if self.entry else FINGERSPELLED_PREFIX + self.name


@dataclass(frozen=True)
class Phrase:
    """Signs in signed order with the English they stand for.

    `number` is "I", "plural" (you, we, they) or "one"; `as_object` the object form.
    """

    words: tuple[Word, ...]
    text: str
    as_object: str
    number: str = "one"


def inflect(entry: Entry, form: str) -> str:
    """The English of a word: "text", "second" (plural, past, object) or "future"."""
    if form == "future":
        return f"will {entry.text}"
    return entry.second if form == "second" else entry.text


def function_word(sense: str) -> Word:
    """A sign that is chosen by name, such as "not"."""
    return Word(LEXICON[sense], form=LEXICON[sense].text)


def make_word(entry: Entry, form: str = "text") -> Word:
    """The word in one of its forms, with the same form of its twin."""
    twin_form = inflect(LEXICON[entry.twin], form) if entry.twin else ""
    return Word(entry, form=inflect(entry, form), twin_form=twin_form)


def make_name(name: str) -> Phrase:
    """A fingerspelled name as a phrase."""
    text = name.capitalize()
    return Phrase((Word(name=name, form=text),), text, text)


class Draw:
    """Draws the words of one sentence; no word is drawn twice.

    Args:
      rng: where chance comes from.
      share: whose names may be used (`names.allowed`).
      n_names: how many names the sentence should spell.
      pairs: whether words that share a sign may be drawn.
    """

    def __init__(self, rng: random.Random, share: str, n_names: int, pairs: bool = True):
        self.rng = rng
        self._share = share
        self.names_left = n_names
        self._pair_share = _PAIR_SHARE if pairs else 0.0
        self._used: set[str] = set()

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.rng.random() < p

    def entry(self, category: str) -> Entry:
        """A word whose sign the sentence does not have yet."""
        singles, pairs = BY_CATEGORY[category]
        while True:
            if pairs and self.chance(self._pair_share):
                entry = self.rng.choice(self.rng.choice(pairs))
            else:
                entry = self.rng.choice(singles)
            if entry.gloss not in self._used:
                self._used.add(entry.gloss)
                return entry

    def word(self, category: str, form: str = "text") -> Word:
        """A fresh word of the category in the form asked for."""
        return make_word(self.entry(category), form)

    def name(self) -> Phrase:
        """A fresh fingerspelled name."""
        self.names_left -= 1
        return make_name(names.name(self.rng, self._share))

    def someone(self, pronouns: bool = True) -> Phrase:
        """A person without a name: a pronoun or "the teacher"."""
        if pronouns and self.chance(_PRONOUN_SHARE):
            entry = self.entry("pronoun")
            number = "I" if entry.sense == "i" else "plural"
            return Phrase((make_word(entry),), entry.text, entry.second, number)
        noun = self.word("person")
        if self.chance(0.7):
            return Phrase((noun,), f"the {noun.form}", f"the {noun.form}")
        adjective = self.word("person-adjective")
        text = f"the {adjective.form} {noun.form}"
        return Phrase((noun, adjective), text, text)

    def person(self) -> Phrase:
        """A person, by name where the sentence still needs one."""
        if self.names_left and self.chance(_NAME_FIRST):
            return self.name()
        return self.someone()

    def thing(self, adjective: float = 0.55, number: float = 0.15) -> Phrase:
        """ "the red book" (signed BOOK RED), or "three red books" (BOOK RED THREE).

        `adjective` and `number` are the chances that it has one.
        """
        number = self.chance(number)
        noun = self.word("thing", "second" if number else "text")
        words, text = [noun], noun.form
        if self.chance(adjective):
            words.append(self.word("thing-adjective"))
            text = f"{words[-1].form} {text}"
        if number:
            words.append(self.word("number"))
            text = f"{words[-1].form} {text}"
        else:
            text = f"the {text}"
        return Phrase(tuple(words), text, text, "plural" if number else "one")

    def owned(self) -> Phrase:
        """A thing with an owner: "my book", "Anna's book" or "this book"."""
        if self.names_left and self.chance(_NAME_FIRST):
            name = self.name()
            owner = (*name.words, function_word("own"))
            text = f"{name.text}'s"
        elif self.chance(0.3):
            owner, text = (function_word("this"),), "this"
        else:
            owner = (self.word("possessive"),)
            text = owner[0].form
        noun = self.word("thing")
        text = f"{text} {noun.form}"
        return Phrase((*owner, noun), text, text)

    def place(self) -> Phrase:
        """ "at the school"; the object form is "the school"."""
        noun = self.word("place")
        return Phrase((noun,), f"at the {noun.form}", f"the {noun.form}")

    def time(self, p: float = 0.7) -> tuple[tuple[Word, ...], str, str]:
        """With probability p a time sign: (its words, verb form it asks for, its English).

        Without one a story is told in the past.
        """
        if not self.chance(p):
            return (), "second", ""
        future = self.chance(0.5)
        word = self.word("future-time" if future else "past-time")
        return (word,), "future" if future else "second", f" {word.form}"

    def scene(self, p: float = 0.7) -> tuple[tuple[Word, ...], str, str]:
        """Like `time`, with a place sign after the time sign half of the time."""
        words, form, when = self.time(p)
        if not self.chance(0.6):
            return words, form, when
        place = self.place()
        return (*words, *place.words), form, f" {place.text}{when}"
