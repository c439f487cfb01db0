"""Curves, histograms and the points of a sweep, drawn by matplotlib as elements of a page."""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from signbind_jax.report.run_files import number
from signbind_jax.report.wording import figure, metric_of

MAX_POINTS = 240  # a curve longer than this is drawn as means of equal runs of points
_MAX_DOTS = 40  # few points are measurements worth a hover; hundreds would only thicken a line
_MOST_APART = 10  # values of a sweep; more are placed by size instead of evenly
_LABEL = 14  # characters of a value on an axis
_STEPS = (1, 2, 5, 10)  # of axes
_CROWD = 40  # lines of a sweep; among more, those below are to be seen through those above
# Colours of style.css, light or dark as the reader has it, and what stands for them in a drawing.
_COLOURS = ("ink", "soft", "line", "accent", "muted", "good")
_INK, _SOFT, _LINE, _ACCENT, _MUTED, _GOOD = (f"#0{i}0{i}0{i}" for i in range(1, 7))
# "default": whatever the reader's own matplotlibrc says.
_drawing = style.context(["default", Path(__file__).with_name("charts.mplstyle")])


class Scored(NamedTuple):
    """One point of a sweep that has a score: its name, values by axis label, and the score."""

    name: str
    values: Mapping[str, object]
    score: float


@_drawing
def learning_curve(metric_key: str, kinds: dict[str, list]) -> Markup:
    """One metric over the steps of training, train and validation in one picture.

    The vertical axis is logarithmic for a loss that falls by more than a factor of eight.

    Args:
      kinds: "train", "validation" -> (step, value) pairs by rising step, values finite.
    """
    metric = metric_of(metric_key)
    drawn = {kind: _thinned(points) for kind, points in kinds.items() if points}
    values = [value for points in drawn.values() for _, value in points]
    low, high = min(values), max(values)
    logarithmic = "loss" in metric.label.split() and low > 0 and high / low > 8
    unit = f", {metric.unit}" if metric.unit else ""
    axes = _axes(500, 250, f"{metric.label}{unit}{' (log scale)' if logarithmic else ''}")
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if logarithmic:
        subs = next((s for s in ((1, 2, 5), (1, 3)) if len(s) * math.log10(high / low) < 8), (1,))
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.15, high * 1.15)
    axes.yaxis.set_major_formatter("{x:.6g}")
    for kind, points in drawn.items():
        train = kind == "train"
        colour, width = (_MUTED, 1.5) if train else (_ACCENT, 2.2)
        name = f"{kind} (averaged)" if len(kinds[kind]) > len(points) else kind
        axes.plot(*zip(*points, strict=True), color=colour, lw=width, label=_printable(name))
        for step, value in points if len(points) <= _MAX_DOTS else ():
            _dot(axes, step, value, colour, 5.2, f"{kind}, step {step}: {figure(value)}")
    axes.set_xlim(0, max(step for points in drawn.values() for step, _ in points) or 1)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.08), ncols=2)
    told = ". ".join(
        f"{kind}: from {figure(p[0][1])} at step {p[0][0]} to {figure(p[-1][1])} at step {p[-1][0]}"
        for kind, p in drawn.items()
    )
    return _inline(axes, f"{metric.label} during training. {told}")


@_drawing
def histogram(
    name: str,
    unit: str,
    edges: Sequence[float],
    counts: Sequence[int],
    beyond: int,
    median: float,
) -> Markup:
    """Clips by bin, the median as a line, and a bar apart for what lies beyond the last edge.

    Args:
      edges: ascending, one more than `counts`.
    """
    axes = _axes(500, 220, f"{name}, {unit}")
    start, end, width = edges[0], edges[-1], (edges[-1] - edges[0]) / 16
    bars = [
        (left, right, count, f"{figure(left)} to {figure(right)}")
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
    ]
    if beyond:
        bars.append((end + width, end + 2 * width, beyond, f"above {figure(end)}"))
        axes.set_xlabel("more", loc="right", labelpad=-12)
    least = max(*counts, beyond) / 150  # a single clip among thousands is seen
    for left, right, count, span in bars:
        height = max(count, least) if count else 0
        axes.bar(left, height, 0.96 * (right - left), align="edge", color=_ACCENT)
        _explain(axes.patches[-1], "bar", f"{span}: {count:,} clips")
    ticks = [tick for tick in _round_numbers(start, end) if start <= tick <= end * (1 + 1e-9)]
    axes.set(xlim=(start, end + 2 * width), ylim=(0, None), xticks=ticks)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.6g}")
    x = min(median, end)
    axes.axvline(x, color=_INK, lw=1.4, ls=(0, (3, 2)), ymax=1.05)
    right, side = (5, "left") if x < (start + 2 * end) / 3 else (-5, "right")
    above = axes.get_xaxis_transform()
    _text(axes, x, 1.02, f"median {figure(median)}", right, ha=side, xycoords=above)
    told = "; ".join(f"{span}: {count}" for _, _, count, span in bars if count)
    return _inline(axes, f"Clips by {name}. {told}")


