"""Sentences of a recording from its subtitles: which cues are sentences, and under what ids."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from signbind_jax.data_pipelines.readers.subtitles import Cue, read_subtitles
from signbind_jax.data_pipelines.readers.timed_sentences import Sentence
from signbind_jax.errors import SignBindError

_OVERLAPS = "subtitle: overlaps the one before, both kept"
_NO_GLOSS = "gloss: nothing spotted in the sentence"
_TAG = re.compile(r"\[[^\[\]]*\]")


def sentences(
    video: str,
    path: Path,
    left_out: dict[str, list[str]],
    *,
    shift_ms: int = 0,
    fault: Callable[[Cue], str] = lambda cue: "",
    gloss: Callable[[Cue], tuple[str, ...]] | None = None,
) -> Iterator[Sentence]:
    """The sentences of a recording in order of time, ids VIDEO_START_END in milliseconds.

    The times in an id are those in the recording, shifted, so that a pose is never taken for a
    sentence at other times. Different texts at the very same times get "_2", "_3" behind it.

    Args:
      video: the recording's name.
      path: of its subtitles.
      left_out: reason -> ids; what is no sentence is added to it.
      shift_ms: added to all times; what would begin before the recording begins with it.
      fault: why a shifted cue is left out; "" where it is not.
      gloss: of a shifted cue, where there are glosses.
    """

    def leave_out(clip_id: str, reason: str) -> None:
        left_out.setdefault(reason, []).append(clip_id)

    try:
        cues, n_unreadable, n_rolled = read_subtitles(path)
    except SignBindError as error:
        leave_out(video, f"subtitles of the recording: {str(error).removeprefix(f'{path}: ')}")
        return
    for i in range(n_unreadable):
        leave_out(f"{video}: {i + 1}", "subtitle whose times cannot be read")
    if n_rolled:
        leave_out(f"{video}: {n_rolled}", "rolling captions that show a line again")
    texts_of: dict[str, list[str]] = {}
    shown_until = 0
    for cue in cues:
        cue = Cue(max(cue.start_ms + shift_ms, 0), max(cue.end_ms + shift_ms, 0), cue.text)
        clip_id = f"{video}_{cue.start_ms:08d}_{cue.end_ms:08d}"
        texts = texts_of.setdefault(clip_id, [])
        if cue.text in texts:
            leave_out(clip_id, "subtitle given twice")
            continue
        texts.append(cue.text)
        if len(texts) > 1:
            clip_id += f"_{len(texts)}"
        reason = _no_sentence(cue) or fault(cue)
        if reason:
            leave_out(clip_id, reason)
            continue
        notes = (_OVERLAPS,) if cue.start_ms < shown_until else ()
        shown_until = max(shown_until, cue.end_ms)
        words = () if gloss is None else gloss(cue)
        if gloss is not None and not words:
            notes += (_NO_GLOSS,)
        yield Sentence(clip_id, video, *cue, words, notes)


def outside(cue: Cue, shortest_s: float, longest_s: float) -> str:
    """Why a cue's duration is not wanted; empty where it is."""
    lasts_ms = cue.end_ms - cue.start_ms
    if lasts_ms < 1000 * shortest_s:
        return f"subtitle shorter than {shortest_s:g} s"
    if lasts_ms > 1000 * longest_s:
        return f"subtitle longer than {longest_s:g} s"
    return ""


def _no_sentence(cue: Cue) -> str:
    if cue.end_ms <= cue.start_ms:
        return "subtitle that does not end after it starts"
    if not re.search(r"\w", cue.text):
        return "subtitle without a word"
    if not re.search(r"\w", _TAG.sub("", cue.text)):
        return "subtitle that is only a [TAG]"
    return ""
