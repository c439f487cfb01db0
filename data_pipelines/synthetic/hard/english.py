"""From a meaning to one of many English sentences that say it, or most of it."""

import random

from signbind_jax.data_pipelines.synthetic.hard import words
from signbind_jax.data_pipelines.synthetic.hard.meaning import OWNERS, Clause, Meaning, Thing
from signbind_jax.data_pipelines.synthetic.hard.words import Term

# Share of what may be left out that the hands alone say.
UNSAID = 0.12
# Shares of sentences with words around them that nobody signs.
OPENED, CLOSED = 0.3, 0.08
_OPENINGS = """
so, well, now, okay, actually, you know, I think, I guess, of course, as you can see, it seems,
I heard, basically, honestly, you see, I mean, by the way, in fact, it turns out, I remember
"""
_CLOSINGS = ("you know", "of course", "as I said", "I think", "at least", "by the way")
_OBJECTS = {"i": "me", "you": "you", "he": "him", "she": "her", "we": "us", "they": "them"}
_WITH_THAT = ("I think", "it seems", "I heard", "it turns out", "I remember")


def write(meaning: Meaning, rng: random.Random) -> str:
    """An English sentence."""
    writer = _Writer(rng)
    first, *second = [writer.clause(clause) for clause in meaning.clauses]
    asked = meaning.clauses[0].question
    if second:
        text = writer.linked(meaning.link, first, second[0])
    else:
        text = first
    if not asked and rng.random() < OPENED:
        opening = rng.choice(_OPENINGS.replace("\n", " ").strip().split(", "))
        that = " that" if opening in _WITH_THAT and rng.random() < 0.4 else ""
        comma = "" if opening in _WITH_THAT or rng.random() < 0.2 else ","
        text = f"{opening}{that}{comma} {text}"
    if not asked and rng.random() < CLOSED:
        text = f"{text}, {rng.choice(_CLOSINGS)}"
    return f"{text[0].upper()}{text[1:]}{'?' if asked else '.'}"


