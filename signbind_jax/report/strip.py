"""Pictures of a signer and of the mouth, each tied to its moment on a time axis."""

import base64
import binascii
from collections.abc import Callable
from xml.etree.ElementTree import Element

from signbind_jax.report import skeleton
from signbind_jax.report.markup import svg, tag
from signbind_jax.report.wording import figure

WIDTH = 1060
LEFT, _RIGHT = 118, 18
PLOT = WIDTH - LEFT - _RIGHT
_PANEL, _MOUTH = 116, 52
_MAX_PICTURES = 14


def draw(key: str, clip: str, poses: list, mouths: list, end: float) -> Element:
    """A clip's pictures alone.

    Args:
      key: unique in the page.
      clip: its name, for those who cannot see the pictures.
      poses, mouths: see `strip`.
      end: duration of the clip in seconds.
    """

    def x_of(seconds):
        return LEFT + PLOT * min(seconds, end) / end

    drawing, y = strip(poses, mouths, x_of)
    told = f"{len(poses)} moments of the signer, {len(mouths)} of the mouth, over {figure(end)} s"
    return svg(
        key,
        WIDTH,
        y + 24,
        f"Moments of {clip}",
        told,
        drawing,
        axis(end, x_of, y, y),
        class_="timeline",
    )


def strip(poses: list, mouths: list, x_of: Callable) -> tuple[list[Element], float]:
    """The figures, then mouths, each tied by a line to its moment on the axis below.

    Args:
      poses: (seconds, points k x 3 as x, y, confidence in shoulder widths).
      mouths: (seconds, PNG as base64).
      x_of: place of a moment on the axis.

    Returns:
      The drawing and its height.
    """
    shown = [(t, frame) for t, frame in _chosen(poses) if skeleton.readable(frame)]
    mouths = [(t, address) for t, code in _chosen(mouths) if (address := png(code))]
    drawing: list[Element] = []
    if shown:
        y, last_times = _figures(shown, drawing, enlarge=not mouths), [t for t, _ in shown]
    else:
        told = "of another layout" if poses else "none"
        drawing.append(
            tag("text", f"Pictures of the signer: {told}.", x=LEFT, y=16, class_="label italic")
        )
        y, last_times = 26, []
    if mouths:
        y, last_times = _mouths(mouths, drawing, y), [t for t, _ in mouths]
    slot = PLOT / max(len(last_times), 1)
    for i, time in enumerate(last_times):
        x = LEFT + slot * (i + 0.5)
        drawing.append(tag("text", f"{time:.2f} s", x=x, y=y + 12, class_="tick middle"))
        drawing.append(
            tag("path", d=f"M{x:.1f} {y + 17}L{x_of(time):.1f} {y + 41}V{y + 46}", class_="tie")
        )
    return drawing, y + (46 if last_times else 4)


def axis(end: float, x_of: Callable, y: float, bottom: float) -> list[Element]:
    """The axis in seconds at `y`, its grid down to `bottom`."""
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60) if end / s <= 14), end / 10)
    elements = [
        tag("line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y, class_="axis"),
        tag("text", "time, seconds", x=0, y=bottom + 18, class_="tick"),
    ]
    for i in range(int(end / step + 1e-6) + 1):
        x = x_of(i * step)
        elements.append(tag("line", x1=x, x2=x, y1=y, y2=bottom + 4, class_="grid"))
        elements.append(
            tag("text", figure(round(i * step, 2)), x=x, y=bottom + 18, class_="tick middle")
        )
    return elements


def row_name(name: str, detail: str, y: float) -> Element:
    """What stands to the left of a row."""
    return tag(
        "g",
        tag("text", name, x=0, y=y, class_="label strong"),
        tag("text", detail, x=0, y=y + 16, class_="tick"),
    )


def png(encoded: str) -> str | None:
    """The data address of a base64 PNG, None where it is not one."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return f"data:image/png;base64,{encoded}" if raw.startswith(b"\x89PNG\r\n\x1a\n") else None


def _chosen(pictures: list) -> list:
    """At most as many pictures as fit side by side, evenly spread."""
    if len(pictures) <= _MAX_PICTURES:
        return pictures
    last = len(pictures) - 1
    return [pictures[round(i * last / (_MAX_PICTURES - 1))] for i in range(_MAX_PICTURES)]


def _figures(poses: list, drawing: list[Element], enlarge: bool) -> float:
    slot = PLOT / len(poses)
    box = skeleton.bounds([frame for _, frame in poses])
    enlarged = False
    for i, (_, frame) in enumerate(poses):
        left = LEFT + slot * i
        width = min(slot - 4, 150.0)
        drawing.append(skeleton.figure_of(frame, box, left + (slot - width) / 2, 2, width, _PANEL))
        lips = skeleton.mouth_of(frame, left + slot / 2 - 22, _PANEL + 8, 44) if enlarge else None
        if lips is not None:
            enlarged = True
            drawing.append(lips)
    drawing.append(row_name("Signer", "as tracked", 48))
    if enlarged:
        drawing.append(row_name("Mouth", "enlarged", _PANEL + 26))
    return _PANEL + 6 + (_MOUTH if enlarged else 0)


def _mouths(mouths: list, drawing: list[Element], y: float) -> float:
    slot = PLOT / len(mouths)
    size = min(_MOUTH - 4.0, slot - 4)
    for i, (time, address) in enumerate(mouths):
        x = LEFT + slot * (i + 0.5) - size / 2
        drawing.append(
            tag(
                "image",
                tag("title", f"mouth at {time:.2f} s"),
                href=address,
                x=x,
                y=y,
                width=size,
                height=size,
            )
        )
    drawing.append(row_name("Mouth", "as filmed", y + 20))
    return y + _MOUTH
