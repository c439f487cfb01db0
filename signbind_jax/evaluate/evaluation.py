"""Evaluation: how a split was read or translated, clip by clip and in scores."""

from typing import Any, NamedTuple

_SAMPLES = 4


class ClipOutput(NamedTuple):
    """What a clip says, and what was read or written of it, as text."""

    clip: str
    reference: str
    hypothesis: str


class Evaluation(NamedTuple):
    """How a split was read or translated.

    Attributes:
      scores: by name, JSON-ready.
      logged: those of them that a training run logs.
      outputs: of every clip that was scored.
    """

    scores: dict[str, Any]
    logged: dict[str, float]
    outputs: list[ClipOutput]

    @property
    def samples(self) -> list[ClipOutput]:
        """The same few clips at every evaluation, spread evenly over a split; each on one line."""
        n = len(self.outputs)
        chosen = sorted({i * n // _SAMPLES for i in range(_SAMPLES)}) if n else []
        return [
            ClipOutput(clip, " ".join(reference.split()), " ".join(hypothesis.split()))
            for clip, reference, hypothesis in (self.outputs[i] for i in chosen)
        ]
