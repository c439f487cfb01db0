"""The field's scoring conventions, one function each, from plain sentences."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from signbind_jax.metrics import cider, rouge, sequence, text, tokenizers
from signbind_jax.metrics.function_words import FUNCTION_WORDS
from signbind_jax.metrics.resampling import Resampling, Sums
from signbind_jax.metrics.text import VERSION, Score

Sentences = Sequence[str]


@dataclass(frozen=True)
class Convention:
    """One way to score. `scores(references, hypotheses)` takes one sentence an item each.

    Attributes:
      about: what it does, for `--help`.
      scores: the function.
      translation: whether `--convention=all` includes it.
    """

    about: str
    scores: Callable[[Sentences, Sentences], list[Score]]
    translation: bool = True


def unisign(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """Uni-Sign and SSVP-SLT: cased sacrebleu 13a, exponential smoothing; chrF; ROUGE-L.

    Two ROUGE-L: that of the `rouge_score` library (SSVP-SLT) and that of `rouge` 1.0.1
    (Uni-Sign), which counts each distinct word once.
    """
    words = _each(tokenizers.rouge_score_tokens, references, hypotheses)
    return [
        *text.bleu(references, hypotheses),
        text.chrf(references, hypotheses),
        rouge.rouge_l(*words, beta=1.0, note="tok:rouge_score|case:lc"),
        rouge.rouge_l_distinct(references, hypotheses),
    ]


def how2sign(
    references: Sentences, hypotheses: Sentences, rbleu_words: Iterable[str] | None = None
) -> list[Score]:
    """How2Sign baseline (WiCV 2023): lower-cased BLEU, reduced BLEU, chrF++.

    Reduced BLEU takes punctuation and a list of words out of both sides; a pair whose
    reference is then empty is left out. It is called rBLEU only with a list that was handed
    in; with our own function words it is called reduced BLEU. The signature holds the
    number of words and the start of the SHA-256 of the sorted list, one word a line.

    Args:
      rbleu_words: the words; None for our own list.
    """
    own = rbleu_words is None
    words = frozenset(FUNCTION_WORDS if own else rbleu_words)
    digest = hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:12]
    listed = f"words:{'signbind' if own else 'file'}({len(words)},{digest})"
    prefix = "reduced " if own else "r"
    scores = text.bleu(references, hypotheses, lowercase=True)
    for case, fold in (("lc", str.lower), ("mixed", str)):
        pairs = _reduced_pairs(
            *_each(fold, references, hypotheses), frozenset(fold(word) for word in words)
        )
        note = f"{listed}|before:{case}|pairs:{len(pairs)}/{len(references)}"
        name = f"{'lc ' if case == 'lc' else ''}{prefix}"
        if pairs:
            left, right = zip(*pairs, strict=True)
            scores += text.bleu(left, right, orders=(4,), prefix=name, note=note)
        else:
            scores.append(Score(f"{name}BLEU-4", None, f"{note}|version:{VERSION}"))
    return [*scores, text.chrf(references, hypotheses, word_order=2)]


def phoenix(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """PHOENIX14T lineage (signjoey): untokenised BLEU without smoothing, ROUGE-L beta 1.2, chrF."""
    words = _each(str.split, references, hypotheses)
    return [
        *text.bleu(references, hypotheses, tokenize="none", smooth_method="none"),
        text.chrf(references, hypotheses),
        rouge.rouge_l(*words, beta=1.2, note="tok:space|case:mixed"),
    ]


def csl_daily(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """CSL-Daily: BLEU and ROUGE-L over characters, spaces taken out."""
    spelled = _each(tokenizers.characters, references, hypotheses)
    joined = _each("".join, *spelled)
    return [
        *text.bleu(*joined, tokenize="char", note="spaces:removed"),
        rouge.rouge_l(*spelled, beta=1.0, note="tok:char|case:mixed|spaces:removed"),
        rouge.rouge_l_distinct(*_each(" ".join, *spelled)),
    ]


def bobsl(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """BOBSL (LiTFiC): Penn-Treebank words, lower-cased, no punctuation; BLEU-4, ROUGE-L, CIDEr.

    The public LiTFiC code hands coco-caption's BLEU the hypotheses where it wants the
    references; that number is given too, under its own name.
    """
    tok = f"tok:{tokenizers.PTB_VERSION}|case:lc|punct:dropped"
    words = _each(tokenizers.ptb_tokens, references, hypotheses)
    joined = _each(" ".join, *words)
    settings = {"orders": (4,), "tokenize": "none", "smooth_method": "none"}
    (exchanged,) = text.bleu(
        *reversed(joined), **settings, note=f"pre-{tok}|roles:exchanged", prefix="exchanged "
    )
    return [
        *text.bleu(*joined, **settings, note=f"pre-{tok}"),
        dataclasses.replace(exchanged, resampling=None),  # two systems would share no references
        rouge.rouge_l(*words, beta=1.2, note=tok),
        cider.cider_d(*words, note=tok),
    ]


def letters(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """Letter accuracy 100 (N - S - D - I) / N, pooled; spaces count; unit and HTK costs."""
    sides = _each(str.strip, references, hypotheses)
    return [
        _edit_score("letter accuracy", *sides, "tok:char|spaces:count", costs)
        for costs in ("unit", "htk")
    ]


def wer(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """Word (gloss) error rate 100 (S + D + I) / N, pooled; unit, HTK and signjoey costs."""
    sides = _each(str.split, references, hypotheses)
    return [_edit_score("WER", *sides, "tok:space", costs) for costs in ("unit", "htk", "signjoey")]


def per(references: Sentences, hypotheses: Sentences) -> list[Score]:
    """Phoneme error rate 100 (S + D + I) / N, pooled; phonemes divided by spaces."""
    sides = _each(str.split, references, hypotheses)
    return [_edit_score("PER", *sides, "tok:space", costs) for costs in ("unit", "htk")]


def _each(function: Callable, references: Sequence, hypotheses: Sequence) -> list[list]:
    """Applies `function` to every sentence: one list of results for each side."""
    return [[function(line) for line in side] for side in (references, hypotheses)]


def _reduced_pairs(
    references: Sentences, hypotheses: Sentences, words: frozenset[str]
) -> list[tuple[str, str]]:
    """Pairs without `words` and punctuation; those with an empty reference are left out."""
    reduced = _each(lambda line: tokenizers.without_words(line, words), references, hypotheses)
    return [pair for pair in zip(*reduced, strict=True) if pair[0]]


def _edit_score(
    name: str,
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    note: str,
    costs: str,
) -> Score:
    """Makes an error rate, or an accuracy if `name` says so, with its counts in the signature."""
    each = sequence.each_error_counts(references, hypotheses, costs)
    counts = sum(each, sequence.ErrorCounts(0, 0, 0, 0))
    accuracy = name.endswith("accuracy")
    drawn = Resampling(
        Sums(lambda sums: 100.0 * ((sums[1] - sums[0] if accuracy else sums[0]) / sums[1])),
        [(row.s + row.d + row.i, row.n) for row in each],
    )
    prices = "/".join(str(cost) for cost in sequence.EDIT_COSTS[costs])
    return Score(
        f"{name} ({costs} costs)",
        counts.accuracy if accuracy else counts.rate,
        f"del/ins/sub:{prices}|{note}|case:mixed|pooled"
        f"|S:{counts.s}|D:{counts.d}|I:{counts.i}|N:{counts.n}|version:{VERSION}",
        drawn,
    )


def scores_by(
    convention: str,
    references: Sentences,
    hypotheses: Sentences,
    rbleu_words: Iterable[str] | None = None,
) -> list[tuple[str, Score]]:
    """Scores with the name of their convention: of one, or with "all" of those for sentences.

    rbleu_words: see `how2sign`.
    """
    names = translation() if convention == "all" else [convention]
    return [
        (name, score)
        for name in names
        for score in (
            how2sign(references, hypotheses, rbleu_words)
            if name == "how2sign"
            else CONVENTIONS[name].scores(references, hypotheses)
        )
    ]


def translation() -> list[str]:
    """The conventions for sentences, by name."""
    return [name for name, convention in CONVENTIONS.items() if convention.translation]


def bleu4(name: str, references: Sentences, hypotheses: Sentences) -> Score:
    """BLEU-4 by one of the conventions for sentences."""
    scores = CONVENTIONS[name].scores(references, hypotheses)
    return next(score for score in scores if score.name == "BLEU-4")


CONVENTIONS = {
    "unisign": Convention(
        "Uni-Sign, SSVP-SLT: sacrebleu 13a, cased, exp smoothing, BLEU-1..4; chrF; ROUGE-L",
        unisign,
    ),
    "how2sign": Convention(
        "How2Sign baseline (WiCV 2023): lower-cased BLEU-1..4; rBLEU, a word list taken out of "
        "both sides (--rbleu_words); chrF++",
        how2sign,
    ),
    "phoenix": Convention(
        "PHOENIX14T lineage (signjoey): BLEU-1..4 on the words as they stand, no tokenisation, "
        "no smoothing; chrF; ROUGE-L with beta 1.2",
        phoenix,
    ),
    "csl_daily": Convention(
        "CSL-Daily: BLEU-1..4 and ROUGE-L over characters, spaces taken out", csl_daily
    ),
    "bobsl": Convention(
        "BOBSL (LiTFiC): Penn-Treebank words, lower-cased, punctuation dropped; BLEU-4; ROUGE-L "
        "with beta 1.2; CIDEr-D",
        bobsl,
    ),
    "letters": Convention(
        "fingerspelling: letter accuracy 100 (N - S - D - I) / N, spaces count, unit and HTK costs",
        letters,
        translation=False,
    ),
    "wer": Convention(
        "glosses: word error rate with unit, HTK and signjoey costs", wer, translation=False
    ),
    "per": Convention("phonemes: error rate with unit and HTK costs", per, translation=False),
}
