"""Target sequences of each stage, derived from the text where a corpus has no labels.

Lemmas come from `simplemma`, stop words of languages other than English from `stop-words`,
pronunciations from the CMU dictionary that the `pocketsphinx` wheel carries: the extra `corpora`.
All are offline.
"""

import functools
import importlib.util
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from signbind_jax import streams
from signbind_jax.data.clip import FINGERSPELLED_PREFIX, Clip
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.sign_order import SignOrder
from signbind_jax.data.vocabulary import LETTERS, Vocabulary, read_vocabulary
from signbind_jax.errors import SignBindError, from_extra, missing_extra
from signbind_jax.files import shorten

# Published English lists are made for search engines and drop "help", "work" and numbers, which
# are signed. These are the closed classes that have no sign of their own or are rarely signed:
# articles, auxiliaries, prepositions, conjunctions, particles. Pronouns, negation, numbers and
# question words stay.
_ENGLISH_FUNCTION_WORDS = """
a an the this that these those there such
be am is are was were been being have has had having do does did doing done
will would shall should may might ought
of to at in on for from by with into onto upon about as than per via toward towards
and or nor so if though although whereas while whether because since until unless
s re ve ll d m t just oh um uh er ah well actually really very quite
"""
_CONTRACTIONS = (
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"\bcan(?:'t|not)\b"), "can not"),
    (re.compile(r"\bshan't\b"), "shall not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"'(?:s|m|re|ve|ll|d)\b"), " "),
)
APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def pseudo_glosses(text: str, language: str) -> tuple[str, ...]:
    """The lemmatised content words of a sentence, in its order, lower case.

    English keeps pronouns, negation, numbers and question words, which are signed. Other
    languages lose the words of their stop list; a language without lemmas or stop words
    keeps its words as they are. Chinese and Japanese text is taken character by character,
    all of it: a stop list holds words, not characters.

    Args:
      text: a sentence.
      language: BCP-47 tag such as "en" or "de-CH"; empty where unknown.
    """
    return tuple(gloss for _, gloss in _glossed(text, language) if gloss)


def _glossed(text: str, language: str) -> list[tuple[str, str]]:
    """The words of a sentence, each with its lemma; that of one that is no content word is ""."""
    primary = _primary(language)
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    if primary == "en":
        # Lower case before contractions, so that "Don't" and "don't" are one rule.
        text = text.lower()
        for pattern, expanded in _CONTRACTIONS:
            text = pattern.sub(expanded, text)
    stops = _stop_words(primary)
    with from_extra("corpora", "pseudo-glosses"):
        import simplemma
        from simplemma.strategies.dictionaries.dictionary_factory import SUPPORTED_LANGUAGES
    lemmatised = primary in SUPPORTED_LANGUAGES
    glosses = []
    for word in words_of(text):
        lemma = ""
        if word.lower() not in stops:
            lemma = (simplemma.lemmatize(word, lang=primary) if lemmatised else word).lower()
        glosses.append((word, "" if lemma in stops else lemma))
    return glosses


def _in_order_of_text(clip: Clip, glossed: list[tuple[str, str]]) -> tuple[str, ...]:
    """Pseudo-glosses and spelled words of a clip as its text has them in order; spelled words that
    are not in the text stand behind it.

    glossed: the words of its text, with the lemmas that count.
    """
    words = [word.casefold() for word, _ in glossed]
    spelled_at: dict[int, str] = {}
    inside: set[int] = set()
    behind = []
    for spelled in clip.spelled:
        own = [word.casefold() for word in words_of(spelled.translate(APOSTROPHES))]
        places = (
            i
            for i in range(len(words) - len(own) + 1)
            if words[i : i + len(own)] == own and i not in inside
        )
        place = next(places, None) if own else None
        if place is None:
            behind.append(spelled)
        else:
            spelled_at[place] = spelled
            inside.update(range(place, place + len(own)))
    ordered: list[str] = []
    for i, (_, gloss) in enumerate(glossed):
        if i in spelled_at:
            ordered.append(FINGERSPELLED_PREFIX + spelled_at[i])
        if gloss:
            ordered.append(gloss)
    return (*ordered, *(FINGERSPELLED_PREFIX + word for word in behind))


