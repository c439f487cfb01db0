"""The points of a sweep as SVG: parallel coordinates, and one scatter plot a config path."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from signbind_jax.report.charts import round_ticks
from signbind_jax.report.markup import svg, tag
from signbind_jax.report.value_axis import ValueAxis
from signbind_jax.report.wording import figure

_APART, _HEIGHT, _TOP, _BOTTOM, _SIDE = 170, 340, 44, 22, 70
_FULL = 1000  # width of the parallel coordinates where few axes would leave room
_WIDTH, _PLOT = 360, 250
_CROWD = 40  # lines; among more, those below are to be seen through those above


@dataclass(frozen=True)
class Scored:
    """One point of a sweep that has a score: its name, values by axis label, and the score."""

    name: str
    values: Mapping[str, object]
    score: float


def parallel_coordinates(metric: str, labels: Sequence[str], points: Sequence[Scored]) -> Element:
    """One axis a config path, the score as the last; one line a point.

    Args:
      metric: name of the score, with its unit.
      labels: the axes in order, keys of `Scored.values`.
      points: the best first, none empty.
    """
    axes = [ValueAxis(p.values[label] for p in points if label in p.values) for label in labels]
    ticks = round_ticks(*_range(points))
    inner, last = _HEIGHT - _TOP - _BOTTOM, len(labels)
    apart = max(_APART, (_FULL - 2 * _SIDE) / last)

    def at(axis: int, share: float) -> tuple[float, float]:
        return _SIDE + apart * axis, _TOP + inner * (1 - share)

    drawing = []
    # The best is drawn last, on top of the others.
    for place, point in reversed(list(enumerate(points))):
        line = [
            at(i, axis.place(point.values[label]))
            for i, (label, axis) in enumerate(zip(labels, axes, strict=True))
            if label in point.values
        ]
        line.append(at(last, _share(point.score, ticks)))
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
        hover = tag("title", f"{point.name}: {metric} {figure(point.score)}")
        faint = 0.5 if place and len(points) > _CROWD else None
        drawing.append(
            tag("path", hover, d=path, class_=f"curve {_rank(place, points)}", stroke_opacity=faint)
        )
    scored = [((v - ticks[0]) / (ticks[-1] - ticks[0]), f"{v:.6g}") for v in ticks]
    for i, (label, marks) in enumerate(
        zip([*labels, metric], [*(axis.ticks for axis in axes), scored], strict=True)
    ):
        drawing += _axis(at, i, label, marks, right=i == last)
    told = (
        f"{len(points)} points; the best, {points[0].name}, has {figure(points[0].score)}, "
        f"the last, {points[-1].name}, {figure(points[-1].score)}."
    )
    title = f"{metric} of every point"
    return svg(
        "parallel", 2 * _SIDE + apart * last, _HEIGHT, title, told, drawing, class_="chart wide"
    )


def scatter(key: str, metric: str, label: str, points: Sequence[Scored]) -> Element:
    """Score against the values of one path; a short line marks the mean at each value.

    Args:
      key: unique in the page.
      points: the best first, each with a value at `label`.
    """
    axis = ValueAxis(point.values[label] for point in points)
    ticks = round_ticks(*_range(points))
    left, right, base = 58, 24, _PLOT - 40

    def x_of(value) -> float:
        return left + 30 + (_WIDTH - left - right - 60) * axis.place(value)

    def y_of(score: float) -> float:
        return base - (base - 34) * _share(score, ticks)

    drawing = [tag("text", metric, x=4, y=16, class_="label strong")]
    for value in ticks:
        y = y_of(value)
        drawing.append(tag("line", x1=left, x2=_WIDTH - right, y1=y, y2=y, class_="grid"))
        drawing.append(tag("text", f"{value:.6g}", x=left - 6, y=y + 4, class_="tick end"))
    # Names that would run into each other are left out evenly.
    every = math.ceil(10 * sum(len(text) + 1 for _, text in axis.ticks) / (_WIDTH - left)) or 1
    for share, text in axis.ticks[::every]:
        x = left + 30 + (_WIDTH - left - right - 60) * share
        drawing.append(tag("text", text, x=x, y=base + 18, class_="tick middle"))
    drawing.append(tag("line", x1=left, x2=_WIDTH - right, y1=base, y2=base, class_="axis"))
    drawing.append(
        tag("text", label, x=(left + _WIDTH - right) / 2, y=_PLOT - 4, class_="tick middle")
    )
    means = _means(label, points)
    for value, mean in means:
        x, y = x_of(value), y_of(mean)
        hover = tag("title", f"{label} {value}: mean {figure(mean)}")
        drawing.append(tag("line", hover, x1=x - 14, x2=x + 14, y1=y, y2=y, class_="curve mean"))
    for place, point in reversed(list(enumerate(points))):
        hover = tag("title", f"{point.name}: {figure(point.score)}")
        drawing.append(
            tag(
                "circle",
                hover,
                cx=x_of(point.values[label]),
                cy=y_of(point.score),
                r=4,
                class_=f"dot {_rank(place, points)}",
            )
        )
    told = "; ".join(f"{label} {value}: mean {figure(mean)}" for value, mean in means)
    return svg(key, _WIDTH, _PLOT, f"{metric} against {label}", told, drawing, class_="chart")


def _axis(at, i: int, label: str, marks, right: bool) -> list[Element]:
    (x, bottom), (_, top) = at(i, 0.0), at(i, 1.0)
    # A metric's name is longer than a path's last word and would leave the picture.
    name = (
        {"x": x + _SIDE - 4, "class_": "label strong end"}
        if right
        else {"x": x, "class_": "label strong middle"}
    )
    elements = [
        tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="axis"),
        tag("text", label, y=_TOP - 22, **name),
    ]
    for share, text in marks:
        y = at(i, share)[1] + 4
        css = "tick halo" if right else "tick halo end"
        elements.append(tag("text", text, x=x + (8 if right else -8), y=y, class_=css))
    return elements


def _rank(place: int, points: Sequence[Scored]) -> str:
    """CSS class: the best, the best quarter, the others."""
    return "best" if place == 0 else "good" if 4 * place < len(points) else "train"


def _range(points: Sequence[Scored]) -> tuple[float, float]:
    scores = [point.score for point in points]
    return min(scores), max(scores)


def _share(score: float, ticks: Sequence[float]) -> float:
    return (score - ticks[0]) / (ticks[-1] - ticks[0])


def _means(label: str, points: Sequence[Scored]) -> list[tuple[object, float]]:
    groups: dict[str, list[Scored]] = {}
    for point in points:
        groups.setdefault(repr(point.values[label]), []).append(point)
    return [
        (group[0].values[label], sum(p.score for p in group) / len(group))
        for group in groups.values()
    ]
