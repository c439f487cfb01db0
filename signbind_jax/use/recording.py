"""A recording of any length: cut into sentences, each translated as a clip of its own.

Its landmarks are gone through twice, in windows: once for how active the hands are, and how likely
a segmenter finds that a sentence ends, of which one number a frame each is kept; and once for the
frames of the sentences. Neither grows with the recording.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signbind_jax import progress
from signbind_jax.data import lips
from signbind_jax.data.clip import Clip, Frames, exact, pose_frames
from signbind_jax.data_pipelines.readers.extracted import notes_of
from signbind_jax.data_pipelines.readers.long_recording import LongRecording, Window
from signbind_jax.data_pipelines.readers.poses import NoPerson, pose_of_fields
from signbind_jax.errors import SignBindError
from signbind_jax.use.boundaries import BoundaryReader
from signbind_jax.use.segments import SHORTEST_S, Cut, Segment, activity, context_frames, cut
from signbind_jax.use.subtitles import TimedSentence
from signbind_jax.use.translation import Translation
from signbind_jax.use.translator import Translator

WINDOW_FRAMES = 2048  # whose activity is measured at once: 80 s at 25 frames/s, 15 MB
GROUP = 32  # sentences that are translated at once


@dataclass
class Told:
    """What a user should know of a recording.

    Attributes:
      longest_s: what sentences may last.
      cut: where it was cut; None before that.
      learnt: whether a segmenter said where sentences end.
      repaired: what was repaired or assumed -> in how many sentences.
      no_input: stream -> sentences that lack what it is read from.
    """

    longest_s: float = 0.0
    cut: Cut | None = None
    learnt: bool = False
    repaired: Counter[str] = field(default_factory=Counter)
    no_input: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """One line a fact."""
        if self.cut is None:
            return []
        n = len(self.cut.segments)
        found = [f"{what}: {count} of {n} sentences" for what, count in self.repaired.items()]
        found += [f"{s}: no input in {k} of {n} sentences" for s, k in self.no_input.items()]
        if self.learnt:
            found.append(f"cut where the segmenter found a boundary: {self.cut.n_learnt} times")
        if self.cut.n_long:
            where = "likeliest boundaries" if self.learnt else "quietest moments"
            found.append(
                f"longer than {self.longest_s:.1f} s, cut at their {where} (--longest): "
                f"{self.cut.n_long} sentences"
            )
        if self.cut.n_short:
            found.append(f"left out, too short to be sentences: {self.cut.n_short} movements")
        if not n:
            found.append("no signing found: no hand that moves above the lap")
        return found


def translate_recording(
    translator: Translator,
    recording: LongRecording,
    longest_s: float | None,
    told: Told,
    segmenter: BoundaryReader | None = None,
) -> Iterator[TimedSentence]:
    """The sentences of a recording in order of time, as soon as each is written.

    Args:
      longest_s: of a sentence; longer ones are cut, see `segments.cut`. None: as long as the
        longest clip that the translator was trained on.
      told: gets what a user should know; complete once the last sentence is taken.
      segmenter: says where sentences end that no pause follows; None: it is cut at pauses alone.

    Raises:
      SignBindError: nobody is found in any frame, several people are found in one, a file is
        damaged.
    """
    told.longest_s = longest_s or max(translator.longest_s, 2 * SHORTEST_S)
    told.cut = cut_recording(recording, told.longest_s, segmenter)
    told.learnt = segmenter is not None
    found = _clips(recording, told.cut.segments, translator.reader.lip_size, told.repaired)
    name = recording.path.name
    groups = progress.seconds_shown(
        _grouped(found), f"translating {name}", recording.seconds, lambda g: g[-1][0].end_s
    )
    for group in groups:
        spans, clips = zip(*group, strict=True)
        for sentence in _translated(translator, spans, clips):
            told.no_input.update(sentence.translation.no_input)
            yield sentence


def cut_recording(
    recording: LongRecording, longest_s: float, segmenter: BoundaryReader | None = None
) -> Cut:
    """Where the sentences of a recording are; see `segments.cut`.

    Raises:
      SignBindError: as `translate_recording`.
    """
    active_t, somebody = np.zeros(recording.n_frames, np.float32), False
    boundary_t = None if segmenter is None else np.zeros(recording.n_frames, np.float32)
    around = context_frames(recording.fps)
    if segmenter:
        around = max(around, segmenter.context_frames(recording.fps))
    starts = range(0, recording.n_frames, WINDOW_FRAMES)
    spans = [(max(0, a - around), min(a + WINDOW_FRAMES + around, recording.n_frames))
             for a in starts]  # fmt: skip
    windows = zip(starts, spans, recording.windows(spans), strict=True)
    shown = progress.seconds_shown(
        windows,
        f"finding sentences in {recording.path.name}",
        recording.seconds,
        lambda window: window[1][1] / recording.fps,
    )
    for at, (start, _), window in shown:
        try:
            pose = pose_of_fields(window, recording.path)
        except NoPerson:
            continue
        somebody = True
        own = slice(at, min(at + WINDOW_FRAMES, recording.n_frames))
        within = slice(at - start, own.stop - start)
        active_t[own] = activity(pose.points, recording.fps)[within]
        if segmenter:
            boundary_t[own] = segmenter.probabilities(pose.points, recording.fps)[within]
    if not somebody:
        raise SignBindError(f"{recording.path}: found nobody in {recording.n_frames} frames")
    return cut(active_t, recording.fps, longest_s, boundary_t)


def clip_of(window: Window, recording: LongRecording, segment: Segment, lip_size: int | None):
    """The clip of the frames of a sentence, and what was repaired in it.

    Args:
      lip_size: side of the mouth crops in pixels; None: crops are not read.

    Raises:
      SignBindError: the frames are not those of a known scheme.
    """
    pose = pose_of_fields(window, recording.path)
    modalities: dict[str, Frames] = {"pose": pose_frames(pose.points, pose.fps)}
    if lip_size is not None and "lips" in window and window["lip_state"].any():
        crops_fhw, seen_f = window["lips"], window["lip_state"] > 0
        # As extraction fills them: a crop without a face is the clip's mean.
        crops_fhw[~seen_f] = crops_fhw[seen_f].mean(0).astype(np.uint8)
        modalities["lips"] = lips.lip_frames(lips.resize(crops_fhw, lip_size, lip_size), pose.fps)
    clip_id = f"{recording.path.stem} {segment.start_s:.2f}-{segment.end_s:.2f}"
    return Clip(clip_id, "", modalities=modalities), notes_of(pose)


def _clips(
    recording: LongRecording,
    segments: Sequence[Segment],
    lip_size: int | None,
    repaired: Counter[str],
) -> Iterator[tuple[Segment, Clip]]:
    spans = [segment.frames(recording.fps) for segment in segments]
    windows = recording.windows(spans, crops=lip_size is not None)
    for segment, window in zip(segments, windows, strict=True):
        clip, notes = clip_of(window, recording, segment, lip_size)
        repaired.update(notes.keys())
        yield segment, clip


def _grouped(found: Iterable[tuple[Segment, Clip]]) -> Iterator[list[tuple[Segment, Clip]]]:
    found = iter(found)
    while group := list(itertools.islice(found, GROUP)):
        yield group


def _translated(
    translator: Translator, segments: Sequence[Segment], clips: Sequence[Clip]
) -> Iterator[TimedSentence]:
    """The sentences of some clips, on the time axis of their recording."""
    written = translator.translate_clips(clips, one_recording=True)
    for (start_s, end_s), found in zip(segments, written, strict=True):
        yield TimedSentence(start_s, end_s, _later(found, start_s))


def _later(found: Translation, by_s: float) -> Translation:
    """A translation whose clip begins at `by_s`."""
    streams = {
        name: [t._replace(start=exact(t.start + by_s), end=exact(t.end + by_s)) for t in row]
        for name, row in found.streams.items()
    }
    words = [
        word
        if word.start_s is None
        else replace(word, start_s=exact(word.start_s + by_s), end_s=exact(word.end_s + by_s))
        for word in found.words
    ]
    return replace(found, streams=streams, words=words)
