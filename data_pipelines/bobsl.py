"""BOBSL, the BBC-Oxford British Sign Language dataset: broadcasts with an interpreter.

--source is the directory of a release, in one of its two layouts (1.2 and 1.4):

  subset2episode.json                      original_data/metadata/subset2episode.json
  subtitles/audio-aligned-heuristic-correction/
                                           automatic_annotations/signing_aligned_subtitles/
                                             audio_aligned_heuristic_correction/
  subtitles/manually-aligned/              manual_annotations/signing_aligned_subtitles/
  videos/EPISODE.mp4                       original_data/videos/mp4/EPISODE.mp4

Subtitles are EPISODE.vtt or EPISODE/signhd.vtt. The split `train` takes the subtitles that are
aligned to the audio, later by --shift since signing lags behind speech; every other split takes
those aligned to the signing by hand, which are never shifted. `val` becomes the split
`validation`, `public_test` becomes `test`. A clip is one subtitle; its id is
EPISODE_START_END in milliseconds of the video, shift included, so that a pose is never taken
for a sentence at other times.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from signbind_jax import files
from signbind_jax.data_pipelines.corpus import Corpus
from signbind_jax.data_pipelines.readers import spottings
from signbind_jax.data_pipelines.readers.directories import (
    check_directories,
    first_directory,
    inside,
    not_the_corpus,
)
from signbind_jax.data_pipelines.readers.options import add_directory, add_number, duration, seconds
from signbind_jax.data_pipelines.readers.subtitled import outside, sentences
from signbind_jax.data_pipelines.readers.subtitles import Cue
from signbind_jax.data_pipelines.readers.timed_sentences import (
    NO_POSES,
    PoseSource,
    Sentence,
    add_pose_arguments,
    common_names,
    poses_from,
    recording_of,
    timed_corpus,
)
from signbind_jax.errors import SignBindError

SHIFT_S = 2.7
LISTS = (
    "subset2episode.json",
    "metadata/subset2episode.json",
    "splits/subset2episode.json",
    "original_data/metadata/subset2episode.json",
)
AUDIO_ALIGNED = (
    "subtitles/audio-aligned-heuristic-correction",
    "automatic_annotations/signing_aligned_subtitles/audio_aligned_heuristic_correction",
    "audio-aligned-heuristic-correction",
)
MANUALLY_ALIGNED = (
    "subtitles/manually-aligned",
    "manual_annotations/signing_aligned_subtitles",
    "manually-aligned",
)
VIDEOS = ("videos", "original_data/videos/mp4", "videos/mp4")
_TEXT_LIST = re.compile(r"(?:bobsl_)?(train|val|test|public_test|challenge_test)(?:_\d+)?\.txt")
_EPISODE = re.compile(r"\w[\w.-]{0,199}", re.ASCII)
_TAGGED = re.compile(r"\[[A-Z-]+\]")
LICENCE = "BOBSL terms of use of the BBC: academic research only"
CITATION = (
    "Albanie, Varol, Momeni, Bull, Afouras, Chowdhury, Fox, Woll, Cooper, McParland, Zisserman: "
    "BBC-Oxford British Sign Language Dataset. arXiv 2111.03635, 2021"
)


@dataclass(frozen=True)
class Options:
    """What decides which sentences there are, where they lie and what their glosses are.

    Attributes:
      shift_s: added to the times of subtitles aligned to the audio.
      shortest_s, longest_s: of sentences of the training split.
      drop_tagged: whether sentences outside training with a [TAG] anywhere are left out.
      thresholds, merge_s: of spottings; see `data_pipelines.readers.spottings.read_spottings`.
    """

    shift_s: float = SHIFT_S
    shortest_s: float = 1.0
    longest_s: float = 20.0
    drop_tagged: bool = False
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"": 0.8})
    merge_s: float = 1.0


DEFAULTS = Options()


def add_arguments(parser) -> None:
    """Options of `signbind data build bobsl`."""
    add_directory(parser, "source", "the directory of the release", required=True)
    add_pose_arguments(parser)
    spottings.add_arguments(parser)
    parser.add_argument(
        "--splits",
        type=Path,
        metavar="PATH",
        help="subset2episode.json, or a directory of lists such as train.txt or "
        "bobsl_train_1658.txt with one episode a line (default: where the release has it)",
    )
    add_directory(
        parser,
        "train_subtitles",
        "subtitles of the training split from elsewhere, such as an automatic alignment to the "
        "signing; those want --shift=0",
    )
    shift = "added to the times of training subtitles, not to those aligned by hand"
    add_number(parser, "shift", seconds, SHIFT_S, "SECONDS", shift)
    for name, default in (("shortest", 1.0), ("longest", 20.0)):
        text = f"{name} sentence of the training split"
        add_number(parser, name, duration, default, "SECONDS", text)
    parser.add_argument(
        "--drop_tagged",
        action="store_true",
        help="leave out sentences outside the training split that hold a [TAG] anywhere; those "
        "that are nothing but tags are always left out",
    )
    add_directory(parser, "videos", "EPISODE.mp4, where not in the release")


def from_arguments(arguments) -> Corpus:
    """The corpus that parsed arguments ask for."""
    options = Options(
        arguments.shift,
        arguments.shortest,
        arguments.longest,
        arguments.drop_tagged,
        spottings.parse_thresholds(arguments.spotting_threshold),
        arguments.merge,
    )
    return open_corpus(
        arguments.source,
        poses_from(arguments),
        options,
        splits=arguments.splits,
        train_subtitles=arguments.train_subtitles,
        spotting_files=arguments.spottings,
        videos=arguments.videos,
    )


def open_corpus(
    source: Path,
    poses: PoseSource = NO_POSES,
    options: Options = DEFAULTS,
    *,
    splits: Path | None = None,
    train_subtitles: Path | None = None,
    spotting_files: Sequence[Path] = (),
    videos: Path | None = None,
) -> Corpus:
    """A BOBSL release, its rows in the order of the split list and of time.

    A row takes about half a kilobyte, so that the 1.2 million subtitles of the training split
    take about 0.6 GB, and a spotting 28 bytes once its file is read.

    Raises:
      SignBindError: no release in `source`; a split list or a spotting file that is broken; an
        episode in two splits.
    """
    check_directories(train_subtitles=train_subtitles, videos=videos)
    episodes = _episodes(source, splits)
    manual = first_directory(source, MANUALLY_ALIGNED)
    audio = train_subtitles or first_directory(source, AUDIO_ALIGNED)
    if manual is None and audio is None:
        raise not_the_corpus(source, " or ".join((AUDIO_ALIGNED[0], MANUALLY_ALIGNED[0])), _is_root)
    if audio is not None and manual is not None and audio.resolve() == manual.resolve():
        options = replace(options, shift_s=0.0)
    wanted = {episode for names in episodes.values() for episode in names}
    found = spottings.read_spottings(spotting_files, wanted, options.thresholds, options.merge_s)
    left_out: dict[str, list[str]] = {}
    rows: dict[str, list[Sentence]] = {}
    for split, names in episodes.items():
        training = split == "train"
        listing = _Listing(options, training, found, left_out)
        directory = audio if training else manual
        rows[split] = [row for name in names for row in listing.rows(name, directory)]
    videos = videos or first_directory(source, VIDEOS)
    record = {
        "corpus": "bobsl",
        "licence": LICENCE,
        "citation": CITATION,
        "train_subtitles": str(audio or ""),
        "spottings": [path.name for path in spotting_files],
        "spotting_counts": found.counts,
        **asdict(options),
    }
    return timed_corpus(
        record,
        source,
        rows,
        left_out,
        poses,
        signed_language="bfi",
        recording=partial(recording_of, videos=videos, padding_s=poses.padding_s),
        videos=videos is not None,
    )


class _Listing(NamedTuple):
    """Turns the subtitles of one episode after the other into rows."""

    options: Options
    training: bool
    found: spottings.Spottings
    left_out: dict[str, list[str]]

    def rows(self, episode: str, directory: Path | None) -> Iterator[Sentence]:
        """The sentences of an episode."""
        path = None if directory is None else _subtitle_file(directory, episode)
        if path is None:
            kind = "" if self.training else "manually aligned "
            self.left_out.setdefault(f"no {kind}subtitles of the episode", []).append(episode)
            return iter(())
        return sentences(
            episode,
            path,
            self.left_out,
            shift_ms=round(self.options.shift_s * 1000) if self.training else 0,
            fault=self._fault,
            gloss=partial(self._gloss, episode) if self.found.counts else None,
        )

    def _gloss(self, episode: str, cue: Cue) -> tuple[str, ...]:
        return self.found.glosses(episode, cue.start_ms / 1000, cue.end_ms / 1000)

    def _fault(self, cue: Cue) -> str:
        if self.training:
            return outside(cue, self.options.shortest_s, self.options.longest_s)
        if self.options.drop_tagged and _TAGGED.search(cue.text):
            return "subtitle that holds a [TAG]"
        return ""


def _subtitle_file(directory: Path, episode: str) -> Path | None:
    return inside(directory, f"{episode}.vtt") or inside(directory, f"{episode}/signhd.vtt")


def _is_root(directory: Path) -> bool:
    return first_directory(directory, (*AUDIO_ALIGNED, *MANUALLY_ALIGNED)) is not None


def _episodes(source: Path, splits: Path | None) -> dict[str, list[str]]:
    """Split -> its episodes, each in one split."""
    path = splits or next((source / name for name in LISTS if (source / name).is_file()), source)
    listed = _json_lists(path) if path.is_file() else _text_lists(path)
    if not listed:
        if splits:
            raise SignBindError(
                f"--splits: {path}: found no subset2episode.json and no lists such as train.txt"
            )
        raise not_the_corpus(
            source,
            "subset2episode.json or train.txt",
            lambda near: _is_root(near) and any((near / name).is_file() for name in LISTS),
        )
    split_of: dict[str, str] = {}
    for split, names in listed.items():
        if not re.fullmatch(r"[A-Za-z]\w*", split, re.ASCII):
            raise SignBindError(
                f"{path}: split: found {split[:60]!r}, wanted a name such as 'train'"
            )
        for name in names:
            if not _EPISODE.fullmatch(name):
                raise SignBindError(
                    f"{path}: {split}: found the episode {name[:60]!r}, wanted a "
                    "name of letters, digits, '-', '_', '.'"
                )
            if name in split_of:
                raise SignBindError(
                    f"{path}: {split}: found the episode {name}, which is in {split_of[name]} "
                    "already: give lists with every episode in one split as --splits"
                )
            split_of[name] = split
    return common_names(listed)


def _json_lists(path: Path) -> dict[str, list[str]]:
    data = files.read_json(path)
    lists = data.values() if isinstance(data, dict) else [None]
    if not all(isinstance(names, list) for names in lists):
        raise SignBindError(
            f"{path}: found {type(data).__name__}, wanted an object of lists, "
            '{"train": [EPISODE, ...], ...}'
        )
    return {split: [_episode(name) for name in names] for split, names in data.items()}


def _text_lists(directory: Path) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*.txt")) if directory.is_dir() else ():
        match = _TEXT_LIST.fullmatch(path.name)
        if match is None:
            continue
        if match[1] in lists:
            raise SignBindError(f"{path}: found a second list of {match[1]}, wanted one")
        lines = files.read_text(path).splitlines()
        lists[match[1]] = [_episode(line) for line in lines if line.strip()]
    return lists


def _episode(name: object) -> str:
    return str(name).strip().removesuffix(".mp4")
