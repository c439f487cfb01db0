"""BuildReport: what a dataset build wrote, repaired and left out, with counts."""

import collections
from dataclasses import dataclass, field


@dataclass
class BuildReport:
    """Counts of one build. Nothing is dropped in silence: it stands here by clip id.

    Attributes:
      written: clips written a split.
      repaired: what was mended, such as "non-finite keypoints", and how many times.
      left_out: reason -> ids of the clips that were not written.
    """

    written: collections.Counter = field(default_factory=collections.Counter)
    repaired: collections.Counter = field(default_factory=collections.Counter)
    left_out: dict[str, list[str]] = field(default_factory=lambda: collections.defaultdict(list))

    def leave_out(self, clip_id: str, reason: str) -> None:
        """Notes that `clip_id` is not written, and why."""
        self.left_out[reason].append(clip_id)

    def to_json(self) -> dict:
        """A JSON-ready copy."""
        return {
            "written": dict(self.written),
            "repaired": dict(self.repaired),
            "left_out": {reason: list(ids) for reason, ids in self.left_out.items()},
        }

    def lines(self) -> list[str]:
        """One line a fact, for the terminal."""
        lines = [f"{split}: {n} clips written" for split, n in self.written.items()]
        lines += [f"repaired: {what}: {n}" for what, n in self.repaired.items()]
        for reason, ids in self.left_out.items():
            some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            lines.append(f"left out: {reason}: {len(ids)} ({some})")
        return lines
