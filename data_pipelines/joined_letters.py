"""Fingerspelled words joined from recordings of single letters.

The words are synthetic: nobody signed them. Each letter comes from a recording of it, cut to what
lies between the hand's approach and retreat, played faster, and joined to the next by a
few interpolated frames. So the words show nothing of how letters change each other in fluent
spelling, and a score on them is a score on words nobody signed.

The letters lie in a folder corpus (`data_pipelines.folder`), a letter a clip, named in its column
`spelled`; of several recordings of a letter each word takes any. Three splits come of them:

- `train`: the recordings as they are, and words of random letters;
- `letters`: the recordings as they are, once more, to be scored on;
- `test`: names that the training words do not contain, from the same recordings.
"""

import dataclasses
import itertools
import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data_pipelines import folder
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, forwarded, read_clips
from signbind_jax.data_pipelines.readers.options import (
    add_directory,
    add_number,
    whole_number,
)
from signbind_jax.data_pipelines.synthetic import names
from signbind_jax.data_pipelines.writing.build_report import BuildReport
from signbind_jax.errors import SignBindError

STILL = 1.25  # shoulder widths a second: a hand that approaches or retreats moves faster
TEMPO = (1.5, 3.0)  # how much faster than recorded a letter is played, at least and at most
TRANSITION_S = (0.08, 0.2)  # seconds between two letters, at least and at most
WORD_LENGTHS = (2, 7)  # letters of a training word
_WORDS = partial(whole_number, least=0, most=1_000_000)
_SEEDS = partial(whole_number, least=0, most=2**63)


@dataclass(frozen=True)
class Letter:
    """A row: a recording of a letter, once more under another id where `suffix` is given."""

    letter: str
    number: int  # among the recordings of the letter
    clip_id: str
    suffix: str = ""

    @property
    def id(self) -> str:
        """The clip's id."""
        return self.clip_id + self.suffix


@dataclass(frozen=True)
class Word:
    """A row: a word to be joined."""

    word: str

    @property
    def id(self) -> str:
        """The clip's id."""
        return f"joined_{self.word}"


def open_corpus(source: Path, *, seed: int = 0, train: int = 500, test: int = 100) -> Corpus:
    """The splits of the module's docstring.

    Args:
      source: a folder corpus of letters by one signer.
      seed: of the words and of how they are joined.
      train, test: how many joined words.

    Raises:
      SignBindError: the folder corpus is wrong; several signers; fewer than two letters.
    """
    letters, left_out = read_letters(source)
    if len(letters) < 2:
        raise SignBindError(f"{source}: found {len(letters)} letters, wanted at least 2 to join")
    tested = _held_out_words(letters, test, seed)
    trained = _training_words(letters, train, seed, tested)
    recorded = [
        Letter(letter, number, read.clip.id)
        for letter, recordings in letters.items()
        for number, read in enumerate(recordings)
    ]
    splits = {
        "train": [*recorded, *map(Word, trained)],
        "letters": [dataclasses.replace(row, suffix="_recorded") for row in recorded],
        "test": list(map(Word, tested)),
    }
    record = {
        "corpus": "joined_letters",
        "synthetic": True,
        "seed": seed,
        "train": train,
        "test": test,
        "directory": str(Path(source).absolute()),
    }
    return Corpus(splits, partial(_read, letters, seed), record, left_out)


def add_arguments(parser) -> None:
    """Options of `signbind data build joined_letters`."""
    source = "a folder corpus of letters by one signer"
    add_directory(parser, "source", source, required=True)
    add_number(parser, "seed", _SEEDS, 0, "SEED", "of the words")
    add_number(parser, "train", _WORDS, 500, "WORDS", "joined words in train")
    add_number(parser, "test", _WORDS, 100, "WORDS", "joined words in test")


from_arguments = forwarded(open_corpus)


