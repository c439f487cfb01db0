"""Reading WebVTT subtitles: times in whole milliseconds, one line of plain text a cue."""

import html
import re
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files
from signbind_jax.errors import SignBindError, from_extra

_MOST_BYTES = 2**23  # the subtitles of an hour take about 100 KB, rolling captions 500 KB
_TIMING = re.compile(r"[ \t]*\d[\d., \t]*:[\d:., \t]*-+>")
_TIME_OF_A_WORD = re.compile(r"<(?:\d+:)?\d{1,2}:\d{2}\.\d{3}>")
_TAG = re.compile(r"</?(?:[a-zA-Z][^<>]*|[\d:.]+)?>")
_NO_CHARACTER = re.compile(r"&#(?:\d{8,}|[xX][\da-fA-F]{7,});?")  # above U+10FFFF
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\ufeff\0"))


class Cue(NamedTuple):
    """One subtitle.

    Attributes:
      start_ms, end_ms: as in the file: `end_ms` may lie before `start_ms`.
      text: without tags, entities resolved, lines joined by a space; may be empty.
    """

    start_ms: int
    end_ms: int
    text: str


class Subtitles(NamedTuple):
    """What a subtitle file holds.

    Attributes:
      cues: in order of time; cues may overlap.
      n_unreadable: cues whose times cannot be read; they are not among `cues`.
      n_rolled: cues of rolling captions that only repeat what was shown before, likewise.
    """

    cues: list[Cue]
    n_unreadable: int = 0
    n_rolled: int = 0


def read_subtitles(path: Path) -> Subtitles:
    """The cues of a WebVTT file.

    Rolling captions show a line again while the next is written below it. They are known by the
    times of single words inside cues; a line that was on screen already is taken out of the cues
    that follow at once.

    Args:
      path: UTF-8, with or without a byte order mark, any line ends.

    Raises:
      SignBindError: no such file; not UTF-8; not WebVTT; too large to be subtitles.
    """
    with from_extra("corpora", "subtitles"):
        import webvtt
    text = files.read_text(path, _MOST_BYTES)
    try:
        captions = webvtt.from_string(text).captions
    except webvtt.errors.MalformedFileError as error:
        raise SignBindError(
            f"{path}: found {text[:20]!r} at its start, wanted WEBVTT: convert the "
            "subtitles to WebVTT"
        ) from error
    timings = sum(1 for line in text.splitlines() if _TIMING.match(line))
    lines = [(_ms(c.start), _ms(c.end), _plain_lines(c.raw_text)) for c in captions]
    lines.sort(key=lambda cue: cue[:2])
    n_rolled = 0
    if _TIME_OF_A_WORD.search(text):
        lines, n_rolled = _unrolled(lines)
    cues = [Cue(start, end, " ".join(shown)) for start, end, shown in lines]
    return Subtitles(cues, max(timings - len(captions), 0), n_rolled)


def _ms(time: str) -> int:
    """Milliseconds of a time as the library writes it, hh:mm:ss.mmm."""
    hours, minutes, seconds = time.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + int(seconds.replace(".", ""))


def _plain_lines(text: str) -> list[str]:
    text = _NO_CHARACTER.sub("\ufffd", text)
    lines = (html.unescape(_TAG.sub("", line)).translate(_INVISIBLE) for line in text.split("\n"))
    return [plain for line in lines if (plain := " ".join(line.split()))]


def _unrolled(cues: list[tuple[int, int, list[str]]]) -> tuple[list, int]:
    """Cues without the lines that the cue just before them showed, and how many it took away."""
    kept, on_screen, shown_until = [], [], 0
    for start, end, lines in cues:
        if start > shown_until:
            on_screen = []
        most = min(len(lines), len(on_screen))
        again = next(n for n in range(most, -1, -1) if on_screen[len(on_screen) - n :] == lines[:n])
        if lines[again:] or not lines:
            kept.append((start, end, lines[again:]))
        on_screen, shown_until = lines or on_screen, max(end, shown_until)
    return kept, len(cues) - len(kept)
