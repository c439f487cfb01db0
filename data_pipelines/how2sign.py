"""How2Sign: American Sign Language to English, instructional videos.

--source holds the re-aligned lists, tab-separated with CSV quoting, as they are released:

    how2sign_realigned_train.csv  how2sign_realigned_val.csv  how2sign_realigned_test.csv

or the tree that the release's download script makes (sentence_level/...). Where there are none,
the labels that Uni-Sign releases are read (labels.train, labels.dev, labels.test). A list that is
missing leaves its split out. Clips are named by SENTENCE_NAME.

--poses holds keypoints in one of three forms:

- openpose: the released ones, openpose_output/json/<SENTENCE_NAME>/*_keypoints.json, or
  directories train, val, test (train_2D_keypoints, ...) with it. Frame rates are read from
  openpose_output/video/<SENTENCE_NAME>.mp4; without it 24 frames a second are taken.
- rtmpose: <SENTENCE_NAME>.pkl as Uni-Sign releases them.
- extracted: what signbind extract wrote, or .pose files, <SENTENCE_NAME>.npz or .pose.

--videos holds the full videos, <VIDEO_NAME>.mp4, which signbind extract cuts at START_REALIGNED
and END_REALIGNED. The released clips are cut at the times of the unaligned lists.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from signbind_jax.data.clip import Clip
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult, Recording, forwarded
from signbind_jax.data_pipelines.how2sign_poses import (
    FORMS,
    Poses,
    find_poses,
    forms_in,
    video_seconds,
)
from signbind_jax.data_pipelines.how2sign_sentences import SPLITS, Sentence, read_sentences
from signbind_jax.data_pipelines.readers.options import (
    LIP_SIZE,
    add_directory,
    add_lip_size,
    frames_a_second,
)
from signbind_jax.errors import SignBindError

PUBLISHED = {"train": 31165, "validation": 1741, "test": 2357}  # rows of the re-aligned lists
LICENCE = "CC BY-NC 4.0"
CITATION = (
    "Duarte et al., How2Sign: A Large-scale Multimodal Dataset for Continuous American Sign "
    "Language, CVPR 2021"
)
SHORT_S = 0.2  # seconds; a shorter span holds a few frames
APART_S = 0.5  # seconds by which a pose may be longer or shorter than its span


@dataclass(frozen=True)
class Videos:
    """Where the full videos are.

    Attributes:
      roots: split -> directories in which they are looked up, in order.
    """

    roots: dict[str, tuple[Path, ...]]

    def of(self, sentence: Sentence) -> Path | None:
        """The video that a sentence's times are of; None where it is not there."""
        names = (root / f"{sentence.video}.mp4" for root in self.roots[sentence.split])
        return next((path for path in names if sentence.video and path.is_file()), None)


def open_corpus(
    source: Path,
    *,
    poses: Path | None = None,
    pose_form: str = "",
    videos: Path | None = None,
    fps: float = 0.0,
    lip_size: int = LIP_SIZE,
) -> Corpus:
    """How2Sign, its sentences in the order of its lists.

    Args:
      source: see the module's docstring.
      poses: the keypoints; `source` where it holds some.
      pose_form: one of `FORMS`; empty for the one that is there.
      videos: the full videos.
      fps: frames a second of openpose and rtmpose keypoints; 0 for what the release says.
      lip_size: side of the mouth crops of extracted poses in pixels.

    Raises:
      SignBindError: no lists, poses or videos where they should be; a list in another format.
    """
    source = Path(source)
    sentences = read_sentences(source)
    if poses is None and (pose_form or forms_in(source)):
        poses = source
    found = None if poses is None else find_poses(poses, pose_form, fps, lip_size)
    full = None if videos is None else _videos(Path(videos), sentences.splits)
    record = {
        "corpus": "how2sign",
        "synthetic": False,
        "licence": LICENCE,
        "citation": CITATION,
        "directory": str(source.absolute()),
        "sentences": sentences.kind,
        "poses": str(Path(poses).absolute()) if poses else "",
        "pose_form": found.form if found else "",
        "fps": fps,
        "lip_size": lip_size,
        "videos": str(Path(videos).absolute()) if videos else "",
    }
    return Corpus(
        sentences.splits,
        partial(_read, found, full),
        record,
        sentences.left_out,
        PUBLISHED,
        partial(_recording, full),
    )