def _read(letters: Mapping[str, Sequence[ReadResult]], seed: int, row: Letter | Word) -> ReadResult:
    if isinstance(row, Letter):
        clip, repaired = letters[row.letter][row.number]
        return ReadResult(dataclasses.replace(clip, id=row.id), repaired)
    clips = {letter: [read.clip for read in letters[letter]] for letter in set(row.word)}
    return ReadResult(join(clips, row.word, seed))


def read_letters(source: Path) -> tuple[dict[str, list[ReadResult]], dict[str, list[str]]]:
    """Letter -> its recordings, from a folder corpus; and the clips left out, by reason.

    Raises:
      SignBindError: the folder corpus is wrong, or has several signers.
    """
    corpus = folder.open_corpus(source)
    letters: dict[str, list[ReadResult]] = {}
    signer = None
    report, repaired = BuildReport(), {}

    def read(row: folder.ManifestRow) -> ReadResult:
        result = corpus.read(row)
        repaired[row.id] = result.repaired
        return result

    rows = itertools.chain.from_iterable(corpus.splits.values())
    for clip in read_clips(rows, read, report):
        if "pose" not in clip.modalities or len(clip.spelled) != 1 or len(clip.spelled[0]) != 1:
            report.leave_out(clip.id, "not the pose of one letter")
            continue
        if clip.signer != (signer := clip.signer if signer is None else signer):
            raise SignBindError(
                f"{source}: signer: found {signer!r} and {clip.signer!r} ({clip.id}), wanted one: "
                "a word joined from two would be nobody's"
            )
        letters.setdefault(clip.spelled[0], []).append(ReadResult(clip, repaired[clip.id]))
    return letters, report.left_out


def join(letter_clips: Mapping[str, Sequence[Clip]], word: str, seed: int) -> Clip:
    """A synthetic clip of a word, its letters joined from their recordings.

    Which recording of a letter it is, and how fast each letter and each transition, follows from
    `seed` and the word alone.

    Args:
      letter_clips: letter -> its recordings, all at one frame rate.
      word: of letters that are there. No letter may follow itself: signers slide or bounce a
        doubled letter, which recordings of single letters do not show.
      seed: of the tempi.

    Raises:
      SignBindError: an empty word; a letter that is missing or doubled; another frame rate.
    """
    _check(word, letter_clips)
    rng = np.random.default_rng([seed, zlib.crc32(word.encode())])
    clips = [_any(letter_clips[letter], rng) for letter in word]
    fps = clips[0].modalities["pose"].fps
    parts: list[np.ndarray] = []
    for clip in clips:
        tempo = rng.uniform(*TEMPO)
        held_tkc = held_part(clip)
        played_tkc = _resample(held_tkc, max(round(len(held_tkc) / tempo), 2))
        if parts:
            n_between = max(round(rng.uniform(*TRANSITION_S) * fps), 1)
            ends_tkc = np.stack([parts[-1][-1], played_tkc[0]])
            parts.append(_resample(ends_tkc, n_between + 2)[1:-1])
        parts.append(played_tkc)
    modalities = clips[0].modalities | {
        "pose": pose_frames(np.concatenate(parts).astype(np.float16), fps)
    }
    return dataclasses.replace(
        clips[0], id=Word(word).id, text=word, modalities=modalities, spelled=(word,)
    )


def _any(clips: Sequence[Clip], rng: np.random.Generator) -> Clip:
    return clips[rng.integers(len(clips))] if len(clips) > 1 else clips[0]