@_drawing
def parallel_coordinates(metric: str, labels: Sequence[str], points: Sequence[Scored]) -> Markup:
    """One axis a config path, the score as the last; one line a point.

    Args:
      metric: name of the score, with its unit.
      labels: the axes in order, keys of `Scored.values`.
      points: the best first, none empty.
    """
    last = len(labels)
    axes = _axes(max(170 * last, 860) + 140, 340, "", 70, 70, 44, 22)
    axes.set(xlim=(0, last), ylim=(0, 1))
    axes.set_axis_off()
    low, *_, high = ticks = _round_numbers(points[0].score, points[-1].score)
    scales = [_scale(p.values[label] for p in points if label in p.values) for label in labels]
    share = lambda score: (score - low) / (high - low)  # noqa: E731
    scales.append((share, [(share(tick), f"{tick:.6g}") for tick in ticks]))
    # The best is drawn last, on top of the others.
    for rank, point in reversed(list(enumerate(points))):
        values = [
            *((i, point.values[label]) for i, label in enumerate(labels) if label in point.values),
            (last, point.score),
        ]
        (line,) = axes.plot(
            [i for i, _ in values],
            [scales[i][0](value) for i, value in values],
            color=_rank_colour(rank, points),
            lw=3.4 if rank == 0 else 2.2 if 4 * rank < len(points) else 1.5,
            alpha=0.5 if rank and len(points) > _CROWD else None,
        )
        _explain(line, "curve", f"{point.name}: {metric} {figure(point.score)}")
    for i, (label, (_, marks)) in enumerate(zip([*labels, metric], scales, strict=True)):
        axes.axvline(i, color=_SOFT, lw=1.2)
        # A metric's name is longer than a path's last word and would leave the picture.
        right, side = (66, "right") if i == last else (0, "center")
        _text(axes, i, 1.07, label, right, ha=side, weight="bold", size=12.5)
        right, side = (8, "left") if i == last else (-8, "right")
        for y, text in marks:
            _text(axes, i, y, text, right, ha=side, va="center_baseline", gid="halo|", color=_SOFT)
    return _inline(
        axes,
        f"{metric} of every point. {len(points)} points; the best, {points[0].name}, has "
        f"{figure(points[0].score)}, the last, {points[-1].name}, {figure(points[-1].score)}.",
        "chart wide",
    )


@_drawing
def scatter(metric: str, label: str, points: Sequence[Scored]) -> Markup:
    """Score against the values of one path; a short line marks the mean at each value.

    Args:
      points: the best first, each with a value at `label`.
    """
    place, marks = _scale(point.values[label] for point in points)
    axes = _axes(360, 250, metric)
    axes.set(xlim=(-0.12, 1.12), xlabel=_printable(label))
    # Names that would run into each other are left out evenly.
    every = math.ceil(sum(len(text) + 1 for _, text in marks) / 30) or 1
    axes.set_xticks(*zip(*[(x, _printable(text)) for x, text in marks[::every]], strict=True))
    ticks = _round_numbers(points[0].score, points[-1].score)
    axes.set(yticks=ticks, ylim=(ticks[0], ticks[-1]))
    axes.yaxis.set_major_formatter("{x:.6g}")
    groups: dict[str, list[Scored]] = {}
    for point in points:
        groups.setdefault(repr(point.values[label]), []).append(point)
    told = []
    for group in groups.values():
        value, mean = group[0].values[label], sum(p.score for p in group) / len(group)
        told.append(f"{label} {value}: mean {figure(mean)}")
        x = place(value)
        (line,) = axes.plot([x - 0.055, x + 0.055], [mean, mean], color=_INK, lw=1.8)
        _explain(line, "mean", told[-1])
    for rank, point in reversed(list(enumerate(points))):
        hover = f"{point.name}: {figure(point.score)}"
        _dot(axes, place(point.values[label]), point.score, _rank_colour(rank, points), 8, hover)
    return _inline(axes, f"{metric} against {label}. {'; '.join(told)}")