class _Writer:
    def __init__(self, rng: random.Random):
        self._rng = rng

    def _chance(self, p: float) -> bool:
        return self._rng.random() < p

    def _said(self) -> bool:
        return not self._chance(UNSAID)

    def linked(self, link: str, first: str, second: str) -> str:
        """Two clauses in either order, or side by side."""
        other = {
            "and": ("and", "and then", "and also"),
            "but": ("but", "although", "though", "but still"),
            "because": ("because", "since", "as"),
            "if": ("if", "in case"),
            "when": ("when", "while", "whenever"),
        }[link]
        word = self._rng.choices(other, (6, *[2] * (len(other) - 1)))[0]
        if link in ("because", "if", "when") and self._chance(0.35):
            return f"{word} {second}, {first}"
        if link == "and" and self._chance(0.15):
            return f"{first}; {second}"
        comma = "," if link in ("and", "but") and self._chance(0.6) else ""
        return f"{first}{comma} {word} {second}"

    def _word(self, term: Term) -> str:
        """One of a sign's words, the first most often."""
        return self._rng.choices(term.names, [2.0, *[1.0] * (len(term.names) - 1)])[0]

    def thing(self, thing: Thing, as_object: bool = False) -> str:
        """ "the red book", "Anna's brother", "me"."""
        if thing.pronoun:
            if as_object:
                return _OBJECTS[thing.pronoun]
            return "I" if thing.pronoun == "i" else thing.pronoun
        if thing.name:
            return thing.name.capitalize()
        text = self._word(thing.noun)
        if thing.number and self._said():
            number = self._word(thing.number)
            return self._described(f"{words.plural(text)}", thing, before=number)
        if thing.owner and self._said():
            owner = thing.owner if thing.owner in OWNERS else f"{thing.owner.capitalize()}'s"
            return self._described(text, thing, before=owner)
        if thing.mass:
            return self._described(text, thing, before=self._rng.choice(("the", "some", "", "")))
        if self._chance(0.12):
            return self._described(words.plural(text), thing, before=self._rng.choice(("the", "")))
        return self._described(text, thing, before=self._rng.choice(("the", "the", "a", "this")))

    def _described(self, noun: str, thing: Thing, before: str) -> str:
        if thing.adjective and self._said():
            noun = f"{self._word(thing.adjective)} {noun}"
        if before == "a" and noun[0] in "aeiou":
            before = "an"
        return f"{before} {noun}".strip()

    def _many(self, thing: Thing, text: str) -> bool:
        """Whether the verb of this subject is that of "they"."""
        if thing.pronoun:
            return thing.pronoun in ("you", "we", "they", "i")
        return bool(thing.noun) and not thing.mass and text.endswith(_plurals(thing.noun))

    def _be(self, clause: Clause, subject: str) -> str:
        many, pronoun = self._many(clause.subject, subject), clause.subject.pronoun
        if clause.tense == "future":
            return "will be"
        if clause.tense == "past":
            return "were" if many and pronoun != "i" else "was"
        return "am" if pronoun == "i" else "are" if many else "is"

    def _auxiliary(self, clause: Clause, subject: str) -> str:
        if clause.modal:
            return clause.modal
        if clause.tense == "future":
            return "will"
        if clause.tense == "past":
            return "did"
        return "do" if self._many(clause.subject, subject) else "does"

    def _no(self, auxiliary: str) -> str:
        """ "did not" or "didn't"."""
        short = {"will": "won't", "can": "can't", "may": "may not", "am": "am not"}
        auxiliary, _, be = auxiliary.partition(" ")  # of "will be"
        text = short.get(auxiliary, f"{auxiliary}n't") if self._chance(0.6) else f"{auxiliary} not"
        return f"{text} {be}".rstrip()

    def _finite(self, verb: str, clause: Clause, subject: str) -> str:
        """The verb with its tense, negation and modal."""
        auxiliary = self._auxiliary(clause, subject)
        if clause.negated:
            if self._chance(0.2) and clause.tense == "past":
                return f"never {words.past(verb)}"
            return f"{self._no(auxiliary)} {verb}"
        many = self._many(clause.subject, subject)
        if clause.modal or clause.tense == "future":
            if not clause.modal and self._chance(0.35):
                be = self._be(Clause("is", clause.subject, tense="present"), subject)
                return f"{be} going to {verb}"
            other = {"must": ("must", "must", "have to" if many else "has to")}
            return f"{self._rng.choice(other.get(clause.modal, (auxiliary,)))} {verb}"
        if self._chance(0.2):
            return f"{self._be(clause, subject)} {words.gerund(verb)}"
        if clause.tense == "past":
            if self._chance(0.15):
                return f"{'have' if many else 'has'} {words.participle(verb)}"
            return words.past(verb)
        return verb if many else words.third(verb)

    def clause(self, clause: Clause) -> str:
        """One clause; its time may come first."""
        where = self._where(clause)
        when = ""
        if clause.time and clause.question != "when" and self._said():
            when = self._word(clause.time)
        if clause.question:
            return f"{self._question(clause)}{where}{' ' + when if when else ''}"
        text = self._statement(clause) + where
        if not when:
            return text
        if self._chance(0.4):
            return f"{when}{',' if self._chance(0.5) else ''} {text}"
        return f"{text} {when}"

    def _where(self, clause: Clause) -> str:
        place = clause.place
        if place is None or clause.question == "where":
            return ""
        if clause.kind not in ("go", "there") and not self._said():
            return ""
        to = "to" if clause.kind == "go" else "in" if place.name else self._rng.choice(("at", "in"))
        return f" {to} {self.thing(place)}"

    def _how(self, clause: Clause) -> str:
        return self._word(clause.manner) if clause.manner and self._said() else ""

    def _statement(self, clause: Clause) -> str:
        subject, how = self.thing(clause.subject), self._how(clause)
        if clause.kind == "there":
            be = self._be(clause, subject)
            be = self._no(be) if clause.negated else be
            return f"there {be} {subject}"
        if clause.quality:
            be = self._be(clause, subject)
            if clause.negated:
                be = self._no(be)
            elif clause.tense == "present" and self._chance(0.25):
                verb = self._rng.choice(("look", "seem"))
                be = verb if self._many(clause.subject, subject) else words.third(verb)
            very = self._rng.choice(("", "", "", "very ", "so ", "really ", "pretty "))
            return f"{subject} {be} {very}{self._word(clause.quality)}"
        verb = self._word(clause.verb)
        passive = (
            clause.kind in ("act", "meet")
            and clause.tense == "past"
            and not clause.negated
            and not clause.subject.pronoun
            and self._chance(0.2)
        )
        if passive:
            thing = self.thing(clause.object)
            be = self._be(Clause("is", clause.object), thing)
            text = f"{thing} {be} {words.participle(verb)}"
            return f"{text} by {subject}" if self._said() else text
        text = f"{self._finite(verb, clause, subject)}{self._objects(clause)}"
        if not how:
            return f"{subject} {text}"
        return f"{subject} {text} {how}" if self._chance(0.7) else f"{subject} {how} {text}"

    def _objects(self, clause: Clause) -> str:
        if clause.object is None or clause.question == "what":
            return f" to {self.thing(clause.receiver, as_object=True)}" if clause.receiver else ""
        thing = self.thing(clause.object, as_object=True)
        if clause.receiver is None:
            return f" {thing}"
        receiver = self.thing(clause.receiver, as_object=True)
        return f" {receiver} {thing}" if self._chance(0.4) else f" {thing} to {receiver}"

    def _question(self, clause: Clause) -> str:
        subject = self.thing(clause.subject)
        wh = "" if clause.question == "yes-no" else f"{clause.question} "
        no = " not" if clause.negated else ""
        if clause.quality:
            be, _, rest = self._be(clause, subject).partition(" ")
            rest = f" {rest}" if rest else ""
            return f"{wh}{be} {subject}{no}{rest} {self._word(clause.quality)}"
        verb = self._word(clause.verb)
        if clause.question == "who":
            asked = Clause("act", Thing(), tense=clause.tense, negated=clause.negated)
            return f"who {self._finite(verb, asked, 'who')}{self._objects(clause)}"
        auxiliary = self._auxiliary(clause, subject)
        return f"{wh}{auxiliary} {subject}{no} {verb}{self._objects(clause)}"


def _plurals(term: Term) -> tuple[str, ...]:
    return tuple(words.plural(name) for name in term.names)
