"""Annotations with features in HDF5, the form of YouTube-ASL that T5_for_SLT reads.

`*annotation*.json` is {VIDEO: {clip_order: [CLIP, ...], CLIP: {translation: TEXT}}}; ".train.",
".dev.", ".test." in its name tell the split, and dev becomes `validation`. `*.SPLIT.json` in
keypoints/ is {VIDEO: SHARD} and belongs to `*.SPLIT.SHARD.h5`, which hold an array VIDEO/CLIP
each. Arrays are read where they are keypoints of a known scheme, (frames, points, 2 or 3) or
flattened to (frames, numbers); other features, such as the 208 numbers of T5_for_SLT's selection
of landmarks, are not: their clips need poses.
"""

import functools
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data.clip import FPS_RANGE, Clip, pose_frames
from signbind_jax.data_pipelines.corpus import Corpus, ReadResult
from signbind_jax.data_pipelines.readers.directories import check_directories, inside
from signbind_jax.data_pipelines.readers.extracted import notes_of
from signbind_jax.data_pipelines.readers.options import add_directory, frames_a_second
from signbind_jax.data_pipelines.readers.poses import MOST_BYTES, pose_of_fields
from signbind_jax.data_pipelines.readers.timed_sentences import (
    PoseSource,
    Sentence,
    common_names,
    read_sentence,
)
from signbind_jax.errors import SignBindError, from_extra

ORDER = "clip_order"
_SPLIT = re.compile(r"[._](train|dev|val|test)[._]")
_ANNOTATION_BYTES = 2**28  # a million clips
_SHARD = re.compile(r"\w[\w-]*", re.ASCII)


class FeatureClip(NamedTuple):
    """A clip and where its features are."""

    id: str
    video: str
    clip: str
    text: str
    shard: str


def add_arguments(parser) -> None:
    """The options of annotations with features."""
    add_directory(
        parser,
        "keypoints",
        "with annotations: .json and .h5 of keypoints (default: keypoints/ in --source, unless "
        "--poses is given)",
    )
    parser.add_argument(
        "--fps",
        type=frames_a_second,
        metavar="RATE",
        help="with annotations: frames a second of the keypoints, which HDF5 does not state",
    )


def is_root(directory: Path) -> bool:
    """Whether a directory holds annotations."""
    return directory.is_dir() and any(directory.glob("*annotation*.json"))


def open_corpus(
    source: Path, poses: PoseSource, directory: Path | None, fps: float | None, citation: str
) -> Corpus:
    """Annotated clips, rows in the order of the files and of `clip_order`.

    Args:
      source: the directory of the annotations.
      poses: taken instead of features where it has a directory.
      directory: of the features.
      fps: of the features.

    Raises:
      SignBindError: annotations that are none; features without a frame rate; no h5py.
    """
    check_directories(keypoints=directory)
    if directory is None and poses.directory is None and (source / "keypoints").is_dir():
        directory = source / "keypoints"
    left_out: dict[str, list[str]] = {}
    annotated: dict[str, list[Sentence]] = {}
    for split, path in sorted(map(_split_of, source.glob("*annotation*.json")), reverse=True):
        annotated.setdefault(split, []).extend(_sentences(path, left_out))
    read, record = partial(read_sentence, poses=poses, signed_language="ase"), poses.record()
    if directory is not None:
        if fps is None or not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
            raise SignBindError(
                f"--fps: found {fps}, wanted the frame rate of the keypoints in "
                f"{directory}, {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g}"
            )
        _h5py()
        annotated = {
            split: _with_features(rows, _shards(directory, split), left_out)
            for split, rows in annotated.items()
        }
        read = partial(_read, directory=directory, fps=fps)
        record = {"keypoints": str(directory.absolute()), "fps": fps}
    record |= {
        "corpus": "youtube_asl",
        "synthetic": False,
        "citation": citation,
        "directory": str(source.absolute()),
    }
    return Corpus(common_names(annotated), read, record, left_out)


def _split_of(path: Path) -> tuple[str, Path]:
    match = _SPLIT.search(path.name)
    return match[1] if match else "train", path


def _with_features(
    rows: list[Sentence], shard_of: dict[str, str], left_out: dict[str, list[str]]
) -> list[FeatureClip]:
    found = []
    for row in rows:
        if row.video in shard_of:
            clip = row.id.removeprefix(f"{row.video}/")
            found.append(FeatureClip(row.id, row.video, clip, row.text, shard_of[row.video]))
        else:
            left_out.setdefault("no keypoints of the video", []).append(row.id)
    return found