def add_arguments(parser) -> None:
    """Options of `signbind data build how2sign`."""
    add_directory(parser, "source", "the re-aligned lists of sentences", required=True)
    add_directory(parser, "poses", "the keypoints (default: those under --source)")
    form = "which keypoints, where --poses holds several forms"
    parser.add_argument("--pose_form", choices=FORMS, default="", help=form)
    add_directory(parser, "videos", "the full videos")
    parser.add_argument(
        "--fps",
        type=frames_a_second,
        default=0.0,
        metavar="N",
        help="frames a second of openpose and rtmpose keypoints (default: what "
        "the release says, else 24)",
    )
    add_lip_size(parser)


from_arguments = forwarded(open_corpus)


def _read(poses: Poses | None, videos: Videos | None, sentence: Sentence) -> ReadResult:
    """The clip of a sentence, and what was mended or is odd.

    Raises:
      SignBindError: with the reason why there is no clip.
    """
    if poses is None:
        raise SignBindError("no poses: give --poses, or extract them first (signbind extract)")
    modalities, repaired = poses.read(sentence.id, sentence.split)
    clip = Clip(
        id=sentence.id,
        text=sentence.text,
        text_language="en",
        signed_language="ase",
        signer=sentence.signer,
        gloss=sentence.gloss,
        modalities=modalities,
        recording=sentence.video,
        start_s=sentence.start_s if sentence.start_s >= 0 else None,  # NaN is not
    )
    odd = [*sentence.mended, *_oddities(sentence, modalities["pose"].seconds, videos)]
    return ReadResult(clip, repaired | dict.fromkeys(odd, 1))


def _oddities(sentence: Sentence, pose_s: float, videos: Videos | None) -> Iterator[str]:
    """What is to be counted of a sentence's name and times."""
    if not sentence.signer:
        yield "SENTENCE_NAME: no signer's number before -rgb"
    if math.isnan(sentence.seconds):
        return
    if sentence.seconds <= 0:
        yield "END_REALIGNED: not after START_REALIGNED"
        return
    if sentence.seconds < SHORT_S:
        yield f"START_REALIGNED to END_REALIGNED: under {SHORT_S} s"
    if abs(pose_s - sentence.seconds) > APART_S:
        yield f"pose: over {APART_S} s longer or shorter than START_REALIGNED to END_REALIGNED"
    video = videos and videos.of(sentence)
    if video and 0 < (length_s := _seconds_of(video)) < sentence.end_s:
        started = sentence.start_s < length_s
        yield f"{'END_REALIGNED' if started else 'START_REALIGNED'}: past the end of the video"


@functools.lru_cache(maxsize=16)  # sentences of a video follow each other
def _seconds_of(video: Path) -> float:
    return video_seconds(video)


def _recording(videos: Videos | None, sentence: Sentence) -> Recording | None:
    video = videos and videos.of(sentence)
    if not video or not sentence.seconds > 0:
        return None
    return Recording(video, sentence.start_s, sentence.end_s)


def _videos(directory: Path, splits: dict[str, list[Sentence]]) -> Videos:
    """The full videos under a directory.

    Raises:
      SignBindError: not one of them is there.
    """
    if not directory.is_dir():
        raise SignBindError(f"{directory}: found no such directory, wanted that of the full videos")
    roots = {
        split: tuple(filter(Path.is_dir, _video_homes(directory, released)))
        for split, released in SPLITS.items()
    }
    videos = Videos(roots)
    every = [sentence for sentences in splits.values() for sentence in sentences]
    if not any(videos.of(sentence) for sentence in every):
        wanted = next((sentence.video for sentence in every if sentence.video), "<VIDEO_NAME>")
        clips = any(
            (root / f"{sentence.id}.mp4").is_file()
            for sentence in every[:1000]
            for root in roots[sentence.split]
        )
        what = "only clips, which are cut at unaligned times" if clips else "none of the videos"
        raise SignBindError(
            f"{directory}: found {what}, wanted the full videos such as {wanted}.mp4"
        )
    return videos


def _video_homes(directory: Path, released: str) -> Iterator[Path]:
    homes = (
        directory,
        directory / released,
        directory / released / "rgb_front",
        directory / "video_level" / released / "rgb_front",
    )
    for home in homes:
        yield home
        yield home / "raw_videos"
