"""Pictures of the signer and the three token streams on one time axis."""

import base64
import binascii
from xml.etree.ElementTree import Element

from signbind_jax.report import skeleton
from signbind_jax.report.differences import compare
from signbind_jax.report.markup import svg, tag
from signbind_jax.report.run_files import STREAMS, Example, Token
from signbind_jax.report.wording import STREAMS as STREAM_NAMES
from signbind_jax.report.wording import figure

WIDTH = 1060
_LEFT, _RIGHT = 118, 18
_PLOT = WIDTH - _LEFT - _RIGHT
_PANEL, _MOUTH, _LANE = 116, 52, 23
_MAX_PICTURES = 14


def draw(key: str, example: Example, show_mouths: bool = True) -> Element:
    """The example's picture: signer, mouth, axis in seconds, one row of bars a stream.

    Args:
      key: unique in the page.
      show_mouths: False leaves the recorded mouth pictures out (the page would be too large).
    """
    end = _end(example)

    def x_of(seconds):
        return _LEFT + _PLOT * min(seconds, end) / end

    drawing, y = _strip(example, x_of, show_mouths)
    axis_y = y
    y += 16
    bands, rows = [], []
    for stream in (*STREAMS, *(s for s in example.streams if s not in STREAMS)):
        row, height = _row(example, stream, x_of, y)
        bands.append(tag("rect", x=_LEFT, y=y, width=_PLOT, height=height, class_="band"))
        rows += row
        y += height + 8
    drawing += bands + _axis(end, x_of, axis_y, y)
    told = "; ".join(
        f"{STREAM_NAMES.get(stream, stream)}: "
        + (" ".join(token.text for token in tokens) or "nothing read")
        for stream, tokens in example.streams.items()
    )
    title = f"What was read in {example.id}, and when"
    return svg(key, WIDTH, y + 24, title, told, drawing, rows, class_="timeline")


def pack(spans: list[tuple[float, float]], gap: float = 4.0) -> list[int]:
    """The lane of each span (left, right), spans by rising left end; no two in a lane touch."""
    ends: list[float] = []
    lanes = []
    for left, right in spans:
        lane = next((i for i, end in enumerate(ends) if end + gap <= left), len(ends))
        ends[lane : lane + 1] = [right]
        lanes.append(lane)
    return lanes


def truth_tokens(example: Example, stream: str) -> list[str] | None:
    """What was really there in the units of the stream; spelled words become letters."""
    truth = example.truth.get(stream)
    if truth is None or stream != "fingerspelling":
        return truth
    return [letter for word in truth for letter in word if not letter.isspace()]


def wrong_tokens(example: Example, stream: str) -> set[int]:
    """Positions of the stream's tokens that do not match what was really there."""
    truth, tokens = truth_tokens(example, stream), example.streams.get(stream, [])
    if truth is None:
        return set()
    compared = [i for i, token in enumerate(tokens) if not _is_space(stream, token)]
    wrong, place = set(), 0
    for piece in compare(truth, [tokens[i].text for i in compared], key=str.casefold):
        if piece.kind == "missing":
            continue
        if piece.kind == "extra":
            wrong.update(compared[place : place + len(piece.words)])
        place += len(piece.words)
    return wrong


