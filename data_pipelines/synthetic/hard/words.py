"""The words of the hard preset: which sign each has, how English inflects it, how it is mouthed.

words.txt lists them by category and topic. A sign may have several words ("big=large"), words of
different categories one sign ("a book", "to book"), and some pairs of words share their hands so
that only mouthing or sense tells them apart. Words of the category `spelled` have no sign.
"""

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from signbind_jax.data import labels
from signbind_jax.data_pipelines.synthetic.lexicon import Entry
from signbind_jax.errors import SignBindError

# Pairs of words that share their hands although they mean something else.
N_PAIRS = 60
_PAIRED = ("person", "thing", "place", "do-thing", "is-thing")

# Signs that are chosen by name; those of `_WORDLESS` have no English word.
_FUNCTION = """
i you he she we they my your his her our their not what who where when why and but because if can
must should may there-is
"""
_WORDLESS = ("ix", "done", "yes-no", "well-then")

_IRREGULAR_NOUNS = """
man:men woman:women child:children person:people wife:wives policeman:policemen
fisherman:fishermen gentleman:gentlemen knife:knives shelf:shelves leaf:leaves wolf:wolves
mouse:mice goose:geese tooth:teeth foot:feet fish:fish sheep:sheep deer:deer hero:heroes
bookshelf:bookshelves thief:thieves scarf:scarves potato:potatoes tomato:tomatoes snowman:snowmen
quiz:quizzes relatives:relatives stairs:stairs woods:woods goggles:goggles pajamas:pajamas
headquarters:headquarters moose:moose mosquito:mosquitoes volcano:volcanoes tornado:tornadoes
mango:mangoes domino:dominoes
"""
# base:past[:participle]
_IRREGULAR_VERBS = """
buy:bought find:found lose:lost bring:brought make:made break:broke:broken see:saw:seen
hide:hid:hidden choose:chose:chosen draw:drew:drawn sell:sold forget:forgot:forgotten
throw:threw:thrown keep:kept steal:stole:stolen lend:lent get:got hold:held cut:cut build:built
hang:hung begin:began:begun understand:understood eat:ate:eaten drink:drank:drunk
freeze:froze:frozen sweep:swept read:read write:wrote:written grow:grew:grown feed:fed
catch:caught dig:dug ride:rode:ridden win:won hit:hit shoot:shot drive:drove:driven
forbid:forbade:forbidden sing:sang:sung teach:taught meet:met know:knew:known
forgive:forgave:forgiven leave:left pay:paid beat:beat:beaten sleep:slept stand:stood
think:thought wake:woke:woken fall:fell:fallen lie:lay:lain shake:shook:shaken bleed:bled
swim:swam:swum run:ran fly:flew:flown go:went:gone come:came give:gave:given send:sent bend:bent
bite:bit:bitten feel:felt hear:heard prove:proved spread:spread swing:swung tear:tore:torn
spin:spun leap:leapt swear:swore:sworn spill:spilled shrink:shrank:shrunk speak:spoke:spoken
sit:sat weep:wept sneak:snuck shut:shut blow:blew:blown strike:struck panic:panicked
"""
# Verbs of one syllable, or stressed on the last, that double their last letter.
_DOUBLED = """
chop stir stop drop rob hug chat jog plan hop skip mop trap swim run sit cut get win hit dig shut
begin forget spin wrap permit control drag flip trip rub forbid prefer rebel scrub nod grab ban
tap plug
"""

_PLURALS = dict(pair.split(":") for pair in _IRREGULAR_NOUNS.split())
# base -> past, participle
_PASTS = {
    forms[0]: (forms[1], forms[-1])
    for forms in (verb.split(":") for verb in _IRREGULAR_VERBS.split())
}
_DOUBLING = frozenset(_DOUBLED.split())


@dataclass(frozen=True)
class Term:
    """A word of a category with its sign.

    Attributes:
      entry: its sign and mouthing; `gloss` is a word's lemma, in lower case; None where the word
        has no sign and is spelled.
      names: its English words, any of which may stand in a text.
      rank: place among the words of its category and topic, the most frequent first.
    """

    entry: Entry | None
    names: tuple[str, ...]
    rank: int


