"""The token streams of a clip under pictures of its signer, on one time axis."""

from xml.etree.ElementTree import Element

from signbind_jax import streams
from signbind_jax.report.differences import compare
from signbind_jax.report.markup import svg, tag
from signbind_jax.report.run_files import Example, Token
from signbind_jax.report.strip import LEFT, PLOT, WIDTH, axis, row_name, strip
from signbind_jax.report.wording import stream_title

_LANE = 23


def draw(key: str, example: Example, show_mouths: bool = True) -> Element:
    """The example's picture: signer, mouth, axis in seconds, one row of bars a stream.

    Args:
      key: unique in the page.
      show_mouths: False leaves the recorded mouth pictures out (the page would be too large).
    """
    end = _end(example)

    def x_of(seconds):
        return LEFT + PLOT * min(seconds, end) / end

    drawing, y = strip(example.poses, example.mouths if show_mouths else [], x_of)
    axis_y = y
    y += 16
    bands, rows = [], []
    for stream in (*streams.SHIPPED, *(s for s in example.streams if s not in streams.SHIPPED)):
        row, height = _row(example, stream, x_of, y)
        bands.append(tag("rect", x=LEFT, y=y, width=PLOT, height=height, class_="band"))
        rows += row
        y += height + 8
    drawing += bands + axis(end, x_of, axis_y, y)
    told = "; ".join(
        f"{stream_title(stream)}: " + (" ".join(token.text for token in tokens) or "nothing read")
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
    if truth is None or not _spells(stream):
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


def _is_space(stream: str, token: Token) -> bool:
    return _spells(stream) and token.text.isspace()


def _spells(stream: str) -> bool:
    return stream in streams.names() and streams.get(stream).spells


def _end(example: Example) -> float:
    ends = [token.end for tokens in example.streams.values() for token in tokens]
    ends += [time for time, _ in (*example.poses, *example.mouths)]
    return max([example.duration or 0.0, *ends]) or 1.0


def _row(example: Example, stream: str, x_of, y: float) -> tuple[list[Element], float]:
    """The bars of one stream in as many lanes as keep every label legible, and their height."""
    tokens = example.streams.get(stream)
    name = stream_title(stream)
    if not tokens:
        told = "not in this run" if tokens is None else "nothing read"
        return [row_name(name, told, y + 16)], 2 * _LANE + 2
    wrong = wrong_tokens(example, stream)
    boxes = [_box(token, x_of) for token in tokens]
    order = sorted(range(len(tokens)), key=lambda i: boxes[i][2])
    lanes = dict(zip(order, pack([boxes[i][2:4] for i in order]), strict=True))
    lanes_high = max(2, max(lanes.values()) + 1)
    elements = [row_name(name, f"{len(tokens)} tokens", y + 16)]
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
    return sum(
        12.5
        if ord(c) > 0x2E80
        else 11.5
        if c in "MWmw@%"
        else 4.8
        if c in "ijlftI.,'-| "
        else 8.7
        if c.isupper()
        else 7.8
        for c in label
    )


def _shown(token: Token) -> str:
    return "␣" if token.text.isspace() else token.text


def _bar(token: Token, box: tuple, y: float, stream: str, wrong: bool) -> Element:
    left, right, _, _, anchor = box
    hover = (
        f"{_shown(token)}: {token.start:.2f} s to {token.end:.2f} s, "
        f"confidence {token.confidence:.2f}{', not what was really there' if wrong else ''}"
    )
    kind = stream if stream in streams.names() else "other"
    x = {"middle": (left + right) / 2, "start": right + 3, "end": left - 3}[anchor]
    return tag(
        "g",
        tag("title", hover),
        tag(
            "rect",
            x=left,
            y=y,
            width=right - left,
            height=_LANE - 5,
            rx=2,
            fill_opacity=f"{max(token.confidence, 0.06):.2f}",
        ),
        tag("text", _shown(token), x=x, y=y + 13.5, class_=anchor),
        class_=f"token {kind}{' wrong' if wrong else ''}",
    )
