"""How a sentence becomes words before it is scored; each peer has its own way."""

import re

PTB_VERSION = "ptb-signbind.1"

# Contractions the Penn Treebank writes as two words.
_SPLIT_WORDS = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "wanna": "wan na",
    "gimme": "gim me",
    "lemme": "lem me",
}
_CLITIC = re.compile(r"(?<=\w)(n['’]t|['’](?:s|m|d|re|ve|ll))(?!\w)")
_PTB_TOKEN = re.compile(
    r"""
    (?:[a-z]+://|www\.)\S*[\w/]                      # addresses
    | (?:[a-z]\.){2,} | (?<!\w)[a-z]\.               # u.s., a.m., x.
    | (?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|co|inc|ltd)\.(?=\s|$)
    | no\.(?=\s+\d)
    | \d+(?:[.,:/]\d+)*(?:-?\w+(?:-\w+)*)?           # 1,000  3.5  10:30  1/2  20th  2-inch
    | n['’]t\b
    | ['’](?:s|m|d|re|ve|ll)\b
    | '(?:n|em|til|tis|twas)\b'?                      # rock 'n' roll
    | y'(?=all\b)
    | \w+(?:[-'’.&@_/]\w+)*                          # words, hyphens and inner marks kept
    | [()\[\]{}]
    | [^\w\s]
    """,
    re.VERBOSE,
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_CURRENCY = {"£": "#", "€": "$"}
_DROPPED = set("'’‘`“”\".?!,:;-–—…")


def ptb_tokens(sentence: str) -> list[str]:
    """Gives Penn-Treebank-like words of an English sentence, lower-cased, punctuation dropped.

    Follows what coco-caption scores see: contractions are split ("do n't", "it 's"),
    hyphenated words stay whole, currency and percent signs are words ("£" as "#" and "€" as
    "$", as the original rewrites them), brackets survive as "-lrb-" and the like, because the
    original drops them in upper case only and lower-cases first. It is a likeness, not the
    Stanford tokenizer: docs/use/score_translations.md says how often the two differ.
    """
    text = _CLITIC.sub(r" \1 ", sentence.lower())
    tokens = []
    for token in _PTB_TOKEN.findall(text):
        if token in _DROPPED:
            continue
        token = (_BRACKETS | _CURRENCY).get(token, token).replace("’", "'")
        tokens += _SPLIT_WORDS.get(token, token).split()
    return tokens


def rouge_score_tokens(sentence: str) -> list[str]:
    """Runs of a-z and 0-9 of the lower-cased sentence, as the `rouge_score` library has them."""
    return re.findall(r"[a-z0-9]+", sentence.lower())


def characters(sentence: str) -> list[str]:
    """Characters without spaces; full-width comma and question mark as their ASCII forms.

    The two replacements are those of the public Uni-Sign evaluation of CSL-Daily.
    """
    folded = sentence.replace("，", ",").replace("？", "?")
    return [character for character in folded if not character.isspace()]


def without_words(sentence: str, words: frozenset[str]) -> str:
    """Gives the sentence without ASCII punctuation (the apostrophe stays) and without `words`."""
    bare = re.sub(r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~]", "", sentence)
    return " ".join(word for word in bare.split() if word not in words)
