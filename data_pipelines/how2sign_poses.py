"""Where the poses of How2Sign lie, in which of their public forms, and reading one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from os import scandir, walk
from pathlib import Path

from signbind_jax.data.clip import FPS_RANGE, Frames, pose_frames
from signbind_jax.data_pipelines.extraction.worker.opening import Unreadable, open_video
from signbind_jax.data_pipelines.how2sign_sentences import SPLITS, TREE
from signbind_jax.data_pipelines.readers import extracted
from signbind_jax.data_pipelines.readers.openpose_json import FRAME_SUFFIX, read_openpose
from signbind_jax.data_pipelines.readers.options import LIP_SIZE
from signbind_jax.data_pipelines.readers.poses import canonical_pose
from signbind_jax.data_pipelines.readers.rtmpose_pickle import read_rtmpose
from signbind_jax.data_pipelines.readers.signer_choice import People, choose_signer
from signbind_jax.errors import SignBindError, from_extra

FORMS = ("openpose", "rtmpose", "extracted")
DEFAULT_FPS = 24.0
FRAME_SIZE = (1280.0, 720.0)  # pixels
_OPENPOSE = ("openpose_output", "json")
_LOOKED_AT = 100  # entries of a directory that decide what it holds
_MOST_DIRECTORIES = 2000


@dataclass(frozen=True)
class Poses:
    """Poses of one form.

    Attributes:
      form: one of `FORMS`.
      roots: split -> directories in which its clips are looked up, in order.
      fps: frames a second; 0 for what the release says, else `DEFAULT_FPS`.
      lip_size: side of the mouth crops in pixels, where there are some.
    """

    form: str
    roots: dict[str, tuple[Path, ...]]
    fps: float = 0.0
    lip_size: int = LIP_SIZE

    def read(self, clip: str, split: str) -> tuple[dict[str, Frames], dict[str, int]]:
        """The modalities of a clip's files, and what was repaired.

        Raises:
          SignBindError: with the reason why there is no pose.
        """
        roots = self.roots[split]
        if self.form == "extracted":
            return extracted.read_extracted(extracted.find(roots[0], clip), self.lip_size)
        name = clip if self.form == "openpose" else f"{clip}.pkl"
        root = next((root for root in roots if (root / name).exists()), None)
        if root is None:
            raise SignBindError(f"no {self.form} keypoints of this clip")
        path = root / name
        people = read_openpose(path, root) if self.form == "openpose" else read_rtmpose(path, root)
        return self._canonical(people, path)

    def _canonical(self, people: People, path: Path) -> tuple[dict[str, Frames], dict[str, int]]:
        points_tnc, counted = choose_signer(people)
        fps, note = self._frame_rate(path)
        notes = (note,) if note else ()
        pose = canonical_pose(
            points_tnc, people.scheme, fps, size=FRAME_SIZE, notes=notes, where=str(path)
        )
        modalities = {"pose": pose_frames(pose.points, pose.fps)}
        return modalities, counted | extracted.notes_of(pose)

    def _frame_rate(self, path: Path) -> tuple[float, str]:
        """Frames a second of a clip, and what is to be said of where that comes from."""
        if self.fps:
            return self.fps, ""
        beside = path.parent.parent / "video" / f"{path.name}.mp4"
        if self.form == "openpose" and beside.is_file() and (fps := video_rate(beside)):
            return fps, ""
        return DEFAULT_FPS, f"no frame rate beside it, {DEFAULT_FPS:g} taken"


def forms_in(directory: Path) -> dict[str, dict[str, tuple[Path, ...]]]:
    """The forms of poses that are under a directory, with their roots as in `Poses`."""
    return {form: roots for form in FORMS if any((roots := _roots(directory, form)).values())}


def find_poses(
    directory: Path, form: str = "", fps: float = 0.0, lip_size: int = LIP_SIZE
) -> Poses:
    """The poses under a directory, of a form or of the one form that is there.

    Raises:
      SignBindError: none (it says where some seem to be), or several forms and none asked for.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise SignBindError(f"{directory}: found no such directory, wanted that of the poses")
    found = forms_in(directory)
    if form and form not in found:
        raise SignBindError(
            f"{directory}: found no {form} poses, wanted {_wanted(form)}{_elsewhere(directory)}"
        )
    if not found:
        wanted = " or ".join(map(_wanted, FORMS))
        raise SignBindError(f"{directory}: found no poses, wanted {wanted}{_elsewhere(directory)}")
    if len(found) > 1 and not form:
        raise SignBindError(
            f"{directory}: found poses of the forms {' and '.join(found)}: choose "
            "one with --pose_form"
        )
    form = form or next(iter(found))
    return Poses(form, found[form], fps, lip_size)


