"""ROUGE-L in the two forms the field reports."""

from collections.abc import Sequence

from signbind_jax.metrics.resampling import mean
from signbind_jax.metrics.text import VERSION, Score


def rouge_l(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    beta: float,
    note: str,
) -> Score:
    """Takes the mean over sentences of the ROUGE-L F measure (Lin 2004).

    F = (1 + beta^2) R P / (R + beta^2 P) with R = LCS / |reference|, P = LCS / |hypothesis|
    and LCS the length of the longest common subsequence of tokens; 0 where LCS is 0.

    Args:
      references, hypotheses: token sequences, as many on both sides, at least one.
      beta: weight of recall against precision.
      note: the tokenisation, for the signature.
    """
    values = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        common = longest_common_subsequence(reference, hypothesis)
        if not common:
            values.append(0.0)
            continue
        recall, precision = common / len(reference), common / len(hypothesis)
        values.append((1 + beta**2) * recall * precision / (recall + beta**2 * precision))
    signature = f"nrefs:1|mean:sentence|beta:{beta:g}|{note}|version:{VERSION}"
    value = 100.0 * sum(values) / len(values)
    return Score("ROUGE-L", value, signature, mean([100.0 * x for x in values]))


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Gives the length of the longest sequence of tokens that both hold in order, with gaps."""
    return _steps(a, b)[-1].bit_count()


def rouge_l_distinct(references: Sequence[str], hypotheses: Sequence[str]) -> Score:
    """Computes ROUGE-L over distinct words, as the `rouge` library 1.0.1 and Uni-Sign report it.

    A line is cut into sentences at every full stop. Of each pair of a reference and a
    hypothesis sentence the longest common subsequence is taken; the distinct words of all
    of them, divided by the distinct words of the reference and of the hypothesis, are
    recall and precision; beta is 1. Words are divided by spaces, case is kept. The library
    refuses empty hypotheses; here they score 0.
    """
    values = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        # A part of nothing but spaces is one empty word to the library; one that comes again adds
        # nothing.
        sides = [
            {tuple(part.split() or [""]) for part in line.split(".") if part}
            for line in (reference, hypothesis)
        ]
        common = _common_to_parts(*sides)
        if not common:
            values.append(0.0)
            continue
        recall, precision = (len(common) / len(set().union(*side)) for side in sides)
        values.append(2 * recall * precision / (recall + precision))
    signature = (
        "nrefs:1|mean:sentence|beta:1|words:distinct|sentences:cut-at-full-stop|tok:space"
        f"|case:mixed|version:{VERSION}"
    )
    value = 100.0 * sum(values) / len(values)
    return Score("ROUGE-L distinct", value, signature, mean([100.0 * x for x in values]))


def _common_to_parts(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> set[str]:
    """Gives the words of the longest common subsequences of all pairs of parts."""
    parts_with: dict[str, list[tuple[str, ...]]] = {}
    for part in right:
        for word in set(part):
            parts_with.setdefault(word, []).append(part)
    common: set[str] = set()
    for part in left:
        others = {other for word in part for other in parts_with.get(word, ())}
        common.update(word for other in others for word in _common_words(part, other))
    return common


def _common_words(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """Gives one longest common subsequence; ties are broken as the `rouge` library does."""
    steps = _steps(a, b)
    words, i, j = [], len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            words.append(a[i - 1])
            i, j = i - 1, j - 1
        elif steps[i] >> (j - 1) & 1:  # the last word of b only lengthens what is common
            i -= 1
        else:
            j -= 1
    return words


def _steps(a: Sequence[str], b: Sequence[str]) -> list[int]:
    """Makes the table of lengths as bits, a row for each beginning of `a`: bit j is set where b[j]
    lengthens the longest common subsequence. (Hyyro 2004: a row costs a few whole-number
    operations instead of a loop over `b`.)
    """
    places: dict[str, int] = {}
    for j, token in enumerate(b):
        places[token] = places.get(token, 0) | 1 << j
    full = (1 << len(b)) - 1
    rest, rows = full, [0]
    for token in a:
        met = rest & places.get(token, 0)
        rest = (rest + met | rest - met) & full
        rows.append(full ^ rest)
    return rows
