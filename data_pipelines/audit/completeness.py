"""Checks of what is there: damaged files, clips that are missing or were left out or repaired."""

import re

from signbind_jax.data_pipelines.audit.finding import (
    ERROR,
    OK,
    WARNING,
    Finding,
    Limits,
    of_total,
    percent,
    skipped,
    worst,
)
from signbind_jax.data_pipelines.audit.survey import Survey

TRAIN_MISSING = Limits("videos go offline; a little less to train on does no harm", warning=0.01)
SCORED_MISSING = Limits(
    "a score on fewer clips than others scored cannot be compared with theirs", warning=0.0
)
LEFT_OUT = Limits(
    "a few broken clips are normal; many have one cause, such as a wrong directory of poses",
    warning=0.05,
)
PAST_END = Limits(
    "a few spans past the end are known faults of the annotation; many say that "
    "other videos were cut than were annotated",
    warning=0.01,
)
_PAST_END_WORDS = re.compile(r"\b(past|beyond|after|behind) the (end|video's)\b", re.IGNORECASE)
_SHOWN = 5  # names in a sentence


def damaged_files(survey: Survey) -> Finding:
    """Files that differ from what was written, and clips that cannot be read."""
    unreadable = {
        (name, i): why
        for name, split in survey.splits.items()
        for i, why in split.tally.unreadable.items()
    }
    how = "sizes compared" if survey.sampled else "digests compared"
    wanted = "error from the first on"
    why = "training stops at a clip that it cannot read"
    faults = [*survey.damaged.values(), *survey.closed.values()]
    n_files = len(survey.info.description["files"])
    if not faults and not unreadable:
        return Finding(
            "damaged_files",
            OK,
            f"{n_files} files as they were written ({how}), {survey.n_read:,} clips read",
            wanted,
            why,
        )
    found = f"{len(survey.damaged)} of {n_files} files differ from what was written ({how})"
    if survey.closed:
        found += f"; splits that cannot be opened: {', '.join(survey.closed)}"
    if unreadable:
        found += f"; {of_total(len(unreadable), survey.n_read)} cannot be read"
        faults.append(next(iter(unreadable.values())))
    found += ". " + " | ".join(dict.fromkeys(faults[:_SHOWN]))
    return Finding(
        "damaged_files",
        ERROR,
        found,
        wanted,
        why,
        "copy the dataset again, or build it again with --overwrite",
        tuple((ref,) for ref in unreadable),
    )


def published_counts(survey: Survey) -> Finding:
    """Clips of each split against the counts that the corpus was published with."""
    published = survey.info.description.get("published") or {}
    if not published:
        return skipped("published_counts", "the corpus states no published counts")
    levels, parts = [], []
    for split, wanted in published.items():
        found = survey.info.splits.get(split, 0)
        missing = max(wanted - found, 0)
        limits = TRAIN_MISSING if split == "train" else SCORED_MISSING
        levels.append(WARNING if found > wanted else limits.level(missing / max(wanted, 1)))
        part = f"{split} {found:,} of {wanted:,}"
        if missing:
            part += f", {missing:,} missing ({percent(missing / wanted)})"
        elif found > wanted:
            part += f", {found - wanted:,} too many"
        parts.append(part)
    level = worst(levels)
    advice = (
        ""
        if level == OK
        else "get the missing clips (those that the build left out are "
        "listed by reason), or say with every score on how many clips it was "
        "made"
    )
    limits = (
        f"train: warning above {percent(TRAIN_MISSING.warning)} missing; other splits: from "
        "the first on"
    )
    return Finding("published_counts", level, "; ".join(parts), limits, SCORED_MISSING.why, advice)


def left_out(survey: Survey) -> Finding:
    """Clips that the build could not use, by reason."""
    reasons = survey.info.description["report"]["left_out"]
    n = sum(map(len, reasons.values()))
    total = n + sum(survey.info.splits.values())
    level = LEFT_OUT.level(n / total)
    found = of_total(n, total, "clips of the corpus") + " left out by the build"
    if n:
        found += ": " + "; ".join(f"{why}: {_some(ids)}" for why, ids in _by_count(reasons))
    return Finding(
        "left_out",
        level,
        found,
        f"warning above {percent(LEFT_OUT.warning)}",
        LEFT_OUT.why,
        "mend what the reasons name and build again" if level == WARNING else "",
    )


def repaired(survey: Survey) -> Finding:
    """What the build mended."""
    mended = survey.info.description["report"]["repaired"]
    if not mended:
        return Finding("repaired", OK, "nothing was repaired")
    found = "; ".join(f"{what}: {n:,}" for what, n in mended.items())
    return Finding(
        "repaired",
        "note",
        found,
        "a note at most",
        "every repair is a guess: look at a few of these clips",
    )


def timestamps(survey: Survey) -> Finding:
    """Spans that the build found to lie past the end of their recording."""
    report = survey.info.description["report"]
    cut = {what: n for what, n in report["repaired"].items() if _PAST_END_WORDS.search(what)}
    cut |= {why: len(ids) for why, ids in report["left_out"].items() if _PAST_END_WORDS.search(why)}
    total = sum(survey.info.splits.values()) + sum(map(len, report["left_out"].values()))
    level = PAST_END.level(sum(cut.values()) / total)
    found = "; ".join(f"{what}: {n:,}" for what, n in cut.items())
    advice = "check that the videos are those that were annotated" if level == WARNING else ""
    return Finding(
        "timestamps",
        level,
        found or "the build reports none past the end",
        f"warning above {percent(PAST_END.warning)}",
        PAST_END.why,
        advice,
    )


def _by_count(reasons: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    return sorted(reasons.items(), key=lambda reason: -len(reason[1]))[:_SHOWN]


def _some(ids: list[str]) -> str:
    return f"{len(ids):,} ({', '.join(ids[:_SHOWN])}{', ...' if len(ids) > _SHOWN else ''})"
