"""YouTube-ASL: a list of videos, whose captions you have fetched.

--source is a directory in one of two forms:

  youtube-asl_youtube_asl_video_ids.txt   any *video_ids*.txt, one id a line
  captions/ID.en.vtt                      or subtitles/, or beside the list; as yt-dlp names them:
                                          ID.LANGUAGE.vtt, ID.vtt, "TITLE [ID].LANGUAGE.vtt"
  videos/ID.mp4                           for extraction alone

  YouTubeASL.annotation.train.json        any *annotation*.json, as T5_for_SLT has them:
                                          {ID: {clip_order: [CLIP, ...], CLIP: {translation}}}
  keypoints/YouTubeASL.keypoints.train.json and .train.0.h5, ...
                                          features ID/CLIP; see `readers.slt_features`

Of several captions of a video those in en are taken, then en-US, en-GB, other en-XX, no language,
en-TRACK, ase, and automatic ones (en-orig) last. A clip is one caption; its id is ID_START_END in
milliseconds. In the second form its id is CLIP, or ID/CLIP where CLIP does not begin with ID.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from signbind_jax import files
from signbind_jax.data_pipelines.corpus import Corpus
from signbind_jax.data_pipelines.readers import slt_features
from signbind_jax.data_pipelines.readers.directories import (
    check_directories,
    first_directory,
    inside,
    not_the_corpus,
)
from signbind_jax.data_pipelines.readers.layout import sayable
from signbind_jax.data_pipelines.readers.options import (
    add_directory,
    add_number,
    duration,
    whole_number,
)
from signbind_jax.data_pipelines.readers.subtitled import outside, sentences
from signbind_jax.data_pipelines.readers.subtitles import Cue
from signbind_jax.data_pipelines.readers.timed_sentences import (
    NO_POSES,
    PoseSource,
    Sentence,
    add_pose_arguments,
    poses_from,
    recording_of,
    timed_corpus,
)
from signbind_jax.errors import SignBindError

PUBLISHED_CAPTIONS = 610_193
CITATION = (
    "Uthus, Tanzer, Georg: YouTube-ASL: A Large-Scale, Open-Domain American Sign Language-English "
    "Parallel Corpus. arXiv 2306.15162, 2023"
)
_DEAD = "no captions: the video is gone or its captions were not fetched"
_NOT_ENGLISH = "captions, but none in English"
_ID = re.compile(r"[\w-]{11}", re.ASCII)
_CAPTIONS = re.compile(
    r"(?:.* \[)?(?P<id>[\w-]{11})\]?(?:\.(?P<language>[A-Za-z][\w-]*))?\.vtt", re.ASCII
)
_LANGUAGES = (r"en", r"en-US", r"en-GB", r"en-[A-Z]{2}", r"", r"en-(?!orig).*", r"ase", r"en-orig")


@dataclass(frozen=True)
class Options:
    """Which captions are sentences; the defaults are those of public preprocessing.

    Attributes:
      shortest_s, longest_s: duration.
      most_characters: longest text.
    """

    shortest_s: float = 0.2
    longest_s: float = 60.0
    most_characters: int = 300


DEFAULTS = Options()


def add_arguments(parser) -> None:
    """Options of `signbind data build youtube_asl`."""
    add_directory(parser, "source", "list and captions", required=True)
    add_pose_arguments(parser)
    parser.add_argument(
        "--ids",
        nargs="+",
        default=[],
        metavar="[SPLIT=]FILE",
        help="lists of videos, one id a line, of the split train where none is named; a video is "
        "in one list (default: *video_ids*.txt in --source)",
    )
    add_directory(parser, "captions", "captions, where not in --source")
    add_directory(parser, "videos", "videos, where not in videos/")
    for name, default in (("shortest", 0.2), ("longest", 60.0)):
        text = f"{name} caption that is a sentence"
        add_number(parser, name, duration, default, "SECONDS", text)
    characters = partial(whole_number, least=1, most=10**6)
    text = "longest text that is a sentence"
    add_number(parser, "most_characters", characters, 300, "N", text)
    slt_features.add_arguments(parser)


def from_arguments(arguments) -> Corpus:
    """The corpus that parsed arguments ask for."""
    poses = poses_from(arguments)
    if not arguments.ids and slt_features.is_root(arguments.source):
        if _lists_in(arguments.source):
            raise SignBindError(
                f"{arguments.source}: found a list of video ids and annotations, wanted one of "
                "them: name the list with --ids, or move it elsewhere"
            )
        return slt_features.open_corpus(
            arguments.source, poses, arguments.keypoints, arguments.fps, CITATION
        )
    options = Options(arguments.shortest, arguments.longest, arguments.most_characters)
    return open_corpus(
        arguments.source,
        poses,
        options,
        ids=arguments.ids,
        captions=arguments.captions,
        videos=arguments.videos,
    )


def open_corpus(
    source: Path,
    poses: PoseSource = NO_POSES,
    options: Options = DEFAULTS,
    *,
    ids: Sequence[str] = (),
    captions: Path | None = None,
    videos: Path | None = None,
) -> Corpus:
    """Listed videos with captions, rows in the order of the lists and of time.

    Args:
      ids: lists as --ids names them.

    Raises:
      SignBindError: no list; a list that cannot be read; a video in two lists.
    """
    check_directories(captions=captions, videos=videos)
    left_out: dict[str, list[str]] = {}
    lists = _lists(source, ids, left_out)
    captions = captions or first_directory(source, ("captions", "subtitles")) or source
    videos = videos or first_directory(source, ("videos",))
    file_of, other = _caption_files(captions)
    rows: dict[str, list[Sentence]] = {}
    for split, names in lists.items():
        rows[split] = []
        for name in names:
            path = inside(captions, file_of[name]) if name in file_of else None
            if path is None:
                left_out.setdefault(_NOT_ENGLISH if name in other else _DEAD, []).append(name)
                continue
            rows[split] += sentences(name, path, left_out, fault=partial(_fault, options))
    return timed_corpus(
        {"corpus": "youtube_asl", "citation": CITATION, **asdict(options)},
        source,
        rows,
        left_out,
        poses,
        signed_language="ase",
        recording=partial(recording_of, videos=videos, padding_s=poses.padding_s),
        videos=videos is not None,
        published={} if ids else {"train": PUBLISHED_CAPTIONS},
    )


def _fault(options: Options, cue: Cue) -> str:
    if len(cue.text) > options.most_characters:
        return f"subtitle of more than {options.most_characters} characters"
    return outside(cue, options.shortest_s, options.longest_s)


def _lists_in(source: Path) -> list[Path]:
    return sorted(source.glob("*video_ids*.txt")) if source.is_dir() else []


def _lists(
    source: Path, ids: Sequence[str], left_out: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Split -> its videos, each in one split."""
    named = [tuple(text.rpartition("=")[::2]) for text in ids]
    if not named:
        found = _lists_in(source)
        if not found:
            raise not_the_corpus(
                source,
                "*video_ids*.txt or *annotation*.json",
                lambda near: bool(_lists_in(near)) or slt_features.is_root(near),
            )
        if len(found) > 1:
            raise SignBindError(
                f"{source}: found {found[0].name} and {found[1].name}, wanted one "
                "list: name it with --ids"
            )
        named = [("train", found[0])]
    lists: dict[str, list[str]] = {}
    split_of: dict[str, str] = {}
    for split, path in named:
        split = split or "train"
        if not re.fullmatch(r"[A-Za-z]\w*", split, re.ASCII):
            raise SignBindError(f"--ids: split: found {split!r}, wanted a name such as 'train'")
        for name in _read_list(Path(path)):
            if not _ID.fullmatch(name):
                left_out.setdefault("line of the list that is no video id", []).append(
                    sayable(name[:40])
                )
            elif split_of.setdefault(name, split) != split:
                raise SignBindError(
                    f"{path}: found the video {name}, which is in {split_of[name]} "
                    "already: a video is in one split"
                )
            elif name in lists.setdefault(split, {}):
                left_out.setdefault("video listed again", []).append(name)
            else:
                lists[split][name] = None
    return {split: list(names) for split, names in lists.items()}


def _read_list(path: Path) -> list[str]:
    return [line.strip() for line in files.read_text(path).splitlines() if line.strip()]


def _caption_files(captions: Path) -> tuple[dict[str, str], set[str]]:
    """Video -> its file by the order of languages, and the videos with other languages alone."""
    best: dict[str, tuple[int, str]] = {}
    other: set[str] = set()
    for path in sorted(captions.iterdir()) if captions.is_dir() else ():
        match = _CAPTIONS.fullmatch(path.name)
        if match is None:
            continue
        language = match["language"] or ""
        rank = next((i for i, p in enumerate(_LANGUAGES) if re.fullmatch(p, language)), None)
        if rank is None:
            other.add(match["id"])
        else:
            best[match["id"]] = min(best.get(match["id"], (rank, path.name)), (rank, path.name))
    return {name: file for name, (_, file) in best.items()}, other
