"""Bar charts of the variants and learning curves, as SVG."""

import math
from xml.etree.ElementTree import Element

from signbind_jax.report.markup import svg, tag
from signbind_jax.report.wording import figure, metric_of, variant_name

MAX_POINTS = 240  # a curve longer than this is drawn as means of equal runs of points
_WIDTH, _HEIGHT = 500, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 34, 40


def bars(key: str, metric_key: str, scores: dict[str, float | None]) -> Element:
    """One metric for each variant as horizontal bars from 0 to 100.

    Args:
      key: unique in the page.
      scores: variant -> score 0..100; None is written as "not measured".
    """
    metric = metric_of(metric_key)
    label_width, bar_width, row = 176, 246, 27
    height = 10 + row * len(scores) + 24
    drawing = []
    for share in (0, 25, 50, 75, 100):
        x = label_width + bar_width * share / 100
        drawing.append(tag("line", x1=x, x2=x, y1=6, y2=height - 22, class_="grid"))
        label = f"{share} %" if metric.unit == "%" else str(share)
        drawing.append(tag("text", label, x=x, y=height - 6, class_="tick middle"))
    for i, (variant, score) in enumerate(scores.items()):
        y = 10 + row * i
        drawing.append(
            tag("text", variant_name(variant), x=label_width - 8, y=y + 15, class_="label end")
        )
        if score is None:
            drawing.append(
                tag("text", "not measured", x=label_width + 6, y=y + 15, class_="tick italic")
            )
            continue
        length = bar_width * min(max(score, 0), 100) / 100
        kind = {"all": "bar full", "oracle_text": "bar oracle"}.get(variant, "bar")
        drawing.append(
            tag(
                "rect",
                tag("title", f"{variant_name(variant)}: {figure(score, metric.unit)}"),
                x=label_width,
                y=y + 2,
                width=max(length, 1.0),
                height=row - 9,
                rx=2,
                class_=kind,
            )
        )
        drawing.append(
            tag(
                "text",
                figure(score, metric.unit),
                x=label_width + length + 6,
                y=y + 15,
                class_="label strong halo",
            )
        )
    told = "; ".join(f"{variant_name(v)} {figure(s, metric.unit)}" for v, s in scores.items())
    title = f"{metric.label} by variant"
    return svg(key, label_width + bar_width + 64, height, title, told, drawing, class_="chart")


def learning_curve(key: str, metric_key: str, kinds: dict[str, list]) -> Element:
    """One metric over the steps of training, train and validation in one picture.

    The vertical axis is logarithmic for a loss that falls by more than a factor of eight.

    Args:
      key: unique in the page.
      kinds: "train", "validation" -> (step, value) pairs by rising step, values finite.
    """
    metric = metric_of(metric_key)
    drawn = {kind: _thinned(points) for kind, points in kinds.items() if points}
    values = [value for points in drawn.values() for _, value in points]
    low, high = min(values), max(values)
    logarithmic = "loss" in metric_key and low > 0 and high / low > 8
    ticks = _log_ticks(low, high) if logarithmic else round_ticks(low, high)
    bottom, top = min(low, ticks[0]), max(high, ticks[-1])
    last = max(step for points in drawn.values() for step, _ in points) or 1
    scale = math.log10 if logarithmic else float

    def at(step, value):
        span = (scale(top) - scale(bottom)) or 1.0
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (scale(top) - scale(value)) / span
        return x, y

    drawing = [_axes(metric, logarithmic, ticks, last, at)]
    for kind, points in drawn.items():
        drawing += _line(kind, [at(*point) for point in points], points)
    drawing.append(_legend(drawn, kinds))
    told = ". ".join(
        f"{kind}: from {figure(p[0][1])} at step {p[0][0]} to {figure(p[-1][1])} at step {p[-1][0]}"
        for kind, p in drawn.items()
    )
    title = f"{metric.label} during training"
    return svg(key, _WIDTH, _HEIGHT, title, told, drawing, class_="chart")


def _axes(metric, logarithmic: bool, ticks: list[float], last: int, at) -> list[Element]:
    unit = f", {metric.unit}" if metric.unit else ""
    name = f"{metric.label}{unit}{' (log scale)' if logarithmic else ''}"
    elements = [tag("text", name, x=4, y=16, class_="label strong")]
    for value in ticks:
        y = at(0, value)[1]
        elements.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        elements.append(tag("text", f"{value:.6g}", x=_LEFT - 6, y=y + 4, class_="tick end"))
    for step in round_ticks(0, last):
        if 0 <= step <= last:
            x = at(step, ticks[0])[0]
            y = _HEIGHT - _BOTTOM
            elements.append(tag("line", x1=x, x2=x, y1=y, y2=y + 5, class_="axis"))
            elements.append(tag("text", f"{step:,.0f}", x=x, y=y + 18, class_="tick middle"))
    y = _HEIGHT - _BOTTOM
    elements.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="axis"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    elements.append(tag("text", "training step", x=middle, y=_HEIGHT - 4, class_="tick middle"))
    return elements


def _line(kind: str, places: list, points: list) -> list[Element]:
    css = "train" if kind == "train" else "validation"
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    elements = [tag("path", d=path, class_=f"curve {css}")]
    # Few points are measurements worth a hover; hundreds would only thicken the line.
    if len(points) <= 40:
        for (x, y), (step, value) in zip(places, points, strict=True):
            hover = tag("title", f"{kind}, step {step}: {figure(value)}")
            elements.append(tag("circle", hover, cx=x, cy=y, r=2.6, class_=f"dot {css}"))
    return elements


def _legend(drawn: dict, kinds: dict) -> list[Element]:
    elements, x = [], _WIDTH - _RIGHT
    for kind in reversed(list(drawn)):
        css = "train" if kind == "train" else "validation"
        averaged = len(kinds[kind]) > len(drawn[kind])
        name = f"{kind} (averaged)" if averaged else kind
        x -= 7 * len(name)
        elements.append(tag("text", name, x=x, y=16, class_="tick"))
        elements.append(tag("path", d=f"M{x - 24} 12H{x - 5}", class_=f"curve {css}"))
        x -= 36
    return elements


def _thinned(points: list) -> list:
    run = math.ceil(len(points) / MAX_POINTS)
    groups = [points[i : i + run] for i in range(0, len(points), run)]
    return [(group[-1][0], sum(v for _, v in group) / len(group)) for group in groups]


def round_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from below `low` to above `high`, about `wanted` steps apart."""
    span = (high - low) or abs(high) or 1.0
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**p for p in powers for f in factors]
        inner = [t for t in ticks if low * 0.7 <= t <= high * 1.4]
        if len(inner) <= 8:
            break
    return inner or [low]