def phonemes(text: str, language: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """ARPAbet symbols of a sentence without stress, and the words the dictionary lacks.

    The first pronunciation of a word counts. A name with a possessive or a hyphen is looked
    up by its parts. Only English has a dictionary: in other languages every word is unknown.

    Args:
      text: a sentence.
      language: BCP-47 tag such as "en".

    Returns:
      (phonemes, unknown words), both in the order of the text.
    """
    words = words_of(text.translate(APOSTROPHES).lower())
    if not has_pronunciations(language):
        return (), tuple(words)
    dictionary = _pronunciations()
    spoken: list[str] = []
    unknown: list[str] = []
    for word in words:
        sounds = dictionary.get(word)
        if sounds is None and word.endswith("'s") and word[:-2] in dictionary:
            sounds = f"{dictionary[word[:-2]]} Z"
        if sounds is None:
            unknown.append(word)
        else:
            spoken += sounds.split()
    return tuple(spoken), tuple(unknown)


def has_pronunciations(language: str) -> bool:
    """Whether there is a pronunciation dictionary for a BCP-47 tag such as "en"."""
    return _primary(language) == "en"


def letters(spelled: tuple[str, ...]) -> tuple[str, ...]:
    """Fingerspelled words as symbols of the 31-letter alphabet, without a space between words.

    Accents are removed by Unicode decomposition. What is still outside the alphabet is left
    out: `unknown_letters` tells it.
    """
    return tuple(symbol for symbol in _symbols(spelled) if symbol in LETTERS)


def unknown_letters(spelled: tuple[str, ...]) -> tuple[str, ...]:
    """The characters that `letters` leaves out, in order."""
    return tuple(symbol for symbol in _symbols(spelled) if symbol not in LETTERS)


def fusion_tokens(fusion_targets: tuple[str, ...]) -> tuple[str, ...]:
    """Senses as tokens of fusion: "fs-anna" becomes "fs-" and its letters, each a token.

    "fs-" in front of every spelled word makes fusion find where one name ends and the next
    begins, which only their timing shows.

    A lemma of one character gets "_" behind it, so that a letter is always a letter.
    """
    tokens: list[str] = []
    for sense in fusion_targets:
        if sense.startswith(FINGERSPELLED_PREFIX):
            word = sense.removeprefix(FINGERSPELLED_PREFIX)
            tokens += (FINGERSPELLED_PREFIX, *letters((word,)))
        else:
            tokens.append(f"{sense}_" if len(sense) == 1 else sense)
    return tuple(tokens)


def labelled(clips: Iterable[Clip]) -> frozenset[str]:
    """Kinds of labels that a corpus has: those of gloss, phonemes, fusion_targets any clip has."""
    kinds = ("gloss", "phonemes", "fusion_targets")
    found: set[str] = set()
    for clip in clips:
        found |= {kind for kind in kinds if getattr(clip, kind)}
        if len(found) == len(kinds):
            break
    return frozenset(found)


def counted_vocabulary(
    name: str, kind: str, sequences: Iterable[Iterable[str]], min_count: int
) -> Vocabulary:
    """The tokens of target sequences that occur `min_count` times at least. Letters that fusion
    reads out stay however rare they are: names are spelled with them.

    kind: which target, see `targets`.
    """
    always = (*LETTERS, FINGERSPELLED_PREFIX) if kind == "fusion_targets" else ()
    return Vocabulary.from_sequences(name, sequences, min_count, frozenset(always))


def chosen_vocabulary(
    data: DataConfig, kind: str, name: str, sequences: Iterable[Iterable[str]]
) -> Vocabulary:
    """The vocabulary that a config's `vocabulary` and `min_count` choose; `sequences` are the
    training split's, see `counted_vocabulary`.

    Raises:
      SignBindError: see `read_vocabulary`.
    """
    if not data.vocabulary:
        return counted_vocabulary(name, kind, sequences, data.min_count)
    try:
        return read_vocabulary(data.vocabulary, kind, name)
    except SignBindError as error:
        raise SignBindError(f"config.data.vocabulary: {error}") from error


def targets(
    clip: Clip, labelled: frozenset[str] = frozenset(), order: SignOrder | None = None
) -> dict[str, tuple[str, ...]]:
    """The target sequence of each stage; empty where the clip has and allows none.

    What a corpus labels (`labelled`) is never derived: a clip without mouthing in a corpus
    that labels mouthing is a clip in which nothing is mouthed.

    `gloss` (signing) and `phonemes` (lipreading) are the corpus's labels, else derived from
    the text. `letters` (fingerspelling) come from the spelled words. `fusion_targets` (fusion) are
    the corpus's, else pseudo-glosses and spelled words; behind the corpus's own glosses, of whose
    order the text does not tell, stand the spelled words; see `fusion_tokens`. Pseudo-glosses leave
    out the words that are spelled. They stand in `order` where there is one, else in that of the
    text.

    A clip whose text is nothing but its spelled words is one of a fingerspelling corpus. Its
    letters keep the spaces between the words, which published letter accuracies count, and its
    text tells no phonemes: nobody says that the mouth follows the fingers.

    Streams with a label function of their own add their targets.
    """
    only_spelled = bool(clip.spelled) and clip.text.lower().split() == list(clip.spelled)
    gloss, glossed = clip.gloss, []
    if not gloss and "gloss" not in labelled:
        # Lemmas of the spelled words as well: "james" may have become another word by now.
        spelled = {*clip.spelled, *pseudo_glosses(" ".join(clip.spelled), clip.text_language)}
        glossed = [
            (word, "" if gloss in spelled else gloss)
            for word, gloss in _glossed(clip.text, clip.text_language)
        ]
        gloss = tuple(gloss for _, gloss in glossed if gloss)
        gloss = order.ordered(clip.id, gloss) if order else gloss
    fusion_targets = clip.fusion_targets
    if not fusion_targets and "fusion_targets" not in labelled:
        behind = tuple(FINGERSPELLED_PREFIX + word for word in clip.spelled)
        fusion_targets = _in_order_of_text(clip, glossed) if glossed else gloss + behind
        if order and glossed:
            fusion_targets = order.ordered(clip.id, fusion_targets)
    spoken = clip.phonemes
    if not spoken and "phonemes" not in labelled and not only_spelled:
        spoken = phonemes(clip.text, clip.text_language)[0]
    own = {spec.target: _own_target(spec, clip) for spec in streams.specs() if spec.label}
    return {
        "gloss": gloss,
        "letters": letters((" ".join(clip.spelled),) if only_spelled else clip.spelled),
        "phonemes": spoken,
        "fusion_targets": fusion_tokens(fusion_targets),
        **own,
    }


def _own_target(spec: streams.StreamSpec, clip: Clip) -> tuple[str, ...]:
    """What the label function of a stream says of a clip.

    Raises:
      SignBindError: it is no list of tokens.
    """
    tokens = spec.label(clip)
    if not isinstance(tokens, list | tuple) or not all(isinstance(t, str) and t for t in tokens):
        raise SignBindError(
            f"stream {spec.name}: label of clip {clip.id!r}: found "
            f"{shorten(tokens)}, wanted a list of tokens"
        )
    return tuple(tokens)


def _primary(language: str) -> str:
    return re.split("[-_]", language.lower(), maxsplit=1)[0]


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters, marks, digits, inner apostrophes; each ideograph."""
    kept = "".join(
        f" {char} "
        if _IDEOGRAPH.match(char)
        else char
        if char == "'" or unicodedata.category(char)[0] in "LMN"
        else " "
        for char in text
    )
    return [word for word in (part.strip("'") for part in kept.split()) if word]


def _symbols(spelled: tuple[str, ...]) -> list[str]:
    text = "".join(spelled).translate(APOSTROPHES).casefold()
    return [c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)]


@functools.cache
def _stop_words(primary: str) -> frozenset[str]:
    if primary == "en":
        return frozenset(_ENGLISH_FUNCTION_WORDS.split())
    with from_extra("corpora", "pseudo-glosses"):
        import stop_words
    if primary in ("zh", "ja") or primary not in stop_words.LANGUAGE_MAPPING:
        return frozenset()
    return frozenset(stop_words.get_stop_words(primary))


@functools.cache
def _pronunciations() -> dict[str, str]:
    """Word -> its first pronunciation."""
    # Found without an import: the recogniser itself asks for an audio library.
    spec = importlib.util.find_spec("pocketsphinx")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("corpora", "phonemes", "found no pronunciation dictionary")
    path = Path(spec.submodule_search_locations[0], "model", "en-us", "cmudict-en-us.dict")
    if not path.is_file():
        raise missing_extra("corpora", "phonemes", f"found no {path}")
    entries = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    # "read(2)" is a second pronunciation.
    return {word: re.sub(r"\d", "", sounds) for word, sounds in entries if not word.endswith(")")}