@dataclass(frozen=True)
class Lexicon:
    """All words.

    Attributes:
      words: (category, topic) -> its words in order of frequency.
      function: sense -> entry of the signs that are chosen by name.
      glosses: every sign once.
      topics: those of content words, "general" left out.
    """

    words: dict[tuple[str, str], tuple[Term, ...]]
    function: dict[str, Entry]
    glosses: tuple[str, ...]
    topics: tuple[str, ...]


@cache
def lexicon() -> Lexicon:
    """The lexicon; the same for every seed.

    Raises:
      MissingPackage: the pronunciation dictionary (extra `corpora`) is not installed.
    """
    listed = _listed()
    shared = _pairs(listed)
    words: dict[tuple[str, str], list[Term]] = {}
    for (category, topic), lines in listed.items():
        for rank, line in enumerate(lines):
            first, *others = line.split("=")
            name, _, lemma = first.partition("/")
            names = (name, *others)
            entry = _entry(lemma or name, name, category, shared)
            words.setdefault((category, topic), []).append(
                Term(None if category == "spelled" else entry, names, rank)
            )
    function = {
        sense: Entry(sense, sense, "function", sense, "")
        for sense in (*_FUNCTION.split(), *_WORDLESS)
    }
    content = [word.entry.gloss for of in words.values() for word in of if word.entry]
    topics = dict.fromkeys(topic for _, topic in listed if topic != "general")
    return Lexicon(
        {key: tuple(of) for key, of in words.items()},
        function,
        tuple(dict.fromkeys([*function, *content])),
        tuple(topics),
    )


def _listed() -> dict[tuple[str, str], list[str]]:
    """(category, topic) -> the words of words.txt."""
    listed: dict[tuple[str, str], list[str]] = {}
    for line in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            category, topic = line.strip("[]").split()
            at = listed.setdefault((category, topic), [])
        elif line and not line.startswith("#"):
            at += line.split()
    return listed


def _pairs(listed: dict[tuple[str, str], list[str]]) -> dict[str, tuple[str, str]]:
    """Lemma -> (gloss of its sign, the lemma that shares it), of the words that share hands.

    The gloss is the lemma of the more frequent one.
    """
    rng = random.Random("pairs 1")
    lemmas = {
        category: [
            line.split("=")[0].rpartition("/")[2]
            for (of, _), lines in listed.items()
            for line in lines
            if of == category
        ]
        for category in _PAIRED
    }
    rank = {
        line.split("=")[0].rpartition("/")[2]: i
        for of in listed.values()
        for i, line in enumerate(of)
    }
    every = [lemma for of in lemmas.values() for lemma in of]
    paired: dict[str, tuple[str, str]] = {}
    while len(paired) < 2 * N_PAIRS:
        category = rng.choices(_PAIRED, [len(lemmas[c]) for c in _PAIRED])[0]
        a, b = rng.sample(lemmas[category], 2)
        if a != b and not {a, b} & paired.keys() and every.count(a) == every.count(b) == 1:
            a, b = sorted((a, b), key=rank.get)
            paired[a], paired[b] = (a, b), (a, a)
    return paired


def _entry(lemma: str, name: str, category: str, paired: dict[str, tuple[str, str]]) -> Entry:
    gloss, twin = paired.get(lemma, (lemma, ""))
    phonemes, unknown = labels.phonemes(name, "en")
    if unknown:
        raise SignBindError(
            f"words.txt: {name}: found no pronunciation, wanted a word that has one"
        )
    return Entry(lemma, gloss, category, name, "", phonemes, twin)


def plural(noun: str) -> str:
    """ "boxes" of "box"."""
    return _PLURALS.get(noun) or _with_s(noun)


def third(verb: str) -> str:
    """ "goes" of "go"."""
    return "has" if verb == "have" else _with_s(verb)


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")) or word in ("go", "echo", "do"):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def past(verb: str) -> str:
    """ "went" of "go"."""
    return _PASTS[verb][0] if verb in _PASTS else _with_ed(verb)


def participle(verb: str) -> str:
    """ "gone" of "go"."""
    return _PASTS[verb][1] if verb in _PASTS else _with_ed(verb)


def _with_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if verb in _DOUBLING else "") + "ed"


def gerund(verb: str) -> str:
    """ "going" of "go"."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    if verb == "panic":
        return "panicking"
    return verb + (verb[-1] if verb in _DOUBLING else "") + "ing"
