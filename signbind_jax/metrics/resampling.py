"""Whether two systems differ by more than the choice of sentences: sacrebleu's paired bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sacrebleu
from sacrebleu.metrics.base import Score
from sacrebleu.significance import PairedTest

SAMPLES = 1000
MOST_BYTES = 2**32  # of what sacrebleu holds at once: every resample of every sentence
_NUMBERS = 24  # float32 of a sentence that chrF++ sums, the most of any score


@dataclass(frozen=True)
class Resampling:
    """What a score is computed from again, for a choice of sentences.

    Attributes:
      metric: a metric of sacrebleu, or `Sums`.
      hypotheses: what it takes of each sentence.
      references: what it compares them with; None: nothing more.
    """

    metric: Any
    hypotheses: Sequence[Any]
    references: Sequence[Sequence[str]] | None = None


class Sums:
    """A score that follows from numbers that are summed over sentences, as `PairedTest` of
    sacrebleu asks for it; those numbers stand in for hypotheses."""

    def __init__(self, of_sums: Callable[[np.ndarray], float]):
        self._of_sums, self.info = of_sums, {}

    def get_signature(self):
        return self

    def update(self, name: str, value: object) -> None:
        self.info[name] = value

    def _extract_corpus_statistics(self, hypotheses, references):
        del references
        return hypotheses

    def _aggregate_and_compute(self, statistics):
        return self._compute_score_from_stats(np.sum(statistics, axis=0))

    def _compute_score_from_stats(self, sums):
        return Score(name="", score=float(self._of_sums(sums)))


def mean(values: Sequence[float]) -> Resampling:
    """Of a score that is the mean over sentences."""
    return Resampling(Sums(lambda sums: sums[0] / sums[1]), [(x, 1) for x in values])


@dataclass(frozen=True)
class Interval:
    """A score's mean over the resamples, and what lies 95 % of them around it: mean +- `half`."""

    mean: float
    half: float


@dataclass(frozen=True)
class Difference:
    """What resampling says of two systems.

    Attributes:
      system, baseline: of their scores.
      p_value: how often resamples alone, centred on no difference, differ by more than the two
        systems do; small: the difference is hardly chance.
      signature: of the test: resamples, seed and version.
    """

    system: Interval
    baseline: Interval
    p_value: float
    signature: str


def paired_bootstrap(
    system: Resampling, baseline: Resampling, samples: int = SAMPLES
) -> Difference:
    """Draws sentences anew, with repetitions, the same ones for both systems (Koehn 2004).

    The seed is sacrebleu's: SACREBLEU_SEED, 12345 by default.

    Args:
      system, baseline: of one score of both, over the same sentences.
      samples: how often.
    """
    named = [("baseline", baseline.hypotheses), ("system", system.hypotheses)]
    metrics = {"score": baseline.metric}
    test = PairedTest(named, metrics, baseline.references, "bs", n_samples=samples)
    signatures, found = test()
    [info] = [signature.info for signature in signatures.values()]
    [(before, after)] = [rows for name, rows in found.items() if name != "System"]
    after_all, before_all = ((row.score, row.mean, row.ci) for row in (after, before))
    return Difference(
        Interval(float(after.mean), float(after.ci)),
        Interval(float(before.mean), float(before.ci)),
        # Of a system against itself, which never differs, sacrebleu gives the smallest p there is.
        1.0 if after_all == before_all else float(after.p_value),
        f"bs:{info['bs']}|seed:{info['seed']}|version:{sacrebleu.__version__}",
    )


def bytes_needed(sentences: int, samples: int) -> int:
    """How much memory a test takes, about."""
    return sentences * samples * _NUMBERS * 4
