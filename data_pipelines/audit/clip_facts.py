"""What the audit keeps of one clip: a row of numbers, whatever the clip's length."""

import collections
import hashlib
from dataclasses import dataclass, field

import numpy as np

from signbind_jax import ctc, keypoints, streams
from signbind_jax.data import labels
from signbind_jax.data.clip import MODALITIES, Clip
from signbind_jax.data.lips import decode_mosaic

VOCABULARIES = ("gloss", "phonemes", "fusion_targets")  # letters have a fixed alphabet
FAR = 4.0  # shoulder widths: a stretched arm ends at about 2.5 from the neck

_HANDS = slice(keypoints.LEFT_HAND_SLICE.start, keypoints.RIGHT_HAND_SLICE.stop)
_BODY_AND_HANDS = np.r_[keypoints.BODY_SLICE, _HANDS]

# Labels: of every clip. Arrays: where `read`, and NaN or 0 where the modality is absent.
_FACTS = [
    ("pose_frames", "i4"),
    ("lip_frames", "i4"),
    ("pose_fps", "f8"),
    ("lip_fps", "f8"),
    ("words", "i4"),
    ("has_text_language", "?"),
    ("has_signed_language", "?"),
    ("has_signer", "?"),
    ("text", "u8"),
    ("text_and_signer", "u8"),  # digests; 0 where there is none
    ("read", "?"),
    ("unreadable", "?"),
    ("pose", "u8"),
    ("lips", "u8"),  # digests
    ("handless", "f4"),  # share of frames without a point of either hand
    ("confidence", "f4"),  # mean over the points of body and hands that were seen
    ("far", "f4"),  # share of the points seen that lie beyond FAR
    ("frozen", "f4"),  # share of frames equal to the one before
    ("given_s", "f4"),  # duration that came with streams, 0 where there are none
    ("given", "i4"),
    ("empty", "i4"),  # streams that came with the clip, and those of them without a token
    ("silence", "f4"),  # seconds without a token, the longest of any stream that has some
    ("past_end", "f4"),  # seconds from the end of pose or lips to that of the last token
    ("lip_motion", "f4"),  # grey levels: a pixel's standard deviation over time, mean over pixels
]


def facts_type() -> np.dtype:
    """The columns of a clip's row; `steps_<target>` holds the CTC steps that a target needs."""
    targets = dict.fromkeys(spec.target for spec in streams.specs())
    return np.dtype([*_FACTS, *((f"steps_{target}", "i4") for target in targets)])


