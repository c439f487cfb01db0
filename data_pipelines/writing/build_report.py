"""BuildReport: what a dataset build wrote, repaired and left out, with counts."""

import collections
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_MOST_REASONS = 20  # lines on the terminal; dataset.json has all


def some_of(ids: Sequence[str]) -> str:
    """The first few ids, for a line on the terminal."""
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


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
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, clip_id: str, reason: str) -> None:
        """Notes that `clip_id` is not written, and why.

        A file's path in front of the reason is dropped, so that equal faults are counted as
        one kind; the id tells the clips apart.
        """
        place, colon, what = reason.partition(": ")
        kind = what if colon and os.sep in place else reason
        self.left_out.setdefault(kind, []).append(clip_id)

    def add(self, other: "BuildReport") -> None:
        """Adds the counts of another report, behind these."""
        self.written.update(other.written)
        self.repaired.update(other.repaired)
        for reason, ids in other.left_out.items():
            self.left_out.setdefault(reason, []).extend(ids)

    def to_json(self) -> dict:
        """A JSON-ready copy."""
        return {
            "written": dict(self.written),
            "repaired": dict(self.repaired),
            "left_out": {reason: list(ids) for reason, ids in self.left_out.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping) -> "BuildReport":
        """The report that `to_json` copied."""
        return cls(
            collections.Counter(record["written"]),
            collections.Counter(record["repaired"]),
            {reason: list(ids) for reason, ids in record["left_out"].items()},
        )

    def lines(self) -> list[str]:
        """One line a fact, for the terminal."""
        lines = [f"{split}: {n} clips written" for split, n in self.written.items()]
        lines += [f"repaired: {what}: {n}" for what, n in self.repaired.items()]
        by_count = sorted(self.left_out.items(), key=lambda reason: -len(reason[1]))
        for reason, ids in by_count[:_MOST_REASONS]:
            lines.append(f"left out: {reason}: {len(ids)} ({some_of(ids)})")
        rest = by_count[_MOST_REASONS:]
        if rest:
            n = sum(len(ids) for _, ids in rest)
            lines.append(f"left out: {len(rest)} more reasons: {n} (all in dataset.json)")
        return lines
