"""Word differences between a reference sentence and a translation, and names in them."""

import difflib
import re
import string
from dataclasses import dataclass

_EDGE = string.punctuation + "…“”„‚‘’«»¿¡。、，！？"
# A word, or one character of a script that writes no spaces (kana, CJK ideographs).
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Piece:
    """A run of the comparison: `kind` is "same", "extra" or "missing"; `words` as written."""

    kind: str
    words: tuple[str, ...]


def words_of(sentence: str) -> list[str]:
    """The words of a sentence as written; characters where a script writes no spaces."""
    return _WORD.findall(sentence)


def plain(word: str) -> str:
    """A word as it is compared: case-folded, without punctuation at its edges."""
    return word.strip(_EDGE).casefold() or word


def compare(reference: list[str], found: list[str], key=plain) -> list[Piece]:
    """The difference between two sequences, in reading order."""
    matcher = difflib.SequenceMatcher(
        None, [key(word) for word in reference], [key(word) for word in found], autojunk=False
    )
    pieces = []
    for operation, i0, i1, j0, j1 in matcher.get_opcodes():
        if operation == "equal":
            pieces.append(Piece("same", tuple(found[j0:j1])))
            continue
        if i1 > i0:
            pieces.append(Piece("missing", tuple(reference[i0:i1])))
        if j1 > j0:
            pieces.append(Piece("extra", tuple(found[j0:j1])))
    return pieces


def name_words(names: tuple[str, ...]) -> set[str]:
    """The words that belong to names, as compared."""
    return {plain(word) for name in names for word in words_of(name)}


def is_name(word: str, names: set[str]) -> bool:
    """Whether a word, or what remains without a possessive ending, belongs to a name."""
    bare = plain(word)
    return bare in names or re.sub(r"['’]s$", "", bare) in names


def holds_name(sentence: str, name: str) -> bool:
    """Whether the words of `name` stand next to each other in `sentence`."""
    wanted = [plain(word) for word in words_of(name)]
    found = [re.sub(r"['’]s$", "", plain(word)) for word in words_of(sentence)]
    exact = [plain(word) for word in words_of(sentence)]
    n = len(wanted)
    return any(wanted in (found[i : i + n], exact[i : i + n]) for i in range(len(found) - n + 1))