def _scale(values: Iterable) -> tuple[Callable, list[tuple[float, str]]]:
    """Where the values of one config path stand, from 0 to 1, and the (place, label) of its ticks.

    Few values stand evenly apart in order, whatever their kind; many numbers stand where their
    size puts them, by their logarithm where they span a factor of 20 and more.
    """
    distinct = {repr(value): value for value in values}
    numeric = all(number(value) is not None for value in distinct.values())
    order = sorted(distinct.values(), key=float if numeric else repr)
    if not numeric or len(order) <= _MOST_APART:
        last = len(order) - 1
        places = {repr(value): i / last if last else 0.5 for i, value in enumerate(order)}
        named = order if len(order) <= 2 * _MOST_APART else ()
        return lambda value: places[repr(value)], [(places[repr(v)], _short(v)) for v in named]
    logarithmic = order[0] > 0 and order[-1] / order[0] >= 20
    scaled = math.log10 if logarithmic else float
    low, high = scaled(order[0]), scaled(order[-1])
    inner = [] if logarithmic else _round_numbers(low, high)[1:-1]
    ticks = {order[0], order[-1], *(v for v in inner if low < v < high)}
    place = lambda value: (scaled(value) - low) / (high - low)  # noqa: E731
    return place, [(place(v), f"{v:.4g}") for v in sorted(ticks)]


def _short(value) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(map(_short, value))
    else:
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def _rank_colour(rank: int, points: Sequence[Scored]) -> str:
    """The best, the best quarter, the others."""
    return _GOOD if rank == 0 else _ACCENT if 4 * rank < len(points) else _MUTED


def _round_numbers(one: float, other: float) -> list[float]:
    """Round numbers from below the lower of two values to above the higher."""
    low, high = sorted((one, other))
    high = high if high > low else low + (abs(low) or 1)
    return MaxNLocator(5, steps=_STEPS).tick_values(low, high).tolist()


def _thinned(points: list) -> list:
    run = math.ceil(len(points) / MAX_POINTS)
    groups = [points[i : i + run] for i in range(0, len(points), run)]
    return [(group[-1][0], sum(v for _, v in group) / len(group)) for group in groups]


def _axes(width: float, height: float, title: str, left=58, right=16, top=34, bottom=40) -> Axes:
    """Empty axes within margins, all in pixels."""
    drawing = Figure(figsize=(width / 72, height / 72), facecolor="none")
    across, up = width - left - right, height - top - bottom
    place = (left / width, bottom / height, across / width, up / height)
    axes = drawing.add_axes(place, facecolor="none")
    axes.set_title(_printable(title), x=(4 - left) / across, y=1 + 17 / up, pad=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    return axes


def _dot(axes: Axes, x: float, y: float, colour: str, size: float, hover: str) -> None:
    """A line without length but round ends: a marker would be a definition with an id."""
    (dot,) = axes.plot([x, x], [y, y], color=colour, lw=size)
    _explain(dot, "dot", hover)


def _text(axes: Axes, x: float, y: float, text: str, right: float = 0, **how) -> None:
    """A text at a place of the data, or so many pixels to the right of it."""
    how = {"xytext": (right, 0), "textcoords": "offset pixels", **how}
    axes.annotate(_printable(text), (x, y), annotation_clip=False, **how)


def _explain(artist: Artist, kind: str, hover: str = "") -> None:
    """Gives the element of an artist a class, and a text to show where it is pointed at."""
    artist.set_gid(_printable(f"{kind}|{hover}"))


def _printable(text: str) -> str:
    """Text that can stand in XML, in one line."""
    return "".join(c if c.isprintable() or c == "\u00a0" else "\ufffd" for c in text)


def _inline(axes: Axes, description: str, css: str = "chart") -> Markup:
    """The drawing as an element of a page, read out as `description`, in the page's colours."""
    svg = io.StringIO()
    with warnings.catch_warnings():
        # The page's fonts have the letters that matplotlib's own one lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        axes.figure.savefig(svg, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(svg.getvalue())
    for part in root.findall("{*}metadata") + root.findall("{*}defs"):
        root.remove(part)  # a date, and style rules that would be those of the whole page
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib.pop("clip-path", None)
        kind, bar, hover = element.attrib.pop("id", "").partition("|")
        if bar and kind:
            element.set("class", kind)
        if hover:
            title = ElementTree.Element("title")
            title.text = hover
            element.insert(0, title)
        if "style" in element.attrib:
            told = re.sub(r" ?font-family: [^;]*;", "", element.get("style"))
            told = re.sub(r"#(0[1-6])\1\1", lambda m: f"var(--{_COLOURS[int(m[1]) - 1]})", told)
            element.set("style", told)
    root.attrib = {
        "class": css,
        "role": "img",
        "aria-label": _printable(description),
        "viewBox": root.get("viewBox"),
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))
