"""The words of the synthetic language: glosses, categories, English forms, phonemes.

Phonemes are ARPAbet without stress. A pair ("brother / cousin") shares one sign; only its
mouthings tell the two words apart.
"""

from dataclasses import dataclass

# One word a line: lemma[,second form] then its phonemes. The second form is the plural of a
# noun and the past of a verb where it is irregular.
_PERSONS = """
teacher T IY CH ER
doctor D AA K T ER
friend F R EH N D
mother M AH DH ER
father F AA DH ER
sister S IH S T ER
child,children CH AY L D
boss,bosses B AO S
nurse N ER S
girl G ER L
boy B OY
guest G EH S T
judge JH AH JH
brother B R AH DH ER / cousin K AH Z AH N
farmer F AA R M ER / singer S IH NG ER
uncle AH NG K AH L / pilot P AY L AH T
baby,babies B EY B IY / soldier S OW L JH ER
waiter W EY T ER / nephew N EH F Y UW
"""
_THINGS = """
book B UH K
car K AA R
house HH AW S
table T EY B AH L
chair CH EH R
phone F OW N
computer K AH M P Y UW T ER
picture P IH K CH ER
door D AO R
window W IH N D OW
bag B AE G
box,boxes B AA K S
cup K AH P
shirt SH ER T
key K IY
apple AE P AH L
cake K EY K
dog D AO G
flower F L AW ER
clock K L AA K
bicycle B AY S IH K AH L
boat B OW T
lamp L AE M P
battery,batteries B AE T ER IY / shovel SH AH V AH L
ticket T IH K AH T / pillow P IH L OW
hammer HH AE M ER / guitar G IH T AA R
camera K AE M ER AH / bottle B AA T AH L
knife,knives N AY F / wallet W AA L AH T
umbrella AH M B R EH L AH / pencil P EH N S AH L
basket B AE S K AH T / cheese,cheeses CH IY Z
mushroom M AH SH R UW M / ladder L AE D ER
"""
_PLACES = """
school S K UW L
hospital HH AA S P IH T AH L
station S T EY SH AH N
market M AA R K AH T
library,libraries L AY B R EH R IY
park P AA R K
church,churches CH ER CH
hotel HH OW T EH L
beach,beaches B IY CH
kitchen K IH CH AH N
bank B AE NG K
restaurant R EH S T R AA N T
museum M Y UW Z IY AH M / office AO F AH S
village V IH L AH JH / harbor HH AA R B ER
factory,factories F AE K T ER IY / zoo Z UW
airport EH R P AO R T / castle K AE S AH L
"""
_THING_ADJECTIVES = """
red R EH D
blue B L UW
green G R IY N
black B L AE K
white W AY T
old OW L D
modern M AA D ER N
big B IH G
small S M AO L
beautiful B Y UW T AH F AH L
cold K OW L D
good G UH D
strange S T R EY N JH
expensive IH K S P EH N S IH V / yellow Y EH L OW
heavy HH EH V IY / round R AW N D
dirty D ER T IY / famous F EY M AH S
"""
_PERSON_ADJECTIVES = """
happy HH AE P IY
sad S AE D
tired T AY ER D
sick S IH K
hungry HH AH NG G R IY
angry AE NG G R IY
"""
_THING_VERBS = """
buy,bought B AY
find,found F AY N D
lose,lost L UW Z
bring,brought B R IH NG
make,made M EY K
open,opened OW P AH N
break,broke B R EY K
see,saw S IY
hide,hid HH AY D
choose,chose CH UW Z
draw,drew D R AO
carry,carried K EH R IY
clean,cleaned K L IY N
use,used Y UW Z
paint,painted P EY N T / borrow,borrowed B AA R OW
repair,repaired R IH P EH R / sell,sold S EH L
wash,washed W AA SH / forget,forgot F ER G EH T
throw,threw TH R OW / deliver,delivered D IH L IH V ER
"""
_PERSON_VERBS = """
visit,visited V IH Z AH T
help,helped HH EH L P
call,called K AO L
invite,invited IH N V AY T
teach,taught T IY CH
follow,followed F AA L OW
thank,thanked TH AE NG K
hug,hugged HH AH G
love,loved L AH V
ask,asked AE S K
surprise,surprised S ER P R AY Z
remember,remembered R IH M EH M B ER
"""
_INTRANSITIVE_VERBS = """
work,worked W ER K
sleep,slept S L IY P
laugh,laughed L AE F
dance,danced D AE N S
wait,waited W EY T
shout,shouted SH AW T
cry,cried K R AY
play,played P L EY
"""
_TRAVEL_VERBS = """
drive,drove D R AY V
move,moved M UW V
fly,flew F L AY
walk,walked W AO K
"""
_GIVING_VERBS = """
give,gave G IH V
send,sent S EH N D
show,showed SH OW
promise,promised P R AA M AH S
"""
_PAST_TIMES = """
yesterday Y EH S T ER D EY
last-week,last week L AE S T W IY K
last-year,last year L AE S T Y IH R
this-morning,this morning DH IH S M AO R N IH NG
recently,recently R IY S AH N T L IY
"""
_FUTURE_TIMES = """
tomorrow T AH M AA R OW
next-week,next week N EH K S T W IY K
tonight,tonight T AH N AY T
soon S UW N
next-year,next year N EH K S T Y IH R
"""
_NUMBERS = """
two T UW
three TH R IY
four F AO R
five F AY V
six S IH K S
seven S EH V AH N
eight EY T
nine N AY N
ten T EH N
"""
# Words that are never mouthed, so they need no phonemes.
_FUNCTION_WORDS = {
    "pronoun": "I,me you,you we,us they,them",
    "possessive": "my your our",
    "relation": "on under behind beside",
    "wh-adverb": "where when why",
    "modal": "can must",
    "particle": "not question what who how-many and but because please this have want own again",
}

_CONTENT_WORDS = {
    "person": _PERSONS,
    "thing": _THINGS,
    "place": _PLACES,
    "thing-adjective": _THING_ADJECTIVES,
    "person-adjective": _PERSON_ADJECTIVES,
    "thing-verb": _THING_VERBS,
    "person-verb": _PERSON_VERBS,
    "intransitive": _INTRANSITIVE_VERBS,
    "travel": _TRAVEL_VERBS,
    "giving": _GIVING_VERBS,
    "past-time": _PAST_TIMES,
    "future-time": _FUTURE_TIMES,
    "number": _NUMBERS,
}
_NOUNS = ("person", "thing", "place")


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
        for line in lines.strip().splitlines():
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
