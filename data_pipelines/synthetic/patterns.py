"""The sentence patterns of the synthetic language: signed order and English side by side.

Times come first, things before the verb, negation and question words last; English goes its
own way. Each pattern's English follows from its signs, their meanings and their order.
"""

from dataclasses import dataclass

from signbind_jax.data_pipelines.synthetic.draw import Draw, Phrase, Word, function_word


@dataclass(frozen=True)
class Draft:
    """The words of a sentence in signed order, its English, and what the face does.

    `face` is "" (plain), "yes-no" or "wh" (question) or "negation".
    """

    words: tuple[Word, ...]
    text: str
    face: str = ""


def make_draft(parts, text: str, face: str = "") -> Draft:
    """A draft of phrases, words and lists of words in signed order; `text` gets its capital."""
    words = []
    for part in parts:
        if isinstance(part, Word):
            words.append(part)
        else:
            words += part.words if isinstance(part, Phrase) else part
    return Draft(tuple(words), text[0].upper() + text[1:], face)


def _do(form: str) -> str:
    return "will" if form == "future" else "did"


def _be(number: str, form: str) -> str:
    if form == "future":
        return "will be"
    return "were" if number == "plural" else "was"


def _third(lemma: str, subject: Phrase) -> str:
    if subject.number != "one":
        return lemma
    return {"have": "has", "want": "wants"}[lemma]


def thing_verb(d: Draw) -> Draft:
    """BOOK TEACHER BUY: The teacher bought the book."""
    scene, form, tail = d.scene()
    thing, subject, verb = d.thing(), d.person(), d.word("thing-verb", form)
    return make_draft(
        [scene, thing, subject, verb], f"{subject.text} {verb.form} {thing.text}{tail}."
    )


def counted(d: Draw) -> Draft:
    """BOOK RED THREE TEACHER BUY: The teacher bought three red books."""
    scene, form, tail = d.scene()
    thing, subject = d.thing(number=1.0), d.person()
    verb = d.word("thing-verb", form)
    return make_draft(
        [scene, thing, subject, verb], f"{subject.text} {verb.form} {thing.text}{tail}."
    )


def person_verb(d: Draw) -> Draft:
    """YESTERDAY TEACHER HELP FRIEND SCHOOL: The teacher helped the friend at the school ..."""
    time, form, when = d.time()
    subject, verb, other = d.someone(), d.word("person-verb", form), d.someone(pronouns=False)
    place = d.place() if d.chance(0.7) else None
    where = f" {place.text}" if place else ""
    return make_draft(
        [time, subject, verb, other, place or ()],
        f"{subject.text} {verb.form} {other.as_object}{where}{when}.",
    )


def at_place(d: Draw) -> Draft:
    """SCHOOL FRIEND SLEEP: The friend slept at the school."""
    time, form, when = d.time()
    place, subject, verb = d.place(), d.person(), d.word("intransitive", form)
    again = (function_word("again"),) if d.chance(0.4) else ()
    text = f"{subject.text} {verb.form} {place.text}{' again' if again else ''}{when}."
    return make_draft([time, place, subject, verb, again], text)


def thing_is(d: Draw) -> Draft:
    """MY CAR RED: My car is red."""
    thing, adjective = d.owned(), d.word("thing-adjective")
    return make_draft([thing, adjective], f"{thing.text} is {adjective.form}.")


def person_is(d: Draw) -> Draft:
    """YESTERDAY SCHOOL FRIEND SAD: The friend was sad at the school yesterday."""
    time, form, when = d.time()
    place, subject, adjective = d.place(), d.person(), d.word("person-adjective")
    text = f"{subject.text} {_be(subject.number, form)} {adjective.form} {place.text}{when}."
    return make_draft([time, place, subject, adjective], text)


def negation(d: Draw) -> Draft:
    """BOOK FRIEND BUY NOT: The friend did not buy the book."""
    scene, form, tail = d.scene()
    thing, subject, verb = d.thing(), d.person(), d.word("thing-verb")
    text = f"{subject.text} {_do(form)} not {verb.form} {thing.text}{tail}."
    return make_draft([scene, thing, subject, verb, function_word("not")], text, "negation")


def yes_no(d: Draw) -> Draft:
    """BOOK FRIEND BUY QUESTION: Did the friend buy the book?"""
    scene, form, tail = d.scene()
    thing, subject, verb = d.thing(), d.person(), d.word("thing-verb")
    text = f"{_do(form)} {subject.text} {verb.form} {thing.text}{tail}?"
    return make_draft([scene, thing, subject, verb, function_word("question")], text, "yes-no")


def what(d: Draw) -> Draft:
    """SCHOOL FRIEND BUY WHAT: What did the friend buy at the school?"""
    time, form, when = d.time(0.5)
    place, subject, verb = d.place(), d.person(), d.word("thing-verb")
    text = f"what {_do(form)} {subject.text} {verb.form} {place.text}{when}?"
    return make_draft([time, place, subject, verb, function_word("what")], text, "wh")


