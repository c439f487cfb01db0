"""Keypoints of one moment as a small figure: body, brows, eyes, lips, hands with fingers."""

import itertools

from signbind_jax import keypoints
from signbind_jax.report.run_files import number

# Points further out than this (shoulder widths) are tracking errors; they would shrink the figure.
REACH = 2.5
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_INDEX = {name: i for i, name in enumerate(keypoints.NAMES)}


Box = tuple[float, float, float, float]  # x, y, width, height in shoulder widths
Points = dict[int, tuple[float, float]]  # keypoint index -> x, y of those that were seen


def _hand(side: str) -> list[tuple[str, ...]]:
    hand = f"{side}_hand"
    fingers = [(f"{hand}_wrist", *(f"{hand}_{f}_{j}" for j in range(1, 5))) for f in _FINGERS]
    return [*fingers, tuple(f"{hand}_{f}_1" for f in _FINGERS[1:])]


def _chains(*names: tuple[str, ...]) -> list[list[int]]:
    return [[_INDEX[name] for name in chain] for chain in names]


def _ring(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, names[0])


_ARMS = (*(f"left_{joint}" for joint in ("wrist", "elbow", "shoulder")),)
PARTS = {
    "body": _chains((*_ARMS, *(n.replace("left", "right") for n in reversed(_ARMS))), ("nose",)),
    "face": _chains(
        keypoints.RIGHT_BROW,
        keypoints.LEFT_BROW,
        _ring(keypoints.RIGHT_EYE),
        _ring(keypoints.LEFT_EYE),
    ),
    "lips": _chains(_ring(keypoints.OUTER_LIP), _ring(keypoints.INNER_LIP)),
    "hands": _chains(*_hand("left"), *_hand("right")),
}


def readable(frame: list) -> bool:
    """Whether a frame has the canonical number of points."""
    return len(frame) == keypoints.K


def seen_points(frame: list) -> Points:
    """The points with confidence above 0."""
    points = {}
    for i, point in enumerate(frame):
        if not isinstance(point, list) or len(point) < 3:
            continue
        x, y, confidence = map(number, point[:3])
        if None not in (x, y, confidence) and confidence > 0 and max(abs(x), abs(y)) <= REACH:
            points[i] = (x, y)
    return points


def bounds(frames: list[Points], margin: float = 0.12) -> Box:
    """The box that holds all points, with a margin."""
    places = [place for points in frames for place in points.values()]
    if not places:
        return -1.0, -1.0, 2.0, 2.0
    (left, right), (top, bottom) = ((min(side), max(side)) for side in zip(*places, strict=True))
    return left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin


def paths(points: Points) -> dict[str, str]:
    """Part, such as "hands" -> SVG path in hundredths of a shoulder width, where it was seen."""
    return {part: path for part in PARTS if (path := _path(points, part))}


def mouth(points: Points) -> tuple[Box, dict[str, str]] | None:
    """The lips alone and the box that they are enlarged from; None where they were not seen."""
    lips = {i: points[i] for chain in PARTS["lips"] for i in chain if i in points}
    if len(lips) < 6:
        return None
    left, top, width, height = bounds([lips], 0.04)
    # A fixed window, so that an open mouth looks larger than a closed one.
    side = max(0.4, width, height)
    box = (left + (width - side) / 2, top + (height - side) / 2, side, side)
    return box, {"lips": _path(points, "lips")}


def _path(points: Points, part: str) -> str:
    """Lines between neighbours that were both seen."""
    steps = []
    for chain in PARTS[part]:
        for before, i in itertools.pairwise((None, *chain)):
            if i in points:
                x, y = (round(c * 100) for c in points[i])
                # h0 makes a dot of a point whose neighbours were not seen.
                steps.append(f"L{x} {y}" if before in points else f"M{x} {y}h0")
    return "".join(steps) + (_neck(points) if part == "body" else "")


def _neck(points: Points) -> str:
    """From between the shoulders to below the mouth; some schemes have no nose."""
    shoulders = [points.get(_INDEX[f"{side}_shoulder"]) for side in ("left", "right")]
    lips = [points[i] for i in PARTS["lips"][0] if i in points]
    if None in shoulders or not lips:
        return ""
    foot = [sum(axis) * 50 for axis in zip(*shoulders, strict=True)]
    mouth = [sum(axis) * 100 / len(lips) for axis in zip(*lips, strict=True)]
    top = [0.35 * low + 0.65 * high for low, high in zip(foot, mouth, strict=True)]
    return "M{:.0f} {:.0f}L{:.0f} {:.0f}".format(*foot, *top)
