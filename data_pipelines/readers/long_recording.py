"""Landmarks of a recording of any length, read forwards in windows: memory does not grow with it.

What `readers.poses` reads at once, this reads in parts: an `.npz` or `.pose` file, or a directory
of the `.npz` files that `signbind extract` made of consecutive parts of one video. A window holds
the fields that `readers.poses.pose_of_fields` takes.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from signbind_jax import files
from signbind_jax.data.clip import FPS_RANGE
from signbind_jax.data_pipelines.extraction.result import Result, read_result
from signbind_jax.data_pipelines.readers.extracted import SUFFIXES
from signbind_jax.data_pipelines.readers.pose_header import MOST_BYTES as HEADER_BYTES
from signbind_jax.data_pipelines.readers.pose_header import not_a_pose, read_header
from signbind_jax.errors import SignBindError

READ_FRAMES = 512  # at once: 5 MB of the largest frames
MOST_FRAME_BYTES = 2**20  # of a field: 2,000 points of a few people take a tenth
_SAME, _PER_FRAME = ("fps", "scheme", "width", "height"), ("keypoints", "scores")
_CROPS = ("lips", "lip_state")
LARGEST_DRIFT_S = 1.0  # by which a part may be longer or shorter than its place
_ROUNDING_S = 1e-3  # to which lists of clips give times

Window = dict[str, np.ndarray]
Take = Callable[[int], Window]  # the next so many frames


class Part(Protocol):
    """One file of a recording.

    Attributes:
      path: the file.
      n_frames: how many.
      fields: what holds for all frames, by name, as an `.npz` file has it; `fps` at least.
    """

    path: Path
    n_frames: int
    fields: Window

    def open(self, crops: bool) -> contextlib.AbstractContextManager[Take]:
        """Opens it at its first frame; `crops`: mouth crops are read too."""


@dataclass(frozen=True)
class LongRecording:
    """A recording whose frames are read when they are wanted.

    Attributes:
      path: file, or directory of parts.
      parts: in order; at least one.
      lengths: frames that each part stands for: where a video's frame rate varies it may have a few
        more or fewer, which are left out or stand still, so that times stay the video's.
    """

    path: Path
    parts: Sequence[Part]
    lengths: Sequence[int]

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.parts[0].fields["fps"].item())

    @property
    def n_frames(self) -> int:
        """How many frames."""
        return sum(self.lengths)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n_frames / self.fps

    def windows(self, spans: Iterable[tuple[int, int]], crops: bool = False) -> Iterator[Window]:
        """The fields of the frames [start, stop) of each span.

        Args:
          spans: not empty; neither starts nor stops go back; spans may overlap.
          crops: whether mouth crops are read too, `lips` uint8 (t, h, w) and `lip_state`; frames
            of a file that has none of them have a state of 0.

        Raises:
          SignBindError: a file is damaged; a frame shows several people.
        """
        with contextlib.closing(self._blocks(crops)) as blocks:
            held: list[tuple[int, Window]] = []  # first frame, frames
            at = 0
            for start, stop in spans:
                while at < stop:
                    block = next(blocks)
                    held.append((at, block))
                    at += len(block["keypoints"])
                held = [(a, rows) for a, rows in held if a + len(rows["keypoints"]) > start]
                yield self.parts[0].fields | _joined(held, start, stop)

    def _blocks(self, crops: bool) -> Iterator[Window]:
        """All frames in order, at most `READ_FRAMES` at once."""
        before = 0
        for part, length in zip(self.parts, self.lengths, strict=True):
            n_read = min(part.n_frames, length)
            with part.open(crops) as take:
                for at in range(0, n_read, READ_FRAMES):
                    rows = take(min(READ_FRAMES, n_read - at))
                    yield self._of_one_signer(rows, before + at)
            if n_read < length:
                last = {name: x[-1:].repeat(length - n_read, 0) for name, x in rows.items()}
                yield self._of_one_signer(last, before + n_read)
            before += length

    def _of_one_signer(self, rows: Window, first: int) -> Window:
        """Rows without an axis of people.

        Raises:
          SignBindError: somebody beside the first person is found in a frame.
        """
        if rows["keypoints"].ndim != 4:
            return rows
        others_t = np.zeros(len(rows["keypoints"]), bool)
        for name in {"scores"} & rows.keys() or {"keypoints"}:
            others_t |= (np.nan_to_num(rows[name][:, 1:]) > 0).reshape(len(others_t), -1).any(1)
        if others_t.any():
            at_s = (first + int(others_t.argmax())) / self.fps
            raise SignBindError(
                f"{self.path}: found several people at {at_s:.1f} s, wanted one signer: extract "
                "each signer into a file of their own"
            )
        return {
            name: x[:, 0] if name == "keypoints" or name == "scores" and x.ndim == 3 else x
            for name, x in rows.items()
        }


def _joined(blocks: Sequence[tuple[int, Window]], start: int, stop: int) -> Window:
    """The frames [start, stop) of blocks that hold them."""
    pieces = [
        {name: x[max(0, start - at) : stop - at] for name, x in rows.items()}
        for at, rows in blocks
        if at < stop
    ]
    with_crops = [piece for piece in pieces if "lips" in piece]
    for piece in pieces:
        if with_crops and "lips" not in piece:
            like = with_crops[0]
            n = len(piece["keypoints"])
            piece |= {name: np.zeros((n, *like[name].shape[1:]), like[name].dtype)
                      for name in _CROPS}  # fmt: skip
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def open_recording(path: Path) -> LongRecording:
    """A recording of landmarks; only what its files declare is read.

    Args:
      path: an `.npz` or `.pose` file, or a directory as `parts_of` finds it.

    Raises:
      SignBindError: missing, damaged, of no known kind or frame rate; fewer than two frames; parts
        of different rates or schemes.
    """
    paths = parts_of(path) if path.is_dir() else (path,)
    parts = [_open_pose(p) if p.suffix == ".pose" else _open_npz(p) for p in paths]
    recording = LongRecording(path, parts, [part.n_frames for part in parts])
    if not FPS_RANGE[0] <= recording.fps <= FPS_RANGE[1]:
        raise SignBindError(
            f"{path}: fps: found {recording.fps:g}, wanted {FPS_RANGE[0]:g} to "
            f"{FPS_RANGE[1]:g} frames a second"
        )
    for part in parts:
        for name in _SAME:
            here, there = (p.fields.get(name, np.zeros(0)).tolist() for p in (part, parts[0]))
            if here != there:
                raise SignBindError(f"{part.path}: {name}: found {here}, wanted {there} as before")
    if len(parts) > 1:
        recording = replace(recording, lengths=_lengths(parts, recording.fps))
    if recording.n_frames < 2:
        raise SignBindError(
            f"{path}: found {recording.n_frames} frames, wanted at least 2: movement is what "
            "tells signing from rest"
        )
    return recording


def _lengths(parts: Sequence[Part], fps: float) -> list[int]:
    """The frames from the start of each part to that of the next.

    Raises:
      SignBindError: a part has far more or fewer.
    """
    starts = [round(read_result(part.path).start_s * fps) for part in parts]
    lengths = [after - before for before, after in itertools.pairwise(starts)]
    for part, length in zip(parts, lengths, strict=False):
        if not part.n_frames or abs(part.n_frames - length) > LARGEST_DRIFT_S * fps:
            raise SignBindError(
                f"{part.path}: found {part.n_frames} frames, wanted {length} up to the next part: "
                "extract it again"
            )
    return [*lengths, parts[-1].n_frames]


def parts_of(directory: Path) -> tuple[Path, ...]:
    """The files of a directory in order, where all are consecutive parts of one video as
    `signbind extract` makes them; else none, nor of what is no directory.

    Raises:
      SignBindError: the directory cannot be read.
    """
    if not directory.is_dir():
        return ()
    try:
        paths = [p for p in directory.iterdir() if p.suffix in SUFFIXES and p.name[0] != "."]
    except OSError as error:
        raise SignBindError(f"{directory}: cannot be read: {error.strerror or error}") from error
    made: list[tuple[Result, Path]] = []
    for path in paths:
        result = _result(path)
        if result is None or made and result.video != made[0][0].video:
            return ()
        made.append((result, path))
    made.sort(key=lambda part: part[0].start_s)
    for (before, _), (after, _) in itertools.pairwise(made):
        if before.end_s is None or abs(before.end_s - after.start_s) > _ROUNDING_S:
            return ()
    begins = made and made[0][0].start_s == 0
    return tuple(path for _, path in made) if len(made) > 1 and begins else ()


def _result(path: Path) -> Result | None:
    try:
        return read_result(path) if path.suffix == ".npz" else None
    except SignBindError:  # somebody else's file
        return None


@dataclass(frozen=True)
class _Npz:
    path: Path
    n_frames: int
    fields: Window
    crops: tuple[str, ...]  # fields of the mouth crops, where there is one a frame

    @contextlib.contextmanager
    def open(self, crops: bool) -> Iterator[Take]:
        names = (*_PER_FRAME, *(self.crops if crops else ()))
        with files.open_rows(self.path, names) as arrays:
            yield lambda n: {name: rows.take(n) for name, rows in arrays.items()}


def _open_npz(path: Path) -> _Npz:
    fields = files.read_arrays(path, _SAME, MOST_FRAME_BYTES)
    with files.open_rows(path, (*_PER_FRAME, *_CROPS)) as arrays:
        missing = [n for n in ("keypoints", "fps") if n not in {**arrays, **fields}]
        if missing:
            raise SignBindError(f"{path}: field {missing[0]}: missing")
        if fields["fps"].size != 1 or fields["fps"].dtype.kind not in "fiu":
            raise SignBindError(f"{path}: fps: found {fields['fps'].shape}, wanted one number")
        n_frames = arrays["keypoints"].shape[0]
        for name, rows in arrays.items():
            if rows.dtype.kind not in "fiu":
                raise SignBindError(f"{path}: {name}: found {rows.dtype}, wanted numbers")
            if rows.row_bytes > MOST_FRAME_BYTES:
                raise SignBindError(
                    f"{path}: {name}: found {rows.row_bytes:,} bytes a frame, wanted at most "
                    f"{MOST_FRAME_BYTES:,}"
                )
        if "scores" in arrays and arrays["scores"].shape[0] != n_frames:
            raise SignBindError(
                f"{path}: scores: found {arrays['scores'].shape[0]} frames, wanted {n_frames}"
            )
        crops = _CROPS if all(_one_a_frame(arrays, name, n_frames) for name in _CROPS) else ()
    return _Npz(path, n_frames, fields, crops)


def _one_a_frame(arrays: dict[str, files.ArrayRows], name: str, n_frames: int) -> bool:
    n_axes = 3 if name == "lips" else 1
    rows = arrays.get(name)
    fits = rows is not None and len(rows.shape) == n_axes and rows.dtype == np.uint8
    return fits and rows.shape[0] == n_frames and rows.row_bytes > 0


@dataclass(frozen=True)
class _Pose:
    path: Path
    n_frames: int
    fields: Window
    body_at: int  # in the file
    sizes: tuple[int, int, int]  # people, points, coordinates of a point

    @contextlib.contextmanager
    def open(self, crops: bool) -> Iterator[Take]:
        del crops  # the format has none
        people, points, axes = self.sizes
        xy_bytes, score_bytes = (people * points * n * 4 for n in (axes, 1))
        at = 0
        with _opened(self.path) as file:

            def take(n: int) -> Window:
                nonlocal at
                file.seek(self.body_at + at * xy_bytes)
                xy = self._floats(file, n * xy_bytes).reshape(n, people, points, axes)
                file.seek(self.body_at + self.n_frames * xy_bytes + at * score_bytes)
                scores = self._floats(file, n * score_bytes).reshape(n, people, points)
                at += n
                return {"keypoints": xy[..., :2], "scores": scores}

            yield take

    def _floats(self, file: BinaryIO, n_bytes: int) -> np.ndarray:
        data = file.read(n_bytes)
        if len(data) != n_bytes:
            raise SignBindError(f"{self.path}: grew shorter while it was read: try again")
        return np.frombuffer(data, "<f4")


def _open_pose(path: Path) -> _Pose:
    """https://github.com/sign-language-processing/pose/blob/master/docs/specs: behind the header
    frame rate, frames, people, then all points and then all confidences."""
    size = files.check_regular(path)
    with _opened(path) as file:
        header, reader, scheme = read_header(file.read(HEADER_BYTES), path)
    version = round(header.version, 3)
    counts = {0.1: ("<HHH", 6), 0.2: ("<fIH", 10)}.get(version)
    if counts is None:
        raise SignBindError(f"{path}: found version {version:g} of .pose, wanted 0.1 or 0.2")
    try:
        fps, n_frames, people = (reader.unpack_f(code) for code in counts[0][1:])
    except Exception as error:  # as read_header
        raise not_a_pose(path, error) from error
    points, axes = sum(len(c.points) for c in header.components), header.num_dims()
    body_at = reader.read_offset
    frame_bytes = people * points * (axes + 1) * 4
    if version == 0.1:  # it counts frames in 16 bits
        n_frames = (size - body_at) // max(frame_bytes, 1)
    if not people or body_at + n_frames * frame_bytes != size:
        raise SignBindError(
            f"{path}: found {size:,} bytes, wanted {body_at + n_frames * frame_bytes:,} for "
            f"{n_frames} frames of {people} people: export it again"
        )
    if frame_bytes > MOST_FRAME_BYTES:
        raise SignBindError(f"{path}: people: found {people}, wanted 1")
    fields = {"fps": fps, "scheme": scheme, "width": header.dimensions.width,
              "height": header.dimensions.height}  # fmt: skip
    fields = {name: np.asarray(value) for name, value in fields.items()}
    return _Pose(path, n_frames, fields, body_at, (people, points, axes))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise SignBindError(f"{path}: cannot be read: {error.strerror or error}") from error
