"""Histograms over the clips of a dataset: where most are, and how far the rest goes."""

import math
from dataclasses import dataclass

import numpy as np

from signbind_jax.data_pipelines.audit.survey import SplitSurvey, Survey

N_BINS = 24
SHOWN = 0.995  # share of the clips within the bins; the tail would squash them


@dataclass(frozen=True)
class Histogram:
    """Counts of clips.

    Attributes:
      name, unit: of the quantity.
      edges: of the bins, one more than `counts`.
      counts: clips by bin.
      beyond: clips above the last edge.
      median, largest: over all clips.
    """

    name: str
    unit: str
    edges: list[float]
    counts: list[int]
    beyond: int
    median: float
    largest: float


# name, unit, values of a split, whether they are shares or confidences (0..1)
_QUANTITIES = (
    ("duration", "seconds", lambda split: split.seconds, False),
    ("length of the pose", "frames", lambda split: _present(split, "pose_frames"), False),
    ("length of the mouth crops", "frames", lambda split: _present(split, "lip_frames"), False),
    ("text length", "words", lambda split: split.facts["words"], False),
    (
        "confidence of body and hands",
        "mean of a clip",
        lambda split: split.facts["confidence"],
        True,
    ),
    ("frames without a hand", "share of a clip", lambda split: split.facts["handless"], True),
    ("movement of the mouth crops", "grey levels", lambda split: split.facts["lip_motion"], False),
)


def histograms(survey: Survey) -> list[Histogram]:
    """One for each quantity that any clip has."""
    drawn = []
    for name, unit, values_of, is_share in _QUANTITIES:
        values = [values_of(split).astype(float) for split in survey.splits.values()]
        values = np.concatenate(values) if values else np.zeros(0)
        values = values[np.isfinite(values)]
        if values.size:
            drawn.append(_histogram(name, unit, values, is_share))
    return drawn


def _histogram(name: str, unit: str, values: np.ndarray, is_share: bool) -> Histogram:
    if is_share:
        edges = np.linspace(0, 1, 21)
        values = values.clip(0, 1)
    else:
        top = float(np.quantile(values, SHOWN)) or 1.0
        edges = _round_edges(top)
        if unit in ("frames", "words") and edges[1] < 1:
            edges = np.arange(0.0, np.ceil(top) + 2)
    counts, _ = np.histogram(values, edges)
    beyond = int((values > edges[-1]).sum())
    return Histogram(
        name,
        unit,
        edges.tolist(),
        counts.tolist(),
        beyond,
        float(np.median(values)),
        float(values.max()),
    )


def _round_edges(top: float) -> np.ndarray:
    """From 0 to `top` or above in round steps, about N_BINS of them."""
    power = 10.0 ** math.floor(math.log10(top / N_BINS))
    step = next(s for f in (1, 2, 5, 10) if (s := power * f) >= top / N_BINS * 0.999)
    return np.arange(max(math.ceil(top / step - 1e-9), 1) + 1) * step


def _present(split: SplitSurvey, column: str) -> np.ndarray:
    values = split.facts[column]
    return values[values > 0]
