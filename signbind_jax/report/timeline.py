"""Where the pictures of a clip and the tokens of its streams stand, all on one time axis."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import NamedTuple

from signbind_jax import streams
from signbind_jax.report import skeleton
from signbind_jax.report.differences import compare
from signbind_jax.report.run_files import Example, Token
from signbind_jax.report.wording import stream_title

WIDTH, LEFT, PLOT = 1060, 118, 924
_PANEL, _MOUTH, _LANE = 116, 52, 23
_MAX_PICTURES = 14


class Mouth(NamedTuple):
    """A recorded picture of a mouth: its place, its size and its address."""

    x: float
    y: float
    size: float
    time: float
    address: str


class Bar(NamedTuple):
    """A token: its bar, its label (`anchor` is where of the label `label_x` is), how wide both."""

    token: Token
    label: str
    left: float
    right: float
    label_x: float
    anchor: str
    extent: tuple[float, float]


class Row(NamedTuple):
    """The bars of a stream, each with its top and whether it was misread, in a band."""

    css: str
    y: float
    height: float
    bars: list[tuple[Bar, float, bool]]


@dataclass
class Timeline:
    """What is drawn, in pixels from the top left.

    Attributes:
      end: seconds, at the right end of the axis.
      names: of the rows, with a detail and their place.
      note: why there is no figure.
      ties: time of a picture and its place; each is tied to its moment on the axis.
      axis, bottom: where the axis is, and where its grid ends.
    """

    end: float
    figures: list[skeleton.Figure] = field(default_factory=list)
    mouths: list[Mouth] = field(default_factory=list)
    names: list[tuple[str, str, float]] = field(default_factory=list)
    note: str = ""
    ties: list[tuple[float, float]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    axis: float = 0
    bottom: float = 0

    def x(self, seconds: float) -> float:
        """The place of a moment."""
        return LEFT + PLOT * min(seconds, self.end) / self.end

    @property
    def ticks(self) -> list[float]:
        """Moments that the axis names."""
        steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
        step = next((s for s in steps if self.end / s <= 14), self.end / 10)
        return [round(i * step, 2) for i in range(int(self.end / step + 1e-6) + 1)]


def of_pictures(poses: list, mouths: list, end: float) -> Timeline:
    """The figures, then mouths, each tied to its moment on the axis below.

    Args:
      poses: (seconds, points k x 3 as x, y, confidence in shoulder widths).
      mouths: (seconds, PNG as base64).
      end: duration in seconds.
    """
    line, y = Timeline(end), 26.0
    shown = [(t, frame) for t, frame in _chosen(poses) if skeleton.readable(frame)]
    pictures = [(t, address) for t, code in _chosen(mouths) if (address := png(code))]
    if shown:
        y = _draw_figures(line, [frame for _, frame in shown], enlarge=not pictures)
    else:
        line.note = f"Pictures of the signer: {'of another layout' if poses else 'none'}."
    if pictures:
        slot = PLOT / len(pictures)
        size = min(_MOUTH - 4.0, slot - 4)
        lefts = [LEFT + slot * (i + 0.5) - size / 2 for i in range(len(pictures))]
        line.mouths = [Mouth(x, y, size, *p) for x, p in zip(lefts, pictures, strict=True)]
        line.names.append(("Mouth", "as filmed", y + 20))
        y += _MOUTH
    times = [time for time, _ in pictures or shown]
    slot = PLOT / max(len(times), 1)
    line.ties = [(time, LEFT + slot * (i + 0.5)) for i, time in enumerate(times)]
    line.axis = line.bottom = y + (46 if times else 4)
    return line


def of_example(example: Example, show_mouths: bool = True) -> Timeline:
    """The pictures, and below them one row of bars a stream."""
    ends = [token.end for tokens in example.streams.values() for token in tokens]
    ends += [time for time, _ in (*example.poses, *example.mouths)]
    end = max([example.duration or 0.0, *ends]) or 1.0
    line = of_pictures(example.poses, example.mouths if show_mouths else [], end)
    y = line.axis + 16
    for stream in (*streams.SHIPPED, *(s for s in example.streams if s not in streams.SHIPPED)):
        tokens = example.streams.get(stream)
        told = f"{len(tokens)} tokens" if tokens else "nothing read"
        line.names.append(
            (stream_title(stream), told if tokens is not None else "not in this run", y + 16)
        )
        line.rows.append(_row(line, example, stream, y))
        y += line.rows[-1].height + 8
    line.bottom = y
    return line


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
    if truth is None or not spells(stream):
        return truth
    return [letter for word in truth for letter in word if not letter.isspace()]


def wrong_tokens(example: Example, stream: str) -> set[int]:
    """Positions of the stream's tokens that do not match what was really there."""
    truth, tokens = truth_tokens(example, stream), example.streams.get(stream, [])
    if truth is None:
        return set()
    compared = [i for i, t in enumerate(tokens) if not (spells(stream) and t.text.isspace())]
    pieces = compare(truth, [tokens[i].text for i in compared], key=str.casefold)
    kinds = [piece.kind for piece in pieces for _ in piece.words if piece.kind != "missing"]
    return {i for i, kind in zip(compared, kinds, strict=True) if kind == "extra"}


