"""Clip: one recorded sentence, the unit every pipeline writes and every loader reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten

FINGERSPELLED_PREFIX = "fs-"
# Frames a second that a recording may state; whoever reads or writes a rate checks it.
FPS_RANGE = (1.0, 1000.0)
TEXTS = ("id", "text", "text_language", "signed_language", "signer")
MODALITIES = {"pose": "pose_fps", "lips": "lip_fps"}  # and what files call the rate of each
TOKENS = ("gloss", "spelled", "phonemes", "fusion_targets", "contrasts", "homonym_pairs")

# Beyond these no recording of a sentence lies, only a damaged or hostile file.
MOST_FRAMES = 50_000  # half an hour, as much as is extracted; a sentence has hundreds
MOST_SECONDS = MOST_FRAMES / FPS_RANGE[0]
MOST_CHARACTERS = 100_000  # of a text, or of all tokens of a kind
# Of an id and of its parts between slashes: what file systems take, a suffix left for us.
_ID_BYTES, _PART_BYTES = 1000, 200


class Frames(NamedTuple):
    """The frames of one modality of a clip.

    Attributes:
      data: of "pose" f16 (t, k, 3) in the canonical layout of `signbind_jax.keypoints`: x and y
        in units of shoulder widths about the mid-shoulder point of the clip (y grows
        downwards), and a confidence in 0..1; a missing keypoint is (0, 0, 0). Of "lips" grey
        mouth crops as one JPEG mosaic (`signbind_jax.data.lips`). None where only the labels of
        a clip were read.
      fps: frames a second, within `FPS_RANGE`.
      n: how many frames.
    """

    data: np.ndarray | bytes | None
    fps: float
    n: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n / self.fps


class TimedToken(NamedTuple):
    """What was read in a clip and when: its text, start and end in seconds, confidence 0..1.

    Numbers are those of float32, as short as they can be written.
    """

    token: str
    start: float
    end: float
    confidence: float = 1.0

    @property
    def row(self) -> list:
        """As files hold it; without a confidence of 1."""
        return list(self if self.confidence != 1 else self[:3])


def exact(x: float) -> float:
    """The shortest number that float32 takes for `x`: what JSON holds of it comes back the same."""
    return float(str(np.float32(x)))


def pose_frames(points_tkc: np.ndarray, fps: float) -> Frames:
    """The frames of a pose f16 (t, k, 3)."""
    return Frames(points_tkc, fps, len(points_tkc))


@dataclass(frozen=True)
class Clip:
    """One signed sentence with its modalities and labels.

    An absent modality has no entry, never zeros that look like data. Labels a corpus does not
    have are empty tuples.

    Attributes:
      id: unique within its dataset.
      text: the spoken-language sentence.
      text_language: BCP-47 tag of `text`, such as "en".
      signed_language: ISO 639-3 code, such as "ase"; may be empty.
      signer: the signer's name in the corpus; may be empty.
      recording: the name of the recording that the clip is a span of; may be empty.
      start_s: where in it the clip begins, in seconds; None: not known.
      modalities: what was recorded, of `MODALITIES`, by name.
      gloss: what the hands sign, in order, fingerspelled words left out. Words that share
        hands share a gloss.
      spelled: the fingerspelled words, lower case, in order.
      phonemes: what is mouthed, in order (ARPAbet without stress).
      fusion_targets: the target of fusion, in order of time: one lemma a sign, words that share
        hands told apart, and fingerspelled words as "fs-anna".
      contrasts: sentences that are wrong for this clip and differ from `text` only in what
        time decides; empty outside the time splits of the synthetic corpus.
      homonym_pairs: "right/wrong" pairs of text words whose signs share hands, one for each
        such word of `text`; empty where a corpus does not say.
      streams: what recognisers read in it, by stream, in order of start; one that read nothing
        has an empty stream, one that never saw the clip none.
      seconds: duration of the clip that streams were read in; 0 where there are none.
    """

    id: str
    text: str
    text_language: str = ""
    signed_language: str = ""
    signer: str = ""
    modalities: Mapping[str, Frames] = field(default_factory=dict)
    gloss: tuple[str, ...] = ()
    spelled: tuple[str, ...] = ()
    phonemes: tuple[str, ...] = ()
    fusion_targets: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    homonym_pairs: tuple[str, ...] = ()
    streams: Mapping[str, tuple[TimedToken, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    recording: str = ""
    start_s: float | None = None

    def n_frames(self, modality: str) -> int:
        """Frames of a modality; 0 where it is absent."""
        return self.modalities[modality].n if modality in self.modalities else 0


def check_bounds(clip: Clip) -> None:
    """Whether frame rates, frame counts and lengths of text can be those of a recorded sentence.

    Raises:
      SignBindError: the field that cannot, what was found and what was wanted.
    """
    for name, frames in clip.modalities.items():
        if frames.fps and not FPS_RANGE[0] <= frames.fps <= FPS_RANGE[1]:
            raise SignBindError(
                f"{MODALITIES[name]}: found {frames.fps:g}, wanted {FPS_RANGE[0]:g} to "
                f"{FPS_RANGE[1]:g} frames a second"
            )
        if not 0 <= frames.n <= MOST_FRAMES:
            raise SignBindError(
                f"{name}: found {frames.n:,} frames, wanted at most {MOST_FRAMES:,}"
            )
    if not 0 <= clip.seconds <= MOST_SECONDS:
        raise SignBindError(f"seconds: found {clip.seconds:g}, wanted at most {MOST_SECONDS:g}")
    tokens = {name: getattr(clip, name) for name in TOKENS}
    tokens |= {f"stream {name}": [t.token for t in row] for name, row in clip.streams.items()}
    texts = (*TEXTS, "recording")
    for name, value in ({name: getattr(clip, name) for name in texts} | tokens).items():
        if value:
            n = len(value) if name in texts else sum(map(len, value)) + len(value)
            if n > MOST_CHARACTERS:
                raise SignBindError(
                    f"{name}: found {n:,} characters, wanted at most {MOST_CHARACTERS:,}"
                )


def check_timed_tokens(rows: object, last: float) -> None:
    """Whether the rows of a stream are `[token, start, end]` or `[token, start, end, confidence]`
    of a clip that ends at `last`, in seconds or frames.

    Raises:
      SignBindError: the first token that is not, what was found and what was wanted.
    """
    if type(rows) is not list:
        raise SignBindError(f"found {shorten(rows)}, wanted a list of tokens")
    before = 0
    for i, row in enumerate(rows):
        if type(row) is not list or len(row) not in (3, 4):
            raise SignBindError(
                f"token {i}: found {shorten(row)}, wanted [token, start, end] or "
                "[token, start, end, confidence]"
            )
        token, start, end, *confidence = row
        if type(token) is not str or not token.isprintable() or token.strip() != token or not token:
            raise SignBindError(
                f"token {i}: found {shorten(token)}, wanted printable text without spaces around it"
            )
        _check_number(f"token {i} {shorten(token)}: start", start, before, last, _STARTS)
        _check_number(f"token {i} {shorten(token)}: end", end, start, last, _ENDS)
        for share in confidence:
            _check_number(f"token {i} {shorten(token)}: confidence", share, 0, 1, "")
        before = start


_STARTS = ": tokens stand in order of their starts, within the clip"
_ENDS = ": from its start to the clip's end"


def _check_number(where: str, x: object, least: float, most: float, why: str) -> None:
    if type(x) not in (int, float) or not least <= x <= most:  # NaN is not
        raise SignBindError(
            f"{where}: found {shorten(x)}, wanted a number from {least:g} to {most:g}{why}"
        )


def check_id(clip_id: str) -> None:
    """Whether an id can be a file's name below any directory, and be printed.

    Raises:
      SignBindError: it cannot.
    """
    if not clip_id:
        raise SignBindError("id: found nothing, wanted a name that no other clip has")
    short = repr(clip_id if len(clip_id) <= 60 else clip_id[:57] + "...")
    parts = clip_id.split("/")
    if ".." in parts or parts[0] == "":
        raise SignBindError(f"id: {short} leaves the directory it is a file of")
    names = clip_id.isprintable() and not {"", "."} & set(parts)
    sizes = [len(part.encode()) for part in parts] if names else []
    if not names or max(sizes) > _PART_BYTES or sum(sizes) > _ID_BYTES:
        raise SignBindError(
            f"id: {short} cannot be a file's name: wanted printable characters, at most "
            f"{_PART_BYTES} bytes between slashes and {_ID_BYTES:,} in all"
        )
