"""From a meaning to what the hands do: order is free, and not all of it is signed."""

import random
from collections.abc import Iterable

from signbind_jax.data_pipelines.synthetic.draw import Word
from signbind_jax.data_pipelines.synthetic.hard.meaning import OWNERS, Clause, Meaning, Thing
from signbind_jax.data_pipelines.synthetic.hard.words import Term, lexicon

# Share of what may be left out (times, places, qualities, ...) that the text alone says.
UNSIGNED = 0.15
# Signs that no word of the text stands for.
POINT, DONE, AGAIN, COPY, WELL = 0.12, 0.35, 0.06, 0.12, 0.08
_DROPPED_PRONOUN = 0.35


def sign(meaning: Meaning, rng: random.Random) -> tuple[Word, ...]:
    """Signs and fingerspelled words in the order of the hand timeline."""
    hands = _Hands(rng)
    signed = [hands.clause(clause) for clause in meaning.clauses]
    if len(signed) == 2:
        link = hands.link(meaning.link)
        if meaning.link in ("because", "if", "when") and rng.random() < 0.4:
            words = [*link, *signed[1], *signed[0]]
        else:
            words = [*signed[0], *link, *signed[1]]
    else:
        words = signed[0]
    return (*(hands.function("well-then") if rng.random() < WELL else ()), *words)


class _Hands:
    def __init__(self, rng: random.Random):
        self._rng = rng

    def _chance(self, p: float) -> bool:
        return self._rng.random() < p

    def function(self, sense: str) -> list[Word]:
        """A sign that is chosen by name."""
        return [Word(lexicon().function[sense])]

    def _optional(self, words: list[Word]) -> list[Word]:
        return [] if words and self._chance(UNSIGNED) else words

    def _term(self, term: Term | None) -> list[Word]:
        if term is None:
            return []
        return [Word(term.entry)] if term.entry else [Word(name=term.names[0])]

    def link(self, link: str) -> list[Word]:
        """How two clauses are linked, if at all."""
        if link == "because" and self._chance(0.25):
            return self.function("why")  # asked, and answered by the second clause
        signed = {"and": 0.3, "but": 0.8, "because": 0.7, "if": 0.8, "when": 0.6}[link]
        return self.function(link) if self._chance(signed) else []

    def _thing(self, thing: Thing | None) -> list[Word]:
        if thing is None:
            return []
        if thing.pronoun:
            return self.function(thing.pronoun)
        if thing.name:
            return [Word(name=thing.name)]
        words = self._term(thing.noun)
        for term in (thing.adjective, thing.number):
            said = self._optional(self._term(term))
            words = [*words, *said] if self._chance(0.6) else [*said, *words]
        if thing.owner:
            known = thing.owner in OWNERS
            owner = self.function(thing.owner) if known else [Word(name=thing.owner)]
            if not known and self._chance(0.5):
                owner += self.function("his")
            words = [*owner, *words] if self._chance(0.75) else [*words, *owner]
        return [*words, *self.function("ix")] if self._chance(POINT) else words

    def _subject(self, thing: Thing) -> list[Word]:
        if thing.pronoun and self._chance(_DROPPED_PRONOUN):
            return []
        return self._thing(thing)

    def clause(self, clause: Clause) -> list[Word]:
        """The signs of one clause."""
        subject = [] if clause.question == "who" else self._subject(clause.subject)
        thing = [] if clause.question == "what" else self._thing(clause.object)
        receiver = self._thing(clause.receiver)
        core = self._core(subject, self._verb(clause), thing, receiver)
        where = self._thing(clause.place)
        if clause.kind not in ("go", "there"):
            where = [] if clause.question == "where" else self._optional(where)
        core = [*where, *core] if self._chance(0.5) else [*core, *where]
        when = [] if clause.question == "when" else self._optional(self._term(clause.time))
        core = [*when, *core] if self._chance(0.85) else [*core, *when]
        if clause.subject.pronoun and subject and self._chance(COPY):
            core += self.function(clause.subject.pronoun)
        return self._asked(clause.question, core)

    def _core(self, subject, verb, thing, receiver) -> list[Word]:
        order: Iterable[list[Word]] = self._rng.choices(
            [
                (subject, verb, thing, receiver),
                (thing, subject, verb, receiver),
                (subject, thing, verb, receiver),
                (subject, receiver, thing, verb),
            ],
            (50, 22, 20, 8),
        )[0]
        return [word for part in order for word in part]

    def _verb(self, clause: Clause) -> list[Word]:
        if clause.kind == "there":
            verb = self.function("there-is") if self._chance(0.7) else []
        else:
            verb = self._term(clause.verb or clause.quality)
        if clause.verb and self._chance(AGAIN):
            verb = verb * 2
        how = self._optional(self._term(clause.manner))
        verb = [*verb, *how] if self._chance(0.7) else [*how, *verb]
        if clause.modal:
            can = self.function(clause.modal)
            verb = [*can, *verb] if self._chance(0.6) else [*verb, *can]
        if clause.negated:
            no = self.function("not")
            return [*verb, *no] if self._chance(0.6) else [*no, *verb]
        if clause.tense == "past" and clause.verb and self._chance(DONE):
            verb = [*verb, *self.function("done")]
        return verb

    def _asked(self, question: str, words: list[Word]) -> list[Word]:
        if not question:
            return words
        if question == "yes-no":
            return [*words, *self.function("yes-no")] if self._chance(0.5) else words
        asked = self.function(question)
        place = self._rng.random()
        if place < 0.25:
            return [*asked, *words, *asked]
        return [*asked, *words] if place < 0.45 else [*words, *asked]
