"""Score, a value with its signature; BLEU and chrF of whole corpora by sacrebleu."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sacrebleu.metrics import BLEU, CHRF

from signbind_jax.metrics.resampling import Resampling

VERSION = "signbind.1"


@dataclass(frozen=True)
class Score:
    """One number and what it takes to compute it again.

    Attributes:
      name: what peers call it, such as "BLEU-4".
      value: 0..100 unless the signature says otherwise; None where nothing can be judged.
      signature: sacrebleu's own where sacrebleu computes it, else as explicit.
      resampling: what a paired bootstrap computes it from; None where it cannot.
    """

    name: str
    value: float | None
    signature: str
    resampling: Resampling | None = field(default=None, repr=False, compare=False)


def bleu(
    references: Sequence[str],
    hypotheses: Sequence[str],
    orders: Sequence[int] = (1, 2, 3, 4),
    *,
    lowercase: bool = False,
    tokenize: str = "13a",
    smooth_method: str = "exp",
    note: str = "",
    prefix: str = "",
) -> list[Score]:
    """Computes cumulative corpus BLEU-n (Papineni et al. 2002) by sacrebleu, one Score an order.

    Args:
      references, hypotheses: one sentence each, as many on both sides.
      orders: the n of BLEU-n: geometric mean of the 1..n-gram precisions.
      lowercase, tokenize, smooth_method: sacrebleu's settings of the same names.
      note: what was done to the text beforehand, appended to the signature.
      prefix: put before the name.
    """
    scores = []
    for n in orders:
        metric = BLEU(
            lowercase=lowercase,
            tokenize=tokenize,
            smooth_method=smooth_method,
            max_ngram_order=n,
            force=True,
        )
        sides = list(hypotheses), [list(references)]
        value = metric.corpus_score(*sides).score
        signature = "|".join(filter(None, [str(metric.get_signature()), note]))
        drawn = Resampling(metric, *sides)
        scores.append(Score(f"{prefix}BLEU-{n}", float(value), signature, drawn))
    return scores


def chrf(references: Sequence[str], hypotheses: Sequence[str], word_order: int = 0) -> Score:
    """Corpus chrF (Popovic 2015), chrF++ with `word_order` 2, by sacrebleu."""
    metric = CHRF(word_order=word_order)
    sides = list(hypotheses), [list(references)]
    value, signature = metric.corpus_score(*sides).score, str(metric.get_signature())
    return Score("chrF" + "+" * word_order, float(value), signature, Resampling(metric, *sides))
