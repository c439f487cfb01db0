"""Clip: one recorded sentence, the unit every pipeline writes and every loader reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from signbind_jax.errors import SignBindError

FINGERSPELLED_PREFIX = "fs-"
# Frames a second that a recording may state; whoever reads or writes a rate checks it.
FPS_RANGE = (1.0, 1000.0)
TEXTS = ("id", "text", "text_language", "signed_language", "signer")
MODALITIES = {"pose": "pose_fps", "lips": "lip_fps"}  # and what files call the rate of each
TOKENS = ("gloss", "spelled", "phonemes", "fusion_targets", "contrasts", "homonym_pairs")

# Beyond these no recording of a sentence lies, only a damaged or hostile file.
MOST_FRAMES = 50_000  # half an hour, as much as is extracted; a sentence has hundreds
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
    for name in (*TEXTS, *TOKENS):
        if value := getattr(clip, name):
            n = len(value) if name in TEXTS else sum(map(len, value)) + len(value)
            if n > MOST_CHARACTERS:
                raise SignBindError(
                    f"{name}: found {n:,} characters, wanted at most {MOST_CHARACTERS:,}"
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
