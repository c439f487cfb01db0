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
    def lines(self) -> tuple[list[str], list[str]]:
        """References and hypotheses, each on one line, as `signbind score` reads them."""
        references = [_one_line(output.reference) for output in self.outputs]
        return references, [_one_line(output.hypothesis) for output in self.outputs]

    @property
    def samples(self) -> list[ClipOutput]:
        """The same few clips at every evaluation, spread evenly over a split; each on one line."""
        n = len(self.outputs)
        chosen = sorted({i * n // _SAMPLES for i in range(_SAMPLES)}) if n else []
        return [
            ClipOutput(clip, " ".join(reference.split()), " ".join(hypothesis.split()))
            for clip, reference, hypothesis in (self.outputs[i] for i in chosen)
        ]


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")
