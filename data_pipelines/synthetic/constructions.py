"""Sentences whose meaning time alone decides: roles, lonely twins, adjacent names."""

from collections.abc import Callable

from signbind_jax.data_pipelines.synthetic import names
from signbind_jax.data_pipelines.synthetic.draw import (
    Draw,
    Phrase,
    Word,
    function_word,
    make_name,
    make_word,
)
from signbind_jax.data_pipelines.synthetic.lexicon import BY_CATEGORY, PAIRS, Entry
from signbind_jax.data_pipelines.synthetic.patterns import Draft, make_draft


def role(d: Draw, name_first: bool) -> tuple[Draft, str]:
    """[anna] WE VISIT: Anna visited us. WE VISIT [anna]: We visited Anna.

    The hands sign the same; the name's place in time decides. Returns the draft and the
    English of the other reading.
    """
    name, other = d.name(), d.someone()
    time, form, when = d.time()
    verb = d.word("person-verb", form)
    place = d.place() if d.chance(0.65) else None
    again = (function_word("again"),) if d.chance(0.4) or not (time or place) else ()
    tail = f"{' ' + place.text if place else ''}{' again' if again else ''}{when}."
    acting = make_draft(
        [time, name, other, verb, place or (), again],
        f"{name.text} {verb.form} {other.as_object}{tail}",
    )
    acted_on = make_draft(
        [time, other, verb, name, place or (), again], f"{other.text} {verb.form} {name.text}{tail}"
    )
    return (acting, acted_on.text) if name_first else (acted_on, acting.text)


def adjacent_names(d: Draw, share: str) -> tuple[Draft, list[str]]:
    """SCHOOL [anna][tom] WORK: Anna and Tom worked at the school.

    Returns the draft and its English with the letters cut elsewhere.
    """
    first, second = names.adjacent_names(d.rng, share)
    time, form, when = d.time()
    if d.chance(0.5):
        place, verb = d.place(), d.word("intransitive", form)
        again = () if time else (function_word("again"),)
        tail = f"{' again' if again else ''}{when}"

        def build(a: Phrase, b: Phrase) -> Draft:
            text = f"{a.text} and {b.text} {verb.form} {place.text}{tail}."
            return make_draft([time, place, a, b, verb, again], text)
    else:
        subject, verb, place = d.someone(), d.word("person-verb", form), d.place()

        def build(a: Phrase, b: Phrase) -> Draft:
            text = f"{subject.text} {verb.form} {a.text} and {b.text} {place.text}{when}."
            return make_draft([time, subject, verb, a, b, place], text)

    wrong = [build(make_name(a), make_name(b)).text for a, b in names.other_cuts(first, second)]
    return build(make_name(first), make_name(second)), wrong


def coordination(d: Draw) -> Draft:
    """CAR TEACHER BUY BUT TABLE COLD BABY WASH: The teacher bought the car but the baby ..."""
    category = d.rng.choice(["person", "place", "thing-verb", "thing-verb", "thing-adjective"])
    build = _two_clauses(d, category, rich=True)
    return build(d.entry(category), d.entry(category))


def twins(d: Draw) -> tuple[Draft, str]:
    """Two clauses that use one sign in its two meanings, and the English with them swapped."""
    pair = d.rng.choice(PAIRS)
    a, b = pair if d.chance(0.5) else pair[::-1]
    build = _two_clauses(d, a.category, rich=d.chance(0.5))
    return build(a, b), build(b, a).text


def _two_clauses(d: Draw, category: str, rich=False) -> Callable[[Entry, Entry], Draft]:
    """Draws two clauses with a gap each for a word of `category`; `rich` ones are longer."""
    link = function_word("but" if d.chance(0.3) else "and")
    clauses = _CLAUSES[category](d, rich), _CLAUSES[category](d, rich)
    past = rich and category != "thing-adjective" and d.chance(0.6)
    time = (d.word("past-time"),) if past else ()
    when = f" {time[0].form}" if time else ""

    def build(first: Entry, second: Entry) -> Draft:
        (words_1, text_1), (words_2, text_2) = clauses[0](first), clauses[1](second)
        return make_draft([time, words_1, link, words_2], f"{text_1} {link.form} {text_2}{when}.")

    return build


Clause = Callable[[Entry], tuple[list[Word], str]]


def _person_clause(d: Draw, rich: bool) -> Clause:
    place, verb = d.place(), d.word("intransitive", "second")

    def build(entry: Entry) -> tuple[list[Word], str]:
        word = make_word(entry)
        return [*place.words, word, verb], f"the {word.form} {verb.form} {place.text}"

    return build


def _place_clause(d: Draw, rich: bool) -> Clause:
    subject, verb = d.person(), d.word("intransitive", "second")

    def build(entry: Entry) -> tuple[list[Word], str]:
        word = make_word(entry)
        return [word, *subject.words, verb], f"{subject.text} {verb.form} at the {word.form}"

    return build


def _thing_clause(d: Draw, rich: bool) -> Clause:
    ground, relation = d.thing(0.6 if rich else 0.3), d.word("relation")

    def build(entry: Entry) -> tuple[list[Word], str]:
        word = make_word(entry)
        text = f"the {word.form} is {relation.form} {ground.text}"
        return [*ground.words, word, relation], text

    return build


def _adjective_clause(d: Draw, rich: bool) -> Clause:
    thing = d.owned()

    def build(entry: Entry) -> tuple[list[Word], str]:
        word = make_word(entry)
        return [*thing.words, word], f"{thing.text} is {word.form}"

    return build


def _verb_clause(d: Draw, rich: bool) -> Clause:
    thing, subject = d.thing(0.6 if rich else 0.3), d.person()

    def build(entry: Entry) -> tuple[list[Word], str]:
        word = make_word(entry, "second")
        text = f"{subject.text} {word.form} {thing.text}"
        return [*thing.words, *subject.words, word], text

    return build


_CLAUSES = {
    "person": _person_clause,
    "place": _place_clause,
    "thing": _thing_clause,
    "thing-adjective": _adjective_clause,
    "thing-verb": _verb_clause,
}
assert set(_CLAUSES) == {c for c, (_, pairs) in BY_CATEGORY.items() if pairs}
