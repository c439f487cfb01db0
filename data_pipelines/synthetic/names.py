"""People's and place names that are spelled: drawn letter by letter, never shared by splits."""

import random
import zlib

# Short syllabic sequences of our own; only their letter transitions are used.
_SEED_WORDS = """
anna benno carla dario edda finn greta hanno ilka jonas karin lennart mara nessa ottilie
pablo quirin rosalie stellan tilda ulrike viggo wanda xaver yannick zora abelle bettina
cassidy dewitt emmett fjodor gwendal hattie irvine jessamy kelley lorraine maddox nolwen
oswald philippa reuben sheldon thaddeus umberto vivian winslow xenia yolanda zachary
harrow millbrook kettering saffold brixham dunmore eastleigh fallowfield gatwood hexley
jarrowby kilquade lumsden marwick northam oxbury penryth quorndon ridgeway stokehill
tavisham uppingford vexmoor wyckham yarborough zennoria
"""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LENGTHS = {3: 6, 4: 16, 5: 24, 6: 22, 7: 15, 8: 9, 9: 5, 10: 3}

# Which hundredths of the hash of a name belong to which splits.
_SHARES = {
    "train": range(0, 50),
    "validation": range(50, 65),
    "test": range(65, 80),
    "time": range(80, 100),
}


def _transitions() -> dict[str, tuple[list[str], list[float]]]:
    counts = {a: dict.fromkeys(_LETTERS, 0.03) for a in _LETTERS}
    for word in _SEED_WORDS.split():
        for a, b in zip(word, word[1:], strict=False):
            counts[a][b] += 1.0
    return {a: (list(row), list(row.values())) for a, row in counts.items()}


_TRANSITIONS = _transitions()


def letters(rng: random.Random, n: int) -> str:
    """n letters of the chain. Its first letter is any letter: the chain shows no word edges."""
    text = rng.choice(_LETTERS)
    while len(text) < n:
        successors, weights = _TRANSITIONS[text[-1]]
        letter = rng.choices(successors, weights)[0]
        if text[-2:] != letter * 2:
            text += letter
    return text


def allowed(name: str, share: str) -> bool:
    """Whether `share` (train, validation, test or time) may use `name`.

    A hash of the name decides, so that no two shares ever have a name in common.
    """
    return zlib.crc32(name.encode()) % 100 in _SHARES[share]


def name(rng: random.Random, share: str) -> str:
    """A fresh lower-case name of 3 to 10 letters that `share` may use."""
    while True:
        n = rng.choices(list(_LENGTHS), list(_LENGTHS.values()))[0]
        drawn = letters(rng, n)
        if allowed(drawn, share):
            return drawn


def adjacent_names(rng: random.Random, share: str) -> tuple[str, str]:
    """Two names cut from one run of letters at a place that the letters do not betray."""
    while True:
        n = rng.randint(8, 13)
        cut = rng.randint(max(3, n - 10), min(10, n - 3))
        text = letters(rng, n)
        first, second = text[:cut], text[cut:]
        if first != second and allowed(first, share) and allowed(second, share):
            return first, second


def other_cuts(first: str, second: str) -> list[tuple[str, str]]:
    """The same letters cut 1 or 2 letters away, where both parts keep 2 letters or more."""
    text, cut = first + second, len(first)
    return [
        (text[:c], text[c:])
        for c in (cut - 2, cut - 1, cut + 1, cut + 2)
        if 2 <= c <= len(text) - 2
    ]
