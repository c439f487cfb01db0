"""Histograms as SVG."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from signbind_jax.report.charts import round_ticks
from signbind_jax.report.markup import svg, tag
from signbind_jax.report.wording import figure

_WIDTH, _HEIGHT = 500, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 70, 34, 40


def histogram(
    key: str,
    name: str,
    unit: str,
    edges: Sequence[float],
    counts: Sequence[int],
    beyond: int,
    median: float,
) -> Element:
    """Clips by bin, the median as a line, and a bar apart for what lies beyond the last edge.

    Args:
      key: unique in the page.
      edges: ascending, one more than `counts`.
    """
    ticks = round_ticks(0, max(*counts, beyond, 1), 4)
    top, base = ticks[-1], _HEIGHT - _BOTTOM
    scale = (_WIDTH - _LEFT - _RIGHT) / (edges[-1] - edges[0])

    def x_of(value: float) -> float:
        return _LEFT + scale * (value - edges[0])

    def y_of(count: float) -> float:
        return base - (base - _TOP) * count / top

    drawing = [tag("text", f"{name}, {unit}", x=4, y=16, class_="label strong")]
    for value in ticks:
        y = y_of(value)
        drawing.append(tag("line", x1=_LEFT, x2=_WIDTH - 12, y1=y, y2=y, class_="grid"))
        drawing.append(tag("text", f"{value:,.6g}", x=_LEFT - 6, y=y + 4, class_="tick end"))
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        x = x_of(left)
        drawing.append(
            _bar(x, x_of(right) - x, y_of(count), base, count, f"{figure(left)} to {figure(right)}")
        )
    if beyond:
        x = _WIDTH - _RIGHT + 32
        drawing.append(_bar(x, 18, y_of(beyond), base, beyond, f"above {figure(edges[-1])}"))
        drawing.append(tag("text", "more", x=x + 9, y=base + 18, class_="tick middle"))
    drawing.append(tag("line", x1=_LEFT, x2=_WIDTH - 12, y1=base, y2=base, class_="axis"))
    for value in round_ticks(edges[0], edges[-1]):
        if edges[0] <= value <= edges[-1] * (1 + 1e-9):
            drawing.append(
                tag("text", f"{value:,.6g}", x=x_of(value), y=base + 18, class_="tick middle")
            )
    x = x_of(min(median, edges[-1]))
    side, css = (5, "label halo") if x < _WIDTH * 0.7 else (-5, "label halo end")
    drawing.append(tag("path", d=f"M{x:.1f} {base}V{_TOP - 8}", class_="curve median"))
    drawing.append(tag("text", f"median {figure(median)}", x=x + side, y=_TOP - 2, class_=css))
    told = "; ".join(
        f"{figure(left)} to {figure(right)}: {count}"
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
        if count
    )
    told += f"; above: {beyond}" if beyond else ""
    return svg(key, _WIDTH, _HEIGHT, f"Clips by {name}", told, drawing, class_="chart")


def _bar(x: float, width: float, y: float, base: float, count: int, span: str) -> Element:
    hover = tag("title", f"{span}: {count:,} clips")
    height = max(base - y, 1.0) if count else 0.0  # a single clip among thousands is seen
    return tag(
        "rect",
        hover,
        x=x + 0.5,
        y=base - height,
        width=max(width - 1, 1.0),
        height=height,
        class_="bar full",
    )
