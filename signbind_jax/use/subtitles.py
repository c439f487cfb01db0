"""Subtitle and annotation files of timed sentences: WebVTT, SRT and ELAN."""

import html
import io
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from signbind_jax.errors import from_extra
from signbind_jax.use.translation import Translation

# What broadcasters ask of subtitles, and what players show without making them smaller.
LINE_CHARACTERS, CUE_LINES = 42, 2
MIME_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
MIME_TYPES |= {".mpg": "video/mpeg", ".mpeg": "video/mpeg"}
_OTHER_BRACKETS = str.maketrans("<>", "\u2039\u203a")
_OTHER_VIDEO = "unknown"  # ELAN's own name for what its players have to find out


class TimedSentence(NamedTuple):
    """A sentence of a recording.

    Attributes:
      start_s, end_s: of what it was read from, in seconds from the recording's start.
      translation: with times of its tokens and words from the recording's start, too.
    """

    start_s: float
    end_s: float
    translation: Translation


class Cue(NamedTuple):
    """What is shown at once: whole milliseconds, at most `CUE_LINES` lines of plain text."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(sentences: Iterable[TimedSentence]) -> list[Cue]:
    """The subtitles of sentences in order of time; a sentence without text has none.

    Lines have at most `LINE_CHARACTERS`. A sentence of more than `CUE_LINES` lines is shown in
    several cues, whose times are in proportion to their characters. Cues do not overlap, and each
    lasts at least a millisecond.
    """
    found: list[Cue] = []
    for sentence in sentences:
        lines = textwrap.wrap(plain(sentence.translation.text), LINE_CHARACTERS)
        shown = [tuple(lines[i : i + CUE_LINES]) for i in range(0, len(lines), CUE_LINES)]
        start = max(_ms(sentence.start_s), found[-1].end_ms if found else 0)
        end = max(_ms(sentence.end_s), start + len(shown))
        total, done = sum(map(len, lines)), 0
        at = start
        for i, lines_shown in enumerate(shown):
            done += sum(map(len, lines_shown))
            behind = len(shown) - 1 - i  # each of which needs its millisecond
            until = start + round((end - start) * done / total)
            until = min(max(until, at + 1), end - behind)
            found.append(Cue(at, until, lines_shown))
            at = until
    return found


def plain(text: str) -> str:
    """A text on one line, without characters that cannot be shown."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def timestamp(seconds: float) -> str:
    """`hh:mm:ss.mmm`, as in WebVTT."""
    minutes, ms = divmod(_ms(seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"


def to_webvtt(sentences: Iterable[TimedSentence]) -> str:
    """A WebVTT file."""
    return _webvtt(sentences, lambda text: html.escape(text, quote=False)).content.rstrip() + "\n"


def to_srt(sentences: Iterable[TimedSentence]) -> str:
    """An SRT file. The format can escape nothing: angle brackets, which players take for the start
    of a tag, become other ones."""
    out = io.StringIO()
    _webvtt(sentences, lambda text: text.translate(_OTHER_BRACKETS)).write(out, format="srt")
    return out.getvalue() + "\n"


def _webvtt(sentences: Iterable[TimedSentence], escape: Callable[[str], str]):
    with from_extra("corpora", "subtitles"):
        import webvtt
    file = webvtt.WebVTT()
    for cue in cues(sentences):
        times = (timestamp(ms / 1000) for ms in (cue.start_ms, cue.end_ms))
        file.captions.append(webvtt.Caption(*times, escape("\n".join(cue.lines))))
    return file


def to_elan(sentences: Iterable[TimedSentence], media: Path | None = None) -> str:
    """An ELAN file (.eaf): a tier of sentences and one a stream.

    Args:
      media: the video that was translated.
    """
    with from_extra("corpora", "ELAN files"):
        from pympi.Elan import Eaf, to_string
    file = Eaf(author="SignBind-JAX")
    file.remove_tier("default")
    if media is not None:
        mime_type = MIME_TYPES.get(media.suffix.lower(), _OTHER_VIDEO)
        file.add_linked_file(media.absolute().as_uri(), f"./{media.name}", mime_type)
    rows: dict[str, list[tuple[float, float, str]]] = {"sentence": []}
    for sentence in sentences:
        translation = sentence.translation
        rows["sentence"].append((sentence.start_s, sentence.end_s, translation.text))
        for name, tokens in translation.streams.items():
            rows.setdefault(name, []).extend((t.start, t.end, t.token) for t in tokens)
    for name, annotations in rows.items():
        file.add_tier(name)
        before = 0
        for start_s, end_s, text in annotations:
            start = max(_ms(start_s), before)  # those of a tier may not overlap
            before = max(_ms(end_s), start + 1)
            file.add_annotation(name, start, before, plain(text))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + to_string(file) + "\n"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
