"""Fresh names in place of spelled ones, so that a language model learns to copy, not to recall."""

import re
from collections.abc import Sequence

import numpy as np


class NameMaker:
    """Draws letter sequences that follow the letter pairs of the spelled words it has seen."""

    def __init__(self, spelled: Sequence[str]):
        self._follow: dict[str, tuple[list[str], np.ndarray]] = {}
        counts: dict[str, dict[str, int]] = {}
        for word in spelled:
            for a, b in zip("^" + word, word, strict=False):
                counts.setdefault(a, {}).setdefault(b, 0)
                counts[a][b] += 1
        for a, row in counts.items():
            letters = sorted(row)
            weights = np.array([row[b] for b in letters], float)
            # Flattened towards uniform: rare pairs must be copied as surely as common ones.
            weights = weights**0.5
            self._follow[a] = letters, np.cumsum(weights / weights.sum())

    def make(self, n: int, rng: np.random.Generator) -> str:
        """A word of n letters."""
        word = ""
        for _ in range(n):
            letters, cumulative = self._follow.get(word[-1:] or "^") or self._follow["^"]
            word += letters[min(np.searchsorted(cumulative, rng.random()), len(letters) - 1)]
        return word


def replace_words(text: str, replacements: dict[str, str]) -> str:
    """Replaces whole words whatever their case, keeping a leading capital."""

    def swap(match):
        new = replacements[match.group().lower()]
        return new.capitalize() if match.group()[:1].isupper() else new

    if not replacements:
        return text
    pattern = "|".join(re.escape(word) for word in sorted(replacements, key=len, reverse=True))
    return re.sub(rf"\b(?:{pattern})\b", swap, text, flags=re.IGNORECASE)
