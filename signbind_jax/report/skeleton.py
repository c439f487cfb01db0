"""Keypoints of one moment drawn as a small figure: body, brows, eyes, lips, hands with fingers."""

import math
from xml.etree.ElementTree import Element

from signbind_jax import keypoints
from signbind_jax.report.markup import tag
from signbind_jax.report.run_files import number

_INDEX = {name: i for i, name in enumerate(keypoints.NAMES)}
# Points further out than this (shoulder widths) are tracking errors; they would shrink the figure.
REACH = 2.5


def _chains(names: tuple[tuple[str, ...], ...]) -> list[list[int]]:
    return [[_INDEX[name] for name in chain] for chain in names]


def _hand(side: str) -> list[list[int]]:
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    wrist = f"{side}_hand_wrist"
    names = [
        (wrist, *(f"{side}_hand_{finger}_{joint}" for joint in range(1, 5))) for finger in fingers
    ]
    palm = tuple(f"{side}_hand_{finger}_1" for finger in fingers[1:])
    return _chains((*names, palm))


def _ring(names: tuple[str, ...]) -> list[list[int]]:
    return _chains(((*names, names[0]),))


_LIPS = _ring(keypoints.OUTER_LIP) + _ring(keypoints.INNER_LIP)
_PARTS = {
    "body": _chains(
        (
            (
                "left_wrist",
                "left_elbow",
                "left_shoulder",
                "right_shoulder",
                "right_elbow",
                "right_wrist",
            ),
            ("nose",),
        )
    ),
    "face": _chains((keypoints.RIGHT_BROW, keypoints.LEFT_BROW))
    + _ring(keypoints.RIGHT_EYE)
    + _ring(keypoints.LEFT_EYE),
    "lips": _LIPS,
    "hands": _hand("left") + _hand("right"),
}


def readable(frame: list) -> bool:
    """Whether a frame has the canonical number of points."""
    return len(frame) == keypoints.K


def seen_points(frame: list) -> dict[int, tuple[float, float]]:
    """Keypoint index -> x, y (shoulder widths) of the points with confidence above 0."""
    points = {}
    for i, point in enumerate(frame):
        if not isinstance(point, list) or len(point) < 3:
            continue
        x, y, confidence = map(number, point[:3])
        if None not in (x, y, confidence) and confidence > 0 and max(abs(x), abs(y)) <= REACH:
            points[i] = (x, y)
    return points


def bounds(frames: list[list]) -> tuple[float, float, float, float]:
    """One box (x, y, width, height in shoulder widths) that holds every seen point."""
    places = [place for frame in frames for place in seen_points(frame).values()]
    if not places:
        return -1.0, -1.0, 2.0, 2.0
    xs, ys = zip(*places, strict=True)
    margin = 0.12
    return (
        min(xs) - margin,
        min(ys) - margin,
        max(xs) - min(xs) + 2 * margin,
        max(ys) - min(ys) + 2 * margin,
    )


def figure_of(frame: list, box: tuple, x: float, y: float, width: float, height: float) -> Element:
    """The figure within `box` (shoulder widths), drawn into a rectangle of the page."""
    points = seen_points(frame)
    parts = [tag("path", d=d, class_=part) for part in _PARTS if (d := _path(points, part))]
    if not points:
        parts = [
            tag(
                "text",
                "not seen",
                x=(box[0] + box[2] / 2) * 100,
                y=(box[1] + box[3] / 2) * 100,
                class_="unseen middle",
            )
        ]
    return _window(parts, box, x, y, width, height, "skeleton")


def mouth_of(frame: list, x: float, y: float, size: float) -> Element | None:
    """The lips alone, enlarged; None where no lip point was seen."""
    points = seen_points(frame)
    lips = [points[i] for chain in _LIPS for i in chain if i in points]
    if len(lips) < 6:
        return None
    xs, ys = zip(*lips, strict=True)
    # A fixed window, so that an open mouth looks larger than a closed one.
    centre_x, centre_y, side = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, 0.4
    side = max(side, max(xs) - min(xs) + 0.08, max(ys) - min(ys) + 0.08)
    box = (centre_x - side / 2, centre_y - side / 2, side, side)
    path = tag("path", d=_path(points, "lips"), class_="lips")
    return _window([path], box, x, y, size, size, "skeleton mouth")


def _window(children, box, x, y, width, height, css: str) -> Element:
    return tag(
        "svg",
        children,
        x=x,
        y=y,
        width=width,
        height=height,
        class_=css,
        viewBox=" ".join(str(math.floor(side * 100)) for side in box),
    )


def _path(points: dict[int, tuple[float, float]], part: str) -> str:
    """Lines between neighbours that were both seen, in hundredths of a shoulder width."""
    steps = []
    for chain in _PARTS[part]:
        pen_down = False
        for i in chain:
            if i in points:
                x, y = (round(c * 100) for c in points[i])
                # h0 makes a dot of a point whose neighbours were not seen.
                steps.append(f"L{x} {y}" if pen_down else f"M{x} {y}h0")
            pen_down = i in points
    if part == "body":
        steps.append(_neck(points))
    return "".join(steps)


def _neck(points: dict[int, tuple[float, float]]) -> str:
    """From between the shoulders to below the mouth; some schemes have no nose."""
    left, right = (points.get(_INDEX[f"{side}_shoulder"]) for side in ("left", "right"))
    lips = [points[i] for i in _LIPS[0] if i in points]
    if left is None or right is None or not lips:
        return ""
    foot = [(left[axis] + right[axis]) * 50 for axis in (0, 1)]
    mouth = [sum(place[axis] for place in lips) * 100 / len(lips) for axis in (0, 1)]
    top = [0.35 * foot[axis] + 0.65 * mouth[axis] for axis in (0, 1)]
    return f"M{foot[0]:.0f} {foot[1]:.0f}L{top[0]:.0f} {top[1]:.0f}"