def held_part(clip: Clip) -> np.ndarray:
    """The pose between the signing hand's approach and its retreat, float32 (t, 91, 3).

    From the first to the last frame in which the hand moves slower than `STILL`; a movement
    in between, as in J and Z, stays. The signing hand is the one that is seen in more frames.
    """
    pose = clip.modalities["pose"]
    pose_tkc = pose.data.astype(np.float32)
    hands = (pose_tkc[:, keypoints.LEFT_HAND_SLICE], pose_tkc[:, keypoints.RIGHT_HAND_SLICE])
    hand_tkc = max(hands, key=lambda x_tkc: (x_tkc[..., 2] > 0).sum())
    seen_tk = (hand_tkc[1:, :, 2] > 0) & (hand_tkc[:-1, :, 2] > 0)
    step_tk = np.linalg.norm(np.diff(hand_tkc[..., :2], axis=0), axis=-1) * seen_tk
    n_seen_t = seen_tk.sum(axis=1)
    speed_t = pose.fps * step_tk.sum(axis=1) / np.maximum(n_seen_t, 1)
    still_t = np.flatnonzero((n_seen_t > 0) & (speed_t < STILL)) + 1
    return pose_tkc[still_t[0] : still_t[-1] + 1] if len(still_t) else pose_tkc


def _resample(pose_tkc: np.ndarray, n_frames: int) -> np.ndarray:
    """The same movement in `n_frames` frames, interpolated; a keypoint that is missing on one
    side of a new frame is taken from the nearer side, never mixed with zeros."""
    position_n = np.linspace(0, len(pose_tkc) - 1, n_frames)
    low_n = np.floor(position_n).astype(int)
    high_n = np.minimum(low_n + 1, len(pose_tkc) - 1)
    share_n11 = (position_n - low_n)[:, None, None]
    low_nkc, high_nkc = pose_tkc[low_n], pose_tkc[high_n]
    both_nk1 = (low_nkc[..., 2:] > 0) & (high_nkc[..., 2:] > 0)
    nearer_nkc = np.where(share_n11 < 0.5, low_nkc, high_nkc)
    return np.where(both_nk1, low_nkc + share_n11 * (high_nkc - low_nkc), nearer_nkc)


def _check(word: str, letter_clips: Mapping[str, Sequence[Clip]]) -> None:
    missing = sorted(set(word) - set(letter_clips))
    if missing or not word:
        raise SignBindError(
            f"word {word!r}: found no recording of {''.join(missing) or 'it'!r}, "
            f"wanted letters of {''.join(sorted(letter_clips))}"
        )
    if _has_doubled_letter(word):
        raise SignBindError(
            f"word {word!r}: found a doubled letter, wanted none: recordings of "
            "single letters do not show how it is spelled"
        )
    rates = {clip.modalities["pose"].fps for letter in word for clip in letter_clips[letter]}
    if len(rates) > 1:
        raise SignBindError(
            f"word {word!r}: pose_fps: found letters at {sorted(rates)}, wanted one frame rate"
        )


def _has_doubled_letter(word: str) -> bool:
    return any(a == b for a, b in zip(word, word[1:], strict=False))


def _held_out_words(letters: Iterable[str], n: int, seed: int) -> list[str]:
    """Names that no training split of the synthetic corpus uses, of the letters there are."""
    rng = random.Random(f"held-out {seed}")
    words: dict[str, None] = {}
    for _ in range(1000 * n):
        if len(words) == n:
            return list(words)
        word = names.name(rng, "test")
        if set(word) <= set(letters) and not _has_doubled_letter(word):
            words[word] = None
    raise SignBindError(
        f"found {len(words)} names of the letters {''.join(sorted(letters))}, "
        f"wanted {n}: ask for a smaller --test"
    )


def _training_words(letters: Iterable[str], n: int, seed: int, tested: Iterable[str]) -> list[str]:
    """Random letters, each as often as any other: nothing of a word can be guessed."""
    rng = random.Random(f"train {seed}")
    alphabet, taken = sorted(letters), set(tested)
    words: dict[str, None] = {}
    for _ in range(1000 * n):
        if len(words) == n:
            break
        word = rng.choice(alphabet)
        for _ in range(rng.randint(*WORD_LENGTHS) - 1):
            word += rng.choice([letter for letter in alphabet if letter != word[-1]])
        if word not in taken:
            words[word] = None
    return list(words)
