"""What a sentence of the hard preset means, before anybody signs it or writes it down."""

import random
from dataclasses import dataclass
from functools import cache

from signbind_jax.data_pipelines.synthetic import names
from signbind_jax.data_pipelines.synthetic.hard.words import Term, lexicon

# Share of the words that belong to the topic of their sentence; the others are general.
TOPIC_SHARE = 0.4
# A word of rank r among those of its category and topic is drawn as often as 1 / (r + this).
ZIPF_SHIFT = 1.5
# Share of the things that are among the few that go with their verb, and how many these are.
USUAL, N_USUAL = 0.5, 8
PRONOUN_SHARE, NAME_SHARE, TOWN_SHARE, SPELLED_SHARE = 0.4, 0.18, 0.25, 0.06
SECOND_CLAUSE = 0.5

PRONOUNS = ("i", "you", "he", "she", "we", "they")
OWNERS = ("my", "your", "his", "her", "our", "their")
_PRONOUN_WEIGHTS = (30, 25, 15, 12, 10, 8)
_KINDS = {"act": 40, "meet": 14, "do": 12, "go": 8, "give": 6, "thing-is": 10, "is": 8, "there": 5}
_LINKS = {"and": 40, "but": 20, "because": 20, "if": 10, "when": 10}
_MODALS = {"": 80, "can": 8, "must": 5, "should": 5, "may": 2}
_TENSES = {"past": 45, "present": 35, "future": 20}
_QUESTIONS = {"": 86, "yes-no": 6, "who": 2, "what": 2, "where": 2, "when": 1, "why": 1}


@dataclass(frozen=True)
class Thing:
    """Somebody or something: a pronoun, a name, or a noun with what is said of it.

    `owner` is one of `OWNERS`, a name, or empty; names are in lower case.
    """

    pronoun: str = ""
    name: str = ""
    noun: Term | None = None
    adjective: Term | None = None
    number: Term | None = None
    owner: str = ""
    mass: bool = False


@dataclass(frozen=True)
class Clause:
    """Who does what to whom, when, where and how; what is not there is None or empty."""

    kind: str
    subject: Thing
    verb: Term | None = None
    object: Thing | None = None
    receiver: Thing | None = None
    quality: Term | None = None
    place: Thing | None = None
    time: Term | None = None
    manner: Term | None = None
    tense: str = "past"
    modal: str = ""
    negated: bool = False
    question: str = ""


@dataclass(frozen=True)
class Meaning:
    """One clause, or two and how they are linked (one of `_LINKS`)."""

    clauses: tuple[Clause, ...]
    link: str = ""


