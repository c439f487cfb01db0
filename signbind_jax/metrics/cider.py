"""CIDEr-D, the consensus score of image captions, as BOBSL work reports it."""

import math
from collections import Counter
from collections.abc import Sequence

from signbind_jax.metrics.resampling import mean
from signbind_jax.metrics.text import VERSION, Score


def cider_d(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], note: str
) -> Score:
    """Computes CIDEr-D with one reference a sentence (Vedantam et al. 2015), times 100 as usual.

    n = 1..4, sigma = 6, document frequencies from the references of this corpus, as in
    coco-caption, whose length penalty compares the numbers of 2-grams. The raw value lies
    in 0..10. A corpus of one sentence scores 0: every idf is log(1 / 1).

    Args:
      references, hypotheses: token sequences, as many on both sides, at least one.
      note: the tokenisation, for the signature.
    """
    frequencies = Counter(gram for tokens in references for gram in _ngrams(tokens))
    values = [
        _cider_pair(_ngrams(reference), _ngrams(hypothesis), frequencies, len(references))
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    signature = f"nrefs:1|n:4|sigma:6|df:corpus|scale:100x|{note}|version:{VERSION}"
    value = 100.0 * sum(values) / len(values)
    # Resamples keep the document frequencies of the whole corpus.
    return Score("CIDEr-D", value, signature, mean([100.0 * x for x in values]))


def _ngrams(tokens: Sequence[str]) -> Counter:
    """Counts how often each 1..4-gram occurs."""
    return Counter(
        tuple(tokens[start : start + n])
        for n in range(1, 5)
        for start in range(len(tokens) - n + 1)
    )


def _cider_pair(
    reference: Counter, hypothesis: Counter, frequencies: Counter, n_documents: int
) -> float:
    reference_bigrams, hypothesis_bigrams = (
        sum(count for gram, count in side.items() if len(gram) == 2)
        for side in (reference, hypothesis)
    )
    penalty = math.exp(-((reference_bigrams - hypothesis_bigrams) ** 2) / (2 * 6.0**2))
    total = 0.0
    for n in range(1, 5):
        weights = [
            {
                gram: count * math.log(n_documents / max(1, frequencies[gram]))
                for gram, count in side.items()
                if len(gram) == n
            }
            for side in (reference, hypothesis)
        ]
        norms = [math.sqrt(sum(w * w for w in side.values())) for side in weights]
        if not all(norms):
            continue
        clipped = sum(
            min(weight, weights[0].get(gram, 0.0)) * weights[0].get(gram, 0.0)
            for gram, weight in weights[1].items()
        )
        total += penalty * clipped / (norms[0] * norms[1])
    return 10.0 * total / 4
