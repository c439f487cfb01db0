"""Where the pictures of a clip and the tokens of its streams stand, all on one time axis."""

import base64
import binascii
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from signbind_jax import streams
from signbind_jax.data.clip import Clip
from signbind_jax.report import skeleton
from signbind_jax.report.clip_moments import duration_s
from signbind_jax.report.differences import compare
from signbind_jax.report.run_files import Example, Token
from signbind_jax.report.wording import stream_title

WIDTH, LEFT, PLOT = 1060, 118, 924  # pixels
LANE = 23
_MAX_PICTURES = 14


class Bar(NamedTuple):
    """A token in its lane: its bar, and its label at the side of `x` that `anchor` says."""

    token: Token
    label: str
    left: float
    right: float
    x: float
    anchor: str
    lane: int = 0
    wrong: bool = False

    @property
    def extent(self) -> tuple[float, float]:
        """Left and right end of bar and label together."""
        width = _text_width(self.label) + 9
        left = {"middle": self.left, "start": self.left, "end": self.left - width}[self.anchor]
        return left, self.right + width * (self.anchor == "start")


class Row(NamedTuple):
    """The bars of a stream, with its name and a class of its colour; and where it was unread: left
    and right end of each while in which nothing was read, and that while."""

    title: str
    detail: str
    css: str
    bars: list[Bar]
    unread: list[tuple[float, float, Token]] = []

    @property
    def height(self) -> int:
        """Of as many lanes as keep every label legible."""
        return max(2, *(bar.lane + 1 for bar in self.bars), 0) * LANE + 2


@dataclass(frozen=True)
class Timeline:
    """What is drawn of a clip.

    Attributes:
      end: seconds, at the right end of the axis.
      figures: (seconds, paths of the skeleton), all within `box`.
      enlarged: box and paths of the lips of each figure, where there are no recorded pictures.
      mouths: (seconds, address of a picture).
      note: why there is no figure.
    """

    end: float
    box: skeleton.Box
    figures: list[tuple[float, dict]]
    enlarged: list[tuple[skeleton.Box, dict] | None]
    mouths: list[tuple[float, str]]
    note: str
    rows: list[Row] = field(default_factory=list)

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
    """A clip's pictures alone.

    Args:
      poses: (seconds, points k x 3 as x, y, confidence in shoulder widths).
      mouths: (seconds, PNG as base64).
      end: duration in seconds.
    """
    frames = [(t, frame) for t, frame in _chosen(poses) if skeleton.readable(frame)]
    seen = [(t, skeleton.seen_points(frame)) for t, frame in frames]
    pictures = [(t, address) for t, code in _chosen(mouths) if (address := png(code))]
    enlarged = [] if pictures else [skeleton.mouth(points) for _, points in seen]
    return Timeline(
        end,
        skeleton.bounds([points for _, points in seen]),
        [(t, skeleton.paths(points)) for t, points in seen],
        enlarged if any(enlarged) else [],
        pictures,
        "" if seen else f"Pictures of the signer: {'of another layout' if poses else 'none'}.",
    )


def of_example(example: Example, show_mouths: bool = True) -> Timeline:
    """The pictures, and below them one row of bars a stream."""
    told = (*example.streams.values(), *example.unread.values())
    ends = [token.end for tokens in told for token in tokens]
    ends += [time for time, _ in (*example.poses, *example.mouths)]
    end = max([example.duration or 0.0, *ends]) or 1.0
    line = of_pictures(example.poses, example.mouths if show_mouths else [], end)
    for stream in dict.fromkeys((*streams.SHIPPED, *example.streams)):
        wrong = wrong_tokens(example, stream)
        unread = example.unread.get(stream, ())
        line.rows.append(_row(line, stream, example.streams.get(stream), wrong, unread))
    return line


def of_clip(clip: Clip, poses: list, mouths: list) -> Timeline:
    """The pictures of a clip, and below them the streams that it came with.

    poses and mouths: see `of_pictures`.
    """
    line = of_pictures(poses, mouths, duration_s(clip) or 1.0)
    for stream, given in clip.streams.items():
        line.rows.append(_row(line, stream, [Token(*token) for token in given]))
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


def png(encoded: str) -> str | None:
    """The data address of a base64 PNG, None where it is not one."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return f"data:image/png;base64,{encoded}" if raw.startswith(b"\x89PNG\r\n\x1a\n") else None


def spells(stream: str) -> bool:
    """Whether a stream's tokens are letters of spelled words."""
    return stream in streams.names() and streams.get(stream).spells


def _chosen(pictures: list) -> list:
    """At most as many pictures as fit side by side, evenly spread."""
    if len(pictures) <= _MAX_PICTURES:
        return pictures
    last = len(pictures) - 1
    return [pictures[round(i * last / (_MAX_PICTURES - 1))] for i in range(_MAX_PICTURES)]


def _row(
    line: Timeline,
    stream: str,
    tokens: Sequence[Token] | None,
    wrong: Collection[int] = (),
    unread: Sequence[Token] = (),
) -> Row:
    bars = [_bar(line, token)._replace(wrong=i in wrong) for i, token in enumerate(tokens or ())]
    bars.sort(key=lambda bar: bar.extent)
    lanes = pack([bar.extent for bar in bars])
    told = f"{len(bars)} tokens" if bars else "nothing read"
    told = f"{len(bars)} read, {len(unread)} unread" if unread else told
    return Row(
        stream_title(stream),
        "not in this run" if tokens is None else told,
        stream if stream in streams.names() else "other",
        [bar._replace(lane=lane) for bar, lane in zip(bars, lanes, strict=True)],
        [(line.x(t.start), max(line.x(t.end), line.x(t.start) + 3), t) for t in unread],
    )


def _bar(line: Timeline, token: Token) -> Bar:
    """A label that does not fit its bar stands beside it, clear of the next bar."""
    label = "␣" if token.text.isspace() else token.text
    left = line.x(token.start)
    right = max(line.x(token.end), left + 3)
    width = _text_width(label)
    if width <= right - left + 2:
        return Bar(token, label, left, right, (left + right) / 2, "middle")
    if right + 3 + width <= WIDTH:
        return Bar(token, label, left, right, right + 3, "start")
    return Bar(token, label, left, right, left - 3, "end")


# Widths of letters at 12.5 px, on the safe side for the fonts of common systems.
_WIDTHS = dict.fromkeys("MWmw@%", 11.5) | dict.fromkeys("ijlftI.,'-| ", 4.8)


def _text_width(label: str) -> float:
    return sum(
        12.5 if ord(c) > 0x2E80 else _WIDTHS.get(c, 8.7 if c.isupper() else 7.8) for c in label
    )