@dataclass
class Tally:
    """Counts over clips that no fixed number of columns holds.

    Attributes:
      signers, text_languages, signed_languages: name -> clips.
      tokens: kind of target, or vocabulary of a stream that came with clips -> token -> times.
      streams: (stream that came with clips, what) -> how much; see `given_streams`.
      spoken_words: words of text with a dictionary for its language, occurrences in all.
      unspoken_words: those of them that the dictionary lacks -> occurrences.
      without_dictionary: stated language without a dictionary -> clips.
      spelled_letters: characters of spelled words, in all.
      unspelled_letters: those of them outside the alphabet -> occurrences.
      lip_sizes: (height, width) in pixels -> clips.
      unreadable: place of a clip in its split -> why it cannot be read.
    """

    signers: collections.Counter = field(default_factory=collections.Counter)
    text_languages: collections.Counter = field(default_factory=collections.Counter)
    signed_languages: collections.Counter = field(default_factory=collections.Counter)
    tokens: dict[str, collections.Counter] = field(
        default_factory=lambda: {kind: collections.Counter() for kind in VOCABULARIES}
    )
    streams: collections.Counter = field(default_factory=collections.Counter)
    spoken_words: int = 0
    unspoken_words: collections.Counter = field(default_factory=collections.Counter)
    without_dictionary: collections.Counter = field(default_factory=collections.Counter)
    spelled_letters: int = 0
    unspelled_letters: collections.Counter = field(default_factory=collections.Counter)
    lip_sizes: collections.Counter = field(default_factory=collections.Counter)
    unreadable: dict[int, str] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Adds the counts of another tally."""
        for kind, counts in other.tokens.items():
            self.tokens.setdefault(kind, collections.Counter()).update(counts)
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + theirs)
            elif name != "tokens":
                mine.update(theirs)


def note_labels(clip: Clip, labelled: frozenset[str], row: np.void, tally: Tally) -> None:
    """Notes what a clip's labels say in its row and in the tally.

    Args:
      clip: its arrays are not looked at.
      labelled: kinds of labels that the corpus has (`labels.labelled`).
    """
    for name, frames in clip.modalities.items():
        row[MODALITIES[name]] = frames.fps
    row["words"] = len(labels.words_of(clip.text))
    for name in ("text_language", "signed_language", "signer"):
        row[f"has_{name}"] = bool(getattr(clip, name))
    text = clip.text.strip()
    if text:
        row["text"] = _digest(text.encode())
        if clip.signer:
            row["text_and_signer"] = _digest(f"{clip.signer}\0{text}".encode())
    _note_streams(clip, row, tally)
    targets = labels.targets(clip, labelled)
    for spec in streams.specs():
        row[f"steps_{spec.target}"] = ctc.min_steps(targets[spec.target])
    for kind in VOCABULARIES:
        tally.tokens[kind].update(targets[kind])
    tally.signers[clip.signer] += 1
    tally.text_languages[clip.text_language] += 1
    tally.signed_languages[clip.signed_language] += 1
    unspelled = labels.unknown_letters(clip.spelled)
    tally.unspelled_letters.update(unspelled)
    tally.spelled_letters += len(targets["letters"]) + len(unspelled)
    if labels.has_pronunciations(clip.text_language):
        spoken, unspoken = labels.phonemes(clip.text, clip.text_language)
        if targets["phonemes"] or not spoken:  # else none are derived from this text
            tally.spoken_words += int(row["words"])
            tally.unspoken_words.update(unspoken)
    elif clip.text_language:
        tally.without_dictionary[clip.text_language] += 1


def _note_streams(clip: Clip, row: np.void, tally: Tally) -> None:
    row["given_s"] = clip.seconds
    row["given"], row["empty"] = len(clip.streams), 0
    ends = []
    for name, read in clip.streams.items():
        known = tally.tokens.setdefault(streams.given_vocabulary(name), collections.Counter())
        known.update(t.token for t in read)
        covered_s, silence_s, end = _times(clip, name)
        tally.streams[name, "clips"] += 1
        tally.streams[name, "seconds"] += clip.seconds
        tally.streams[name, "covered"] += covered_s
        row["empty"] += not read
        if read:
            ends.append(end)
            row["silence"] = np.fmax(row["silence"], silence_s)
    if ends and clip.modalities:
        row["past_end"] = max(ends) - min(frames.seconds for frames in clip.modalities.values())


def _times(clip: Clip, name: str) -> tuple[float, float, float]:
    """Seconds in which a stream has a token, its longest silence, and its last end."""
    covered_s = silence_s = end = 0.0
    for token in clip.streams[name]:  # in order of start, and may overlap
        silence_s = max(silence_s, token.start - end)
        covered_s += max(token.end - max(token.start, end), 0.0)
        end = max(end, token.end)
    return covered_s, max(silence_s, clip.seconds - end), end


def note_arrays(clip: Clip, row: np.void, tally: Tally) -> None:
    """Notes what a clip's pose and mouth crops are like.

    Raises:
      SignBindError: the mouth crops cannot be decoded.
    """
    if lips := clip.modalities.get("lips"):
        crops_fhw = decode_mosaic(lips.data, lips.n)
        tally.lip_sizes[crops_fhw.shape[1:]] += 1
        row["lips"] = _digest(lips.data)
        row["lip_motion"] = crops_fhw.std(axis=0, dtype=np.float32).mean()
    if pose := clip.modalities.get("pose"):
        row["pose"] = _digest(np.ascontiguousarray(pose.data).tobytes())
        points_tkc = pose.data.astype(np.float32)
        seen_tk = points_tkc[..., 2] > 0
        row["handless"] = 1 - seen_tk[:, _HANDS].any(axis=1).mean()
        sure = points_tkc[:, _BODY_AND_HANDS, 2][seen_tk[:, _BODY_AND_HANDS]]
        row["confidence"] = sure.mean() if sure.size else 0
        if seen_tk.any():
            row["far"] = (np.abs(points_tkc[..., :2]).max(axis=-1)[seen_tk] > FAR).mean()
        if len(points_tkc) > 1:
            row["frozen"] = (points_tkc[1:] == points_tkc[:-1]).all(axis=(1, 2)).mean()
    row["read"] = True


def blank_facts(n_clips: int) -> np.ndarray:
    """Rows of clips of which nothing is known yet."""
    facts = np.zeros(n_clips, facts_type())
    for name in ("handless", "confidence", "far", "frozen", "lip_motion", "silence", "past_end"):
        facts[name] = np.nan
    return facts


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