def video_rate(path: Path) -> float:
    """Frames a second of a video; 0 where it cannot be read or none can be believed."""
    try:
        with from_extra("corpora", "videos"), open_video(path) as video:
            rate = float(video.streams.best("video").average_rate or 0)
    except Unreadable:
        return 0.0
    return rate if FPS_RANGE[0] <= rate <= FPS_RANGE[1] else 0.0


def video_seconds(path: Path) -> float:
    """How long a video is; 0 where it cannot be read."""
    try:
        with from_extra("corpora", "videos"), open_video(path) as video:
            return float(video.duration or 0) / 1_000_000  # FFmpeg counts microseconds
    except Unreadable:
        return 0.0


def _wanted(form: str) -> str:
    return {
        "openpose": "openpose_output/json/<SENTENCE_NAME>/*_keypoints.json",
        "rtmpose": "<SENTENCE_NAME>.pkl",
        "extracted": "<SENTENCE_NAME>.npz or .pose",
    }[form]


def _roots(directory: Path, form: str) -> dict[str, tuple[Path, ...]]:
    """Split -> the directories that hold clips of a form, at most a few."""
    if form == "extracted":
        held = any(_names(directory, extracted.SUFFIXES))
        return {split: (directory,) if held else () for split in SPLITS}
    holds = _holds_openpose if form == "openpose" else _holds_pickles
    return {
        split: tuple(
            dict.fromkeys(
                root
                for root in _candidates(directory, split, form)
                if root.is_dir() and holds(root)
            )
        )
        for split in SPLITS
    }


def _candidates(directory: Path, split: str, form: str) -> Iterator[Path]:
    released = SPLITS[split]
    names = dict.fromkeys((released, split, *(("dev",) if split == "validation" else ())))
    if form == "rtmpose":
        for home in (directory, directory / "pose_format"):
            yield home
            yield from (home / name for name in names)
        return
    features = Path(released, "rgb_front", "features")
    homes = [
        directory,
        *(directory / name for name in names),
        directory / f"{released}_2D_keypoints",
        directory / features,
        directory / TREE / features,
    ]
    for home in homes:
        for tail in (_OPENPOSE, _OPENPOSE[1:], ()):
            yield home.joinpath(*tail)


def _holds_openpose(root: Path) -> bool:
    with scandir(root) as entries:
        clips = [entry.path for entry in islice(entries, _LOOKED_AT) if entry.is_dir()]
    return any(any(_names(Path(clip), (FRAME_SUFFIX,))) for clip in clips)


def _holds_pickles(root: Path) -> bool:
    return any(_names(root, (".pkl",)))


def _names(directory: Path, suffixes: tuple[str, ...]) -> Iterable[str]:
    """Those of the first few files of a directory that end so."""
    with scandir(directory) as entries:
        return [
            entry.name
            for entry in islice(entries, _LOOKED_AT)
            if entry.name.endswith(suffixes) and not entry.name.startswith("._")
        ]


def _elsewhere(directory: Path) -> str:
    """Where poses seem to be instead, as the end of a sentence."""
    if any(_names(directory, (FRAME_SUFFIX,))):
        return f": it is a clip itself, give {directory.resolve().parent}"
    for place, directories, _ in islice(walk(directory), _MOST_DIRECTORIES):
        if _OPENPOSE[0] in directories or _holds_pickles(Path(place)):
            return f": some seem to lie in {place}"
    return ""