def pick(rng: random.Random, weights: dict[str, float]) -> str:
    """One of the keys, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


class Draw:
    """Draws meanings.

    Args:
      rng: where chance comes from.
      topics: one of which a sentence is about.
      share: whose names may be used (`names.allowed`).
    """

    def __init__(self, rng: random.Random, topics: tuple[str, ...], share: str):
        self._rng, self._share = rng, share
        self._topic = rng.choice(topics)

    def meaning(self) -> Meaning:
        """What one sentence means."""
        first = self._clause(pick(self._rng, _QUESTIONS))
        if first.question or not self._chance(SECOND_CLAUSE):
            return Meaning((first,))
        return Meaning((first, self._clause("")), pick(self._rng, _LINKS))

    def _chance(self, p: float) -> bool:
        return self._rng.random() < p

    def _term(self, category: str, verb: Term | None = None) -> Term:
        words = lexicon().words
        topic = self._topic if self._chance(TOPIC_SHARE) else "general"
        if (category, topic) not in words:
            topic = "general"
        if verb is not None and self._chance(USUAL):
            return self._rng.choice(_usual(verb.names[0], category, topic))
        terms, weights = _by_frequency(category, topic)
        return self._rng.choices(terms, weights)[0]

    def _name(self) -> str:
        return names.name(self._rng, self._share)

    def _person(self) -> Thing:
        if self._chance(PRONOUN_SHARE):
            return Thing(pronoun=self._rng.choices(PRONOUNS, _PRONOUN_WEIGHTS)[0])
        if self._chance(NAME_SHARE):
            return Thing(name=self._name())
        adjective = self._term("is-person") if self._chance(0.2) else None
        return Thing(noun=self._term("person"), adjective=adjective, owner=self._owner(0.2))

    def _owner(self, p: float) -> str:
        if not self._chance(p):
            return ""
        return self._name() if self._chance(NAME_SHARE) else self._rng.choice(OWNERS)

    def _thing(self, verb: Term | None = None) -> Thing:
        adjective = self._term("is-thing") if self._chance(0.35) else None
        if self._chance(SPELLED_SHARE):
            spelled, _ = _by_frequency("spelled", self._topic)
            return Thing(noun=self._rng.choice(spelled), adjective=adjective, mass=True)
        if self._chance(0.15):
            return Thing(noun=self._term("mass", verb), adjective=adjective, mass=True)
        number = self._term("number") if self._chance(0.12) else None
        owner = "" if number else self._owner(0.2)
        return Thing(
            noun=self._term("thing", verb), adjective=adjective, number=number, owner=owner
        )

    def _place(self) -> Thing:
        if self._chance(TOWN_SHARE):
            return Thing(name=self._name())
        return Thing(noun=self._term("place"), owner=self._owner(0.1))

    def _clause(self, question: str) -> Clause:
        kind = "act" if question in ("who", "what") else pick(self._rng, _KINDS)
        tense = pick(self._rng, _TENSES)
        time = None
        if tense != "present" and self._chance(0.45):
            time = self._term(tense)
        parts = {
            "time": time,
            "tense": tense,
            "negated": self._chance(0.12),
            "question": "" if kind == "there" else question,
            "modal": pick(self._rng, _MODALS) if tense == "present" and kind != "there" else "",
            "manner": self._term("manner") if self._chance(0.15) else None,
            "place": self._place() if self._chance(0.3) else None,
        }
        return Clause(kind, **parts | self._of_kind(kind))

    def _of_kind(self, kind: str) -> dict:
        """What a clause of this kind has beside what all may have."""
        if kind == "thing-is":
            quality = self._term("is-thing")
            return {"subject": self._thing(), "quality": quality, "manner": None, "modal": ""}
        if kind == "is":
            return {
                "subject": self._person(),
                "quality": self._term("is-person"),
                "manner": None,
                "modal": "",
            }
        if kind == "there":
            return {"subject": self._thing(), "place": self._place(), "manner": None}
        if kind == "go":
            return {"subject": self._person(), "verb": self._term("go"), "place": self._place()}
        if kind == "do":
            return {"subject": self._person(), "verb": self._term("do")}
        if kind == "meet":
            verb = self._term("do-person")
            return {"subject": self._person(), "verb": verb, "object": self._other()}
        if kind == "give":
            return {
                "subject": self._person(),
                "verb": self._term("give"),
                "object": self._thing(),
                "receiver": self._other(),
            }
        verb = self._term("do-thing")
        return {"subject": self._person(), "verb": verb, "object": self._thing(verb)}

    def _other(self) -> Thing:
        """A person who is no subject, by noun or name."""
        while (person := self._person()).pronoun:
            pass
        return person


@cache
def _by_frequency(category: str, topic: str) -> tuple[tuple[Term, ...], list[float]]:
    """The words of a category and a topic, and how often each is drawn."""
    terms = lexicon().words[category, topic]
    return terms, [1.0 / (term.rank + ZIPF_SHIFT) for term in terms]


@cache
def _usual(verb: str, category: str, topic: str) -> list[Term]:
    """What goes with a verb; the same for every seed."""
    return random.Random(f"usual {verb} {category} {topic}").choices(
        *_by_frequency(category, topic), k=N_USUAL
    )
