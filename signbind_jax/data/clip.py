"""Clip: one recorded sentence, the unit every pipeline writes and every loader reads."""

from dataclasses import dataclass

import numpy as np

FINGERSPELLED_PREFIX = "fs-"
# Frames a second that a recording may state; whoever reads or writes a rate checks it.
FPS_RANGE = (1.0, 1000.0)


@dataclass(frozen=True)
class Clip:
    """One signed sentence with its modalities and labels.

    An absent modality is `None` (`pose`) or empty (`lips`), never zeros that look like
    data. Labels a corpus does not have are empty tuples.

    Attributes:
      id: unique within its dataset.
      text: the spoken-language sentence.
      text_language: BCP-47 tag of `text`, such as "en".
      signed_language: ISO 639-3 code, such as "ase"; may be empty.
      signer: the signer's name in the corpus; may be empty.
      pose: f16 (t, k, 3) in the canonical layout of `signbind_jax.keypoints`: x and y in
        units of shoulder widths about the mid-shoulder point of the clip (y grows
        downwards), and a confidence in 0..1. A missing keypoint is (0, 0, 0).
      pose_fps: pose frames a second, within `FPS_RANGE`; 0 where `pose` is absent.
      lips: grey mouth crops of the clip as one JPEG mosaic (see `signbind_jax.data.lips`);
        empty where absent.
      n_lip_frames: how many crops the mosaic holds.
      lip_fps: lip frames a second, within `FPS_RANGE`; 0 where `lips` is absent.
      gloss: what the hands sign, in order, fingerspelled words left out. Words that share
        hands share a gloss.
      spelled: the fingerspelled words, lower case, in order.
      phonemes: what is mouthed, in order (ARPAbet without stress).
      senses: the target of fusion, in order of time: one lemma a sign, words that share
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
    pose: np.ndarray | None = None
    pose_fps: float = 0.0
    lips: bytes = b""
    n_lip_frames: int = 0
    lip_fps: float = 0.0
    gloss: tuple[str, ...] = ()
    spelled: tuple[str, ...] = ()
    phonemes: tuple[str, ...] = ()
    senses: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    homonym_pairs: tuple[str, ...] = ()

    @property
    def n_pose_frames(self) -> int:
        """Pose frames t; 0 where the pose is absent."""
        return 0 if self.pose is None else int(self.pose.shape[0])