def png(encoded: str) -> str | None:
    """The data address of a base64 PNG, None where it is not one."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return f"data:image/png;base64,{encoded}" if raw.startswith(b"\x89PNG\r\n\x1a\n") else None


def _is_space(stream: str, token: Token) -> bool:
    return stream == "fingerspelling" and token.text.isspace()


def _end(example: Example) -> float:
    ends = [token.end for tokens in example.streams.values() for token in tokens]
    ends += [time for time, _ in (*example.poses, *example.mouths)]
    return max([example.duration or 0.0, *ends]) or 1.0


def _chosen(pictures: list) -> list:
    """At most as many pictures as fit side by side, evenly spread."""
    if len(pictures) <= _MAX_PICTURES:
        return pictures
    last = len(pictures) - 1
    return [pictures[round(i * last / (_MAX_PICTURES - 1))] for i in range(_MAX_PICTURES)]


def _strip(example: Example, x_of, show_mouths: bool) -> tuple[list[Element], float]:
    """The figures, then mouths, each tied by a line to its moment on the axis below."""
    poses = [(t, frame) for t, frame in _chosen(example.poses) if skeleton.readable(frame)]
    mouths = [(t, png(code)) for t, code in _chosen(example.mouths)] if show_mouths else []
    mouths = [(t, address) for t, address in mouths if address]
    drawing: list[Element] = []
    if poses:
        y, last_times = _figures(poses, drawing, enlarge=not mouths), [t for t, _ in poses]
    else:
        told = "of another layout" if example.poses else "not in this run"
        drawing.append(tag("text", f"Pictures of the signer: {told}.", x=_LEFT, y=16,
                           class_="label italic"))  # fmt: skip
        y, last_times = 26, []
    if mouths:
        y, last_times = _mouths(mouths, drawing, y), [t for t, _ in mouths]
    slot = _PLOT / max(len(last_times), 1)
    for i, time in enumerate(last_times):
        x = _LEFT + slot * (i + 0.5)
        drawing.append(tag("text", f"{time:.2f} s", x=x, y=y + 12,
                           class_="tick middle"))  # fmt: skip
        drawing.append(tag("path", d=f"M{x:.1f} {y + 17}L{x_of(time):.1f} {y + 41}V{y + 46}",
                           class_="tie"))  # fmt: skip
    return drawing, y + (46 if last_times else 4)


def _figures(poses: list, drawing: list[Element], enlarge: bool) -> float:
    slot = _PLOT / len(poses)
    box = skeleton.bounds([frame for _, frame in poses])
    enlarged = False
    for i, (_, frame) in enumerate(poses):
        left = _LEFT + slot * i
        width = min(slot - 4, 150.0)
        drawing.append(skeleton.figure_of(frame, box, left + (slot - width) / 2, 2, width, _PANEL))
        lips = skeleton.mouth_of(frame, left + slot / 2 - 22, _PANEL + 8, 44) if enlarge else None
        if lips is not None:
            enlarged = True
            drawing.append(lips)
    drawing.append(_row_name("Signer", "as tracked", 48))
    if enlarged:
        drawing.append(_row_name("Mouth", "enlarged", _PANEL + 26))
    return _PANEL + 6 + (_MOUTH if enlarged else 0)


def _mouths(mouths: list, drawing: list[Element], y: float) -> float:
    slot = _PLOT / len(mouths)
    size = min(_MOUTH - 4.0, slot - 4)
    for i, (time, address) in enumerate(mouths):
        x = _LEFT + slot * (i + 0.5) - size / 2
        drawing.append(tag("image", tag("title", f"mouth at {time:.2f} s"),
                           href=address, x=x, y=y, width=size, height=size))  # fmt: skip
    drawing.append(_row_name("Mouth", "as filmed", y + 20))
    return y + _MOUTH


def _row_name(name: str, detail: str, y: float) -> Element:
    return tag("g", tag("text", name, x=0, y=y, class_="label strong"),
               tag("text", detail, x=0, y=y + 16, class_="tick"))  # fmt: skip


def _axis(end: float, x_of, y: float, bottom: float) -> list[Element]:
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60) if end / s <= 14), end / 10)
    elements = [
        tag("line", x1=_LEFT, x2=_LEFT + _PLOT, y1=y, y2=y, class_="axis"),
        tag("text", "time, seconds", x=0, y=bottom + 18, class_="tick"),
    ]
    for i in range(int(end / step + 1e-6) + 1):
        x = x_of(i * step)
        elements.append(tag("line", x1=x, x2=x, y1=y, y2=bottom + 4, class_="grid"))
        elements.append(tag("text", figure(round(i * step, 2)), x=x, y=bottom + 18,
                            class_="tick middle"))  # fmt: skip
    return elements


def _row(example: Example, stream: str, x_of, y: float) -> tuple[list[Element], float]:
    """The bars of one stream in as many lanes as keep every label legible, and their height."""
    tokens = example.streams.get(stream)
    name = STREAM_NAMES.get(stream, stream)
    if not tokens:
        told = "not in this run" if tokens is None else "nothing read"
        return [_row_name(name, told, y + 16)], 2 * _LANE + 2
    wrong = wrong_tokens(example, stream)
    boxes = [_box(token, x_of) for token in tokens]
    order = sorted(range(len(tokens)), key=lambda i: boxes[i][2])
    lanes = dict(zip(order, pack([boxes[i][2:4] for i in order]), strict=True))
    lanes_high = max(2, max(lanes.values()) + 1)
    elements = [_row_name(name, f"{len(tokens)} tokens", y + 16)]
    for i, token in enumerate(tokens):
        elements.append(_bar(token, boxes[i], y + lanes[i] * _LANE + 3, stream, i in wrong))
    return elements, lanes_high * _LANE + 2


def _box(token: Token, x_of) -> tuple[float, float, float, float, str]:
    """Left and right of the bar, left and right with its label, and where the label stands.

    A label that does not fit its bar stands beside it, clear of the next bar.
    """
    left, right = x_of(token.start), x_of(token.end)
    right = max(right, left + 3)
    width = _text_width(_shown(token))
    if width <= right - left + 2:
        return left, right, left, right, "middle"
    if right + 3 + width <= WIDTH:
        return left, right, left, right + width + 9, "start"
    return left, right, left - width - 9, right, "end"


def _text_width(label: str) -> float:
    """The width of a label at 12.5 px, on the safe side for the fonts of common systems."""
    return sum(12.5 if ord(c) > 0x2E80 else 11.5 if c in "MWmw@%" else 4.8 if c in "ijlftI.,'-| "
               else 8.7 if c.isupper() else 7.8 for c in label)  # fmt: skip


def _shown(token: Token) -> str:
    return "␣" if token.text.isspace() else token.text


def _bar(token: Token, box: tuple, y: float, stream: str, wrong: bool) -> Element:
    left, right, _, _, anchor = box
    hover = (
        f"{_shown(token)}: {token.start:.2f} s to {token.end:.2f} s, "
        f"confidence {token.confidence:.2f}{', not what was really there' if wrong else ''}"
    )
    x = {"middle": (left + right) / 2, "start": right + 3, "end": left - 3}[anchor]
    return tag(
        "g",
        tag("title", hover),
        tag("rect", x=left, y=y, width=right - left, height=_LANE - 5, rx=2,
            fill_opacity=f"{max(token.confidence, 0.06):.2f}"),
        tag("text", _shown(token), x=x, y=y + 13.5, class_=anchor),
        class_=f"token {stream if stream in STREAMS else 'other'}{' wrong' if wrong else ''}",
    )  # fmt: skip