def _sentences(path: Path, left_out: dict[str, list[str]]) -> Iterator[Sentence]:
    data = files.read_json(path, _ANNOTATION_BYTES)
    if not isinstance(data, dict) or not all(isinstance(clips, dict) for clips in data.values()):
        raise SignBindError(
            f'{path}: wanted {{VIDEO: {{"{ORDER}": [CLIP, ...], CLIP: {{"translation": TEXT}}}}}}'
        )
    for video, clips in data.items():
        order = clips.get(ORDER)
        if not isinstance(order, list) or not all(isinstance(clip, str) for clip in order):
            left_out.setdefault(f"video without a list {ORDER}", []).append(video)
            continue
        for clip in dict.fromkeys((*order, *clips)):
            if clip == ORDER:
                continue
            # Names that begin with the video's are unique in the corpus, as names of files show.
            clip_id = clip if clip.startswith(video) else f"{video}/{clip}"
            cell = clips.get(clip)
            text = cell.get("translation") if isinstance(cell, dict) else None
            if "/" in clip or "/" in video:
                left_out.setdefault("name with a slash", []).append(clip_id)
            elif clip not in order:
                left_out.setdefault(f"clip that {ORDER} does not name", []).append(clip_id)
            elif not isinstance(text, str) or not re.search(r"\w", text):
                left_out.setdefault("clip without a translation", []).append(clip_id)
            else:
                yield Sentence(clip_id, video, 0, 0, " ".join(text.split()))


def _shards(directory: Path, split: str) -> dict[str, str]:
    """Video -> the name of its HDF5 file."""
    found = sorted(directory.glob(f"*.{split}.json"))
    if len(found) != 1:
        raise SignBindError(
            f"{directory}: found {len(found)} files *.{split}.json, wanted one that says which "
            "video is in which .h5"
        )
    data = files.read_json(found[0], _ANNOTATION_BYTES)
    if not isinstance(data, dict) or not all(_SHARD.fullmatch(str(s)) for s in data.values()):
        raise SignBindError(f"{found[0]}: wanted {{VIDEO: SHARD}}")
    stem = found[0].name.removesuffix(".json").removeprefix("metadata_")
    return {video: f"{stem}.{shard}.h5" for video, shard in data.items()}


def _read(row: FeatureClip, directory: Path, fps: float) -> ReadResult:
    """The clip of an array of keypoints."""
    path = inside(directory, row.shard)
    if path is None:
        raise SignBindError("keypoints: found no file of the shard that the video is in")
    try:
        array = _array(_open(str(path)), row)
    except (KeyError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise SignBindError(f"{path}: keypoints of the clip: cannot be read") from error
    pose = pose_of_fields({"keypoints": _points(array), "fps": np.float64(fps)}, path)
    clip = Clip(
        id=row.id,
        text=row.text,
        text_language="en",
        signed_language="ase",
        modalities={"pose": pose_frames(pose.points, pose.fps)},
        recording=row.video,
    )
    return ReadResult(clip, notes_of(pose))


def _array(file, row: FeatureClip) -> np.ndarray:
    """A clip's features; nothing that a file only points to, and nothing of absurd size."""
    h5py = _h5py()
    data = file
    for name in (row.video, row.clip):
        link = data.get(name, getlink=True) if isinstance(data, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise SignBindError("keypoints of the clip: not in the shard")
        data = data[name]
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise SignBindError("keypoints of the clip: no array of the file's own")
    if data.dtype.kind != "f" or data.shape is None:
        raise SignBindError(f"features of {data.dtype}, wanted numbers with a fraction")
    # Unpacked are whole chunks, which may be larger than the array.
    n_bytes = max(data.size, math.prod(data.chunks or ())) * data.dtype.itemsize
    if n_bytes > MOST_BYTES:
        raise SignBindError(
            f"keypoints of the clip: found {n_bytes:,} bytes, wanted at most {MOST_BYTES:,}"
        )
    return data[()]


def _points(array: np.ndarray) -> np.ndarray:
    """Features as (frames, points, 2 or 3)."""
    known = {scheme.n_points for scheme in keypoints.SCHEMES.values()}
    if array.ndim == 2:
        fitting = [n for n in (2, 3) if array.shape[1] / n in known]
        if fitting:
            return array.reshape(len(array), -1, fitting[0])
    elif array.ndim == 3 and array.shape[1] in known and array.shape[2] in (2, 3):
        return array
    numbers = " x ".join(map(str, array.shape[1:]))
    raise SignBindError(
        f"features of {numbers} numbers a frame are no keypoints of a known scheme: extract poses "
        "and give --poses"
    )


@functools.lru_cache(maxsize=4)
def _open(path: str):
    return _h5py().File(path, "r")


def _h5py():
    with from_extra("hdf5", "keypoints in HDF5"):
        import h5py
    return h5py