def who(d: Draw) -> Draft:
    """MY BOOK FIND WHO: Who found my book?"""
    scene, form, tail = d.scene()
    thing, verb = d.owned(), d.word("thing-verb", form)
    return make_draft(
        [scene, thing, verb, function_word("who")], f"who {verb.form} {thing.text}{tail}?", "wh"
    )


def where_when_why(d: Draw) -> Draft:
    """BOOK FRIEND BUY WHERE: Where did the friend buy the book?"""
    thing, subject, verb = d.thing(), d.person(), d.word("thing-verb")
    question = d.word("wh-adverb")
    text = f"{question.form} did {subject.text} {verb.form} {thing.text}?"
    return make_draft([thing, subject, verb, question], text, "wh")


def how_many(d: Draw) -> Draft:
    """BOOK FRIEND BUY HOW-MANY: How many books did the friend buy?"""
    scene, form, tail = d.scene()
    thing, subject, verb = d.word("thing", "second"), d.person(), d.word("thing-verb")
    text = f"how many {thing.form} {_do(form)} {subject.text} {verb.form}{tail}?"
    return make_draft([scene, thing, subject, verb, function_word("how-many")], text, "wh")


def located(d: Draw) -> Draft:
    """MY TABLE CUP ON: The cup is on my table."""
    ground = d.owned() if d.names_left or d.chance(0.5) else d.thing(0.6)
    figure, relation = d.thing(0.4, number=0.0), d.word("relation")
    return make_draft(
        [ground, figure, relation], f"{figure.text} is {relation.form} {ground.text}."
    )


def imperative(d: Draw) -> Draft:
    """FRIEND PLEASE BOOK BRING: Friend, please bring the book."""
    thing, verb = d.thing(), d.word("thing-verb")
    addressee = d.name() if d.names_left else None
    place = () if addressee and d.chance(0.5) else d.place()
    where = f" {place.text}" if place else ""
    call = f"{addressee.text}, " if addressee else ""
    return make_draft(
        [addressee or (), function_word("please"), thing, verb, place],
        f"{call}please {verb.form} {thing.text}{where}.",
    )


def possession(d: Draw) -> Draft:
    """CAR RED FRIEND HAVE: The friend has the red car."""
    thing, subject = d.thing(0.6), d.person()
    return make_draft(
        [thing, subject, function_word("have")],
        f"{subject.text} {_third('have', subject)} {thing.text}.",
    )


def wish(d: Draw) -> Draft:
    """BOOK FRIEND BUY WANT: The friend wants to buy the book."""
    thing, subject, verb = d.thing(), d.person(), d.word("thing-verb")
    text = f"{subject.text} {_third('want', subject)} to {verb.form} {thing.text}."
    return make_draft([thing, subject, verb, function_word("want")], text)


def modal(d: Draw) -> Draft:
    """BOOK FRIEND BUY CAN: The friend can buy the book."""
    thing, subject, verb, can = d.thing(), d.person(), d.word("thing-verb"), d.word("modal")
    return make_draft(
        [thing, subject, verb, can], f"{subject.text} {can.form} {verb.form} {thing.text}."
    )


def giving(d: Draw) -> Draft:
    """BOOK FRIEND TEACHER GIVE: The friend gave the book to the teacher."""
    scene, form, tail = d.scene()
    thing, subject = d.thing(), d.person()
    named = bool(subject.words[0].name)
    receiver = d.someone(pronouns=False) if named else d.person()
    verb = d.word("giving", form)
    text = f"{subject.text} {verb.form} {thing.text} to {receiver.as_object}{tail}."
    return make_draft([scene, thing, subject, receiver, verb], text)


def travel(d: Draw) -> Draft:
    """YESTERDAY FRIEND DRIVE LORINA: The friend drove to Lorina yesterday."""
    time, form, when = d.time(0.6)
    subject, verb = d.person(), d.word("travel", form)
    if d.names_left:
        town = d.name()
        place, where = town, f"to {town.text}"
    else:
        place = d.place()
        where = f"to {place.as_object}"
    again = (function_word("again"),) if d.chance(0.3) else ()
    text = f"{subject.text} {verb.form} {where}{' again' if again else ''}{when}."
    return make_draft([time, subject, verb, place, again], text)


def because(d: Draw) -> Draft:
    """FRIEND SAD BECAUSE MY CAR RED: The friend was sad because my car was red."""
    subject, feeling = d.person(), d.word("person-adjective")
    thing, adjective = d.owned(), d.word("thing-adjective")
    text = f"{subject.text} {_be(subject.number, 'second')} {feeling.form} because "
    return make_draft(
        [subject, feeling, function_word("because"), thing, adjective],
        f"{text}{thing.text} was {adjective.form}.",
    )


# Patterns and how often each is drawn.
PATTERNS = {
    thing_verb: 3,
    counted: 3,
    person_verb: 3,
    at_place: 3,
    thing_is: 2,
    person_is: 2,
    negation: 2,
    yes_no: 2,
    what: 1,
    who: 1,
    where_when_why: 2,
    how_many: 1,
    located: 2,
    imperative: 2,
    possession: 1,
    wish: 1,
    modal: 2,
    giving: 4,
    travel: 4,
    because: 3,
}
