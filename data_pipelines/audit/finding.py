"""Finding: what one check found, what it would have wanted, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ERROR, WARNING, NOTE, OK, SKIPPED = "error", "warning", "note", "ok", "skipped"
LEVELS = (ERROR, WARNING, NOTE, OK, SKIPPED)

Ref = tuple[str, int]  # split, place of the clip in it


@dataclass(frozen=True)
class Limits:
    """The largest shares (0..1) that are not yet a warning and not yet an error, and why.

    None: never at that level. Whatever is found below both is a note.
    """

    why: str
    warning: float | None = None
    error: float | None = None

    def level(self, share: float) -> str:
        """The level of a share."""
        if share <= 0:
            return OK
        if self.error is not None and share > self.error:
            return ERROR
        if self.warning is not None and share > self.warning:
            return WARNING
        return NOTE

    def told(self, of: str) -> str:
        """The limits as a sentence, such as "warning above 5 % of the clips, error above 50 %"."""
        stated = [(WARNING, self.warning), (ERROR, self.error)]
        parts = [
            f"{level} above {percent(share)}" if share else f"{level} from the first on"
            for level, share in stated
            if share is not None
        ]
        if not parts:
            return "a note at most"
        return f"{', '.join(parts)} ({of} of a split)"


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Attributes:
      check: its name, such as "shared_arrays".
      level: one of LEVELS; "skipped" where there was nothing to check.
      found: what is there, with counts.
      wanted: the thresholds.
      why: their reason.
      advice: what to do; never empty at an error.
      clips: the clips it is about; those that belong together, such as twins, in one tuple.
        Empty where it is about all clips or about none.
    """

    check: str
    level: str
    found: str
    wanted: str = ""
    why: str = ""
    advice: str = ""
    clips: tuple[tuple[Ref, ...], ...] = ()

    @property
    def title(self) -> str:
        """The check's name as words."""
        return self.check.replace("_", " ")


def skipped(check: str, why: str) -> Finding:
    """The finding of a check that had nothing to look at."""
    return Finding(check, SKIPPED, why)


def percent(share: float) -> str:
    """A share as a person writes it; never 0 % for some nor 100 % for nearly all."""
    value = 100 * share
    if value == round(value):
        return f"{value:.0f} %"
    if value < 0.1:
        return "under 0.1 %"
    return f"{min(value, 99.9):.1f} %"


def of_total(n: int, total: int, what: str = "clips") -> str:
    """`n` of `total` with the share."""
    return f"{n:,} of {total:,} {what} ({percent(n / total) if total else '–'})"


def worst(levels) -> str:
    """The worst of levels; "ok" of none."""
    return min(levels, key=LEVELS.index, default=OK)


def of_clips(
    check: str,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: Limits,
    what: str,
    advice: str,
    nothing: str = "there is no clip",
    wanted: str = "",
) -> Finding:
    """A finding about single clips: the worst level that any split has.

    Args:
      splits: split -> bool (clips,): which are bad, and which were looked at.
      what: what a bad clip is like.
      nothing: what to say where no clip could be looked at.
      wanted: what makes a clip bad, with its threshold.
    """
    counts = {
        split: (int((bad & among).sum()), int(among.sum()))
        for split, (bad, among) in splits.items()
    }
    n, total = map(sum, zip(*counts.values(), strict=True)) if counts else (0, 0)
    if not total:
        return skipped(check, nothing)
    level = worst(limits.level(bad / among) for bad, among in counts.values() if among)
    found = f"{of_total(n, total)} {what}"
    if n == total:
        found = f"all {total:,} clips {what}"
    hit = {split: count for split, count in counts.items() if count[0]}
    if 0 < n < total and len(counts) > 1:
        found += ": " + ", ".join(
            f"{split} {bad:,} of {among:,}" for split, (bad, among) in hit.items()
        )
    # Where it is all of them, there is no list to give.
    clips = (
        ()
        if n == total
        else tuple(
            ((split, int(i)),)
            for split, (bad, among) in splits.items()
            for i in np.flatnonzero(bad & among)
        )
    )
    wanted = "; ".join(filter(None, (wanted, limits.told("clips"))))
    return Finding(check, level, found, wanted, limits.why, advice if level != OK else "", clips)