def spells(stream: str) -> bool:
    """Whether a stream, known or not, is of letters."""
    return stream in streams.names() and streams.get(stream).spells


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


def _draw_figures(line: Timeline, frames: list[list], enlarge: bool) -> float:
    """The figures, their mouths enlarged below them on demand; returns where they end."""
    slot = PLOT / len(frames)
    lefts = [LEFT + slot * i for i in range(len(frames))]
    line.figures = skeleton.figures_of(frames, lefts, slot, _PANEL)
    line.names.append(("Signer", "as tracked", 48))
    enlarged = [
        mouth
        for frame, left in zip(frames, lefts, strict=True)
        if enlarge and (mouth := skeleton.mouth_of(frame, left + slot / 2 - 22, _PANEL + 8, 44))
    ]
    if enlarged:
        line.figures += enlarged
        line.names.append(("Mouth", "enlarged", _PANEL + 26))
    return _PANEL + 6 + (_MOUTH if enlarged else 0)


def _row(line: Timeline, example: Example, stream: str, y: float) -> Row:
    """The bars of one stream in as many lanes as keep every label legible."""
    tokens = example.streams.get(stream) or []
    wrong = wrong_tokens(example, stream)
    bars = sorted(
        ((_bar(line, token), i in wrong) for i, token in enumerate(tokens)),
        key=lambda bar: bar[0].extent[0],
    )
    lanes = pack([bar.extent for bar, _ in bars])
    placed = [
        (bar, y + lane * _LANE + 3, bad) for (bar, bad), lane in zip(bars, lanes, strict=True)
    ]
    css = stream if stream in streams.names() else "other"
    return Row(css, y, max(2, 1 + max(lanes, default=0)) * _LANE + 2, placed)


def _bar(line: Timeline, token: Token) -> Bar:
    """A label that does not fit its bar stands beside it, clear of the next bar."""
    label = "␣" if token.text.isspace() else token.text
    left = line.x(token.start)
    right = max(line.x(token.end), left + 3)
    width = _text_width(label)
    if width <= right - left + 2:
        return Bar(token, label, left, right, (left + right) / 2, "middle", (left, right))
    if right + 3 + width <= WIDTH:
        return Bar(token, label, left, right, right + 3, "start", (left, right + width + 9))
    return Bar(token, label, left, right, left - 3, "end", (left - width - 9, right))


# Widths of letters at 12.5 px, on the safe side for the fonts of common systems.
_WIDTHS = dict.fromkeys("MWmw@%", 11.5) | dict.fromkeys("ijlftI.,'-| ", 4.8)


def _text_width(label: str) -> float:
    return sum(
        12.5 if ord(c) > 0x2E80 else _WIDTHS.get(c, 8.7 if c.isupper() else 7.8) for c in label
    )
