"""Checks of poses and mouth crops: clocks, hands, confidence, places, movement."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from signbind_jax.data_pipelines.audit.clip_facts import FAR
from signbind_jax.data_pipelines.audit.finding import (
    ERROR,
    OK,
    Finding,
    Limits,
    of_clips,
    percent,
    skipped,
)
from signbind_jax.data_pipelines.audit.survey import Survey
from signbind_jax.data_pipelines.readers.clip_file import LARGEST_DRIFT
from signbind_jax.data_pipelines.readers.poses import SURE

LEAST_DRIFT_S = 0.12  # three frames at 25 a second: the extractor's own rounding
DRIFT = Limits(
    "all streams stand on one clock in seconds; where pose and lips drift apart, fusion "
    "learns a wrong alignment",
    warning=0.0,
    error=0.01,
)
SLOWEST_FPS, FASTEST_FPS = 10.0, 120.0
FRAME_RATES = Limits("every time in seconds is a frame number over this rate", error=0.0)
SHORTEST_S, LONGEST_S = 0.3, 60.0
DURATIONS = Limits(
    "a shorter clip holds no sign; a longer one is padded for by its whole batch "
    "and may not fit the memory",
    warning=0.01,
)
HANDLESS = 0.5  # share of a clip's frames
NO_HANDS = Limits(
    "signs are made with the hands; where most clips lack them, they were not extracted",
    warning=0.05,
    error=0.5,
)
LOW_CONFIDENCE = Limits("the estimator says itself that it guessed", warning=0.05)
FAR_SHARE = 0.01  # of the points seen in a clip
FAR_POINTS = Limits(
    "no arm reaches there: tracking errors where few, wrong units where many",
    warning=0.01,
    error=0.1,
)
FROZEN = 0.9  # share of a clip's frames equal to the one before
FROZEN_POSES = Limits(
    "nothing can be read from a picture that stands still", warning=0.01, error=0.5
)
STILL = 1.0  # grey levels; recorded and synthetic mouths move by 4 and more
STILL_LIPS = Limits(
    "crops are scaled to equal contrast over time, so that a still mouth becomes amplified noise",
    warning=0.01,
    error=0.5,
)


def stream_durations(survey: Survey) -> Finding:
    """Clips whose pose and mouth crops last differently."""
    splits = {}
    for name, split in survey.splits.items():
        pose_s, lips_s = split.pose_seconds, split.lip_seconds
        both = np.isfinite(pose_s) & np.isfinite(lips_s)
        allowed = np.fmax(LARGEST_DRIFT * np.fmax(pose_s, lips_s), LEAST_DRIFT_S)
        splits[name] = (np.abs(pose_s - lips_s) > allowed, both)
    return of_clips(
        "stream_durations",
        splits,
        DRIFT,
        "have a pose and mouth crops of different duration",
        "extract both from the same span of the video, at its own frame rate",
        "no clip has both a pose and mouth crops",
        f"at most {percent(LARGEST_DRIFT)} or {LEAST_DRIFT_S:g} s apart",
    )


def frame_rates(survey: Survey) -> Finding:
    """Clips with an implausible frame rate."""
    splits, rates = {}, Counter()
    for name, split in survey.splits.items():
        bad = np.zeros(len(split), bool)
        for stream in ("pose", "lip"):
            present = split.facts[f"{stream}_frames"] > 0
            fps = split.facts[f"{stream}_fps"]
            bad |= present & ~((fps >= SLOWEST_FPS) & (fps <= FASTEST_FPS))
            values, counts = np.unique(fps[present].round(2), return_counts=True)
            rates.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        splits[name] = (bad, np.ones(len(split), bool))
    some = ", ".join(f"{rate:g}" for rate, _ in rates.most_common(5))
    return of_clips(
        "frame_rates",
        splits,
        FRAME_RATES,
        "have an implausible frame rate (rates "
        f"found: {some}{', ...' if len(rates) > 5 else ''} a second)",
        "build again with the recordings' true rate",
        wanted=f"{SLOWEST_FPS:g} to {FASTEST_FPS:g} frames a second",
    )


def durations(survey: Survey) -> Finding:
    """Clips that are oddly short or long."""
    splits = {}
    for name, split in survey.splits.items():
        seconds = split.seconds
        splits[name] = ((seconds < SHORTEST_S) | (seconds > LONGEST_S), np.isfinite(seconds))
    return of_clips(
        "durations",
        splits,
        DURATIONS,
        "are oddly short or long",
        "check start and end of these clips; cut long ones at sentence ends",
        "no clip has a duration",
        f"{SHORTEST_S:g} to {LONGEST_S:g} s",
    )


@dataclass(frozen=True)
class Measured:
    """A check of what was measured in each clip: a column of `clip_facts`.

    Attributes:
      check: its name.
      column: of the facts; NaN where nothing was measured.
      is_bad: whether a value is.
      limits, what, advice, nothing, wanted: see `of_clips`.
    """

    check: str
    column: str
    is_bad: Callable[[np.ndarray], np.ndarray]
    limits: Limits
    what: str
    advice: str
    nothing: str
    wanted: str

    def __call__(self, survey: Survey) -> Finding:
        """The clips in which the measurement is bad."""
        splits = {}
        for name, split in survey.splits.items():
            values = split.facts[self.column]
            taken = np.isfinite(values)
            splits[name] = (self.is_bad(np.where(taken, values, 0)) & taken, taken)
        return of_clips(
            self.check, splits, self.limits, self.what, self.advice, self.nothing, self.wanted
        )


MEASURED = (
    Measured(
        "hands",
        "handless",
        lambda share: share > HANDLESS,
        NO_HANDS,
        "show no hand in most of their frames",
        "look at these clips in the page; extract their poses again with hands",
        "no pose was read",
        f"no hand in at most {percent(HANDLESS)} of a clip's frames",
    ),
    Measured(
        "confidence",
        "confidence",
        lambda mean: mean < SURE,
        LOW_CONFIDENCE,
        "were tracked with low confidence",
        "look at these clips in the page: wrong person, low resolution, no signer",
        "no pose was read",
        f"mean over body and hands at least {SURE:g}",
    ),
    Measured(
        "far_keypoints",
        "far",
        lambda share: share > FAR_SHARE,
        FAR_POINTS,
        "have keypoints far out of range",
        "check the frame size and units of these poses: pixels beside shares of the frame, or "
        "another person",
        "no pose was read",
        f"at most {percent(FAR_SHARE)} of a clip's points beyond {FAR:g} shoulder widths",
    ),
    Measured(
        "frozen_poses",
        "frozen",
        lambda share: share > FROZEN,
        FROZEN_POSES,
        "have a pose that stands still",
        "extract the poses of these clips again",
        "no pose of two frames was read",
        f"at most {percent(FROZEN)} of a clip's frames equal to the one before",
    ),
    Measured(
        "still_lips",
        "lip_motion",
        lambda levels: levels < STILL,
        STILL_LIPS,
        "have mouth crops that do not move",
        "look at these crops in the page: black, a still picture, or not the mouth; extract them "
        "again",
        "no mouth crops were read",
        f"pixels vary by at least {STILL:g} grey level over a clip",
    ),
)


def lip_sizes(survey: Survey) -> Finding:
    """Mouth crops of several sizes in one dataset."""
    sizes = sum((split.tally.lip_sizes for split in survey.splits.values()), start=Counter())
    if not sizes:
        return skipped("lip_sizes", "no mouth crops were read")
    told = ", ".join(f"{width}x{height} ({n:,} clips)" for (height, width), n in sizes.items())
    many = len(sizes) > 1
    return Finding(
        "lip_sizes",
        ERROR if many else OK,
        f"mouth crops of {told} pixels",
        "one size",
        "a batch holds crops of one size: training stops at the first other one",
        "build again with one --lip_size" if many else "",
    )
