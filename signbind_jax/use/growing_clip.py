"""A clip that grows: frames are checked as they come; at any time it is what a file would hold."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from signbind_jax.data import lips
from signbind_jax.data.clip import Clip, Frames, pose_frames
from signbind_jax.data_pipelines.readers.poses import NoPerson, Pose, pose_of_fields
from signbind_jax.errors import SignBindError

_WHERE = Path("stream")  # what errors call it
_CALLED = {"keypoints": "landmarks", "lips": "crops"}  # by fields of files


class GrowingClip:
    """The frames of one sentence so far.

    Args:
      fps: frames a second.
      longest_s: seconds it may last.
      lip_size: side of the mouth crops in pixels; None: crops are not read.
      scheme, width, height: of the landmarks, as an `.npz` file states them; empty and 0: it does
        not.
    """

    def __init__(
        self,
        fps: float,
        longest_s: float,
        lip_size: int | None,
        *,
        scheme: str = "",
        width: float = 0.0,
        height: float = 0.0,
    ):
        self._fps, self._longest_s, self._lip_size = fps, longest_s, lip_size
        stated: dict[str, Any] = {"fps": fps, "width": width, "height": height, "scheme": scheme}
        self._stated = {name: np.asarray(x) for name, x in stated.items() if x != ""}
        self._fields: dict[str, np.ndarray] = {}

    @property
    def n_frames(self) -> int:
        """Frames so far."""
        return next((len(frames) for frames in self._fields.values()), 0)

    @property
    def seconds(self) -> float:
        """Duration so far."""
        return self.n_frames / self._fps

    def add(
        self,
        landmarks: np.ndarray | None,
        crops: np.ndarray | None,
        scores: np.ndarray | None,
        first: int | None,
    ) -> None:
        """Takes the next frames; see `StreamingTranslator.feed`.

        Raises:
          SignBindError: they cannot be the next ones. All stays as it was.
        """
        given = {"keypoints": landmarks, "scores": scores, "lips": crops}
        new = {name: np.asarray(x) for name, x in given.items() if x is not None}
        if first is not None and first != self.n_frames:
            raise SignBindError(
                f"{_WHERE}: found frame {first}, wanted {self.n_frames}: frames come in order"
            )
        counts = {name: len(x) if x.ndim else 0 for name, x in new.items()}
        if not min(counts.values(), default=0) or len(set(counts.values())) > 1:
            told = [f"{n} of {_CALLED.get(name, name)}" for name, n in counts.items()]
            raise SignBindError(
                f"{_WHERE}: frames: found {', '.join(told) or 'none'}, wanted at least 1, of all "
                "as many"
            )
        seconds = self.seconds + next(iter(counts.values())) / self._fps
        if seconds > self._longest_s + 1e-6:
            raise SignBindError(
                f"{_WHERE}: found {seconds:.2f} s of signing, wanted at most "
                f"{self._longest_s:g}: end the sentence first"
            )
        crops = new.get("lips")
        if crops is not None and (crops.ndim != 3 or crops.dtype != np.uint8 or 0 in crops.shape):
            raise SignBindError(
                f"{_WHERE}: crops: found {crops.dtype} {crops.shape}, wanted uint8 (frames, h, w)"
            )
        if crops is not None and self._lip_size is not None:
            new["lips"] = lips.resize(crops, self._lip_size, self._lip_size)
        found, wanted = _kinds(new), _kinds(self._fields)
        if wanted and found != wanted:
            raise SignBindError(f"{_WHERE}: frames: found {found}, wanted {wanted} as before")
        if "keypoints" in new:
            with contextlib.suppress(NoPerson):
                self._pose(new)
        old = self._fields
        self._fields = {n: np.concatenate([old[n], x]) if old else x for n, x in new.items()}

    def so_far(self) -> Clip:
        """The frames as a clip for `ExpertStream`: "lips" is an array of crops, which nobody has to
        decode, and "pose" is absent before anybody is found."""
        modalities: dict[str, Frames] = {}
        if "keypoints" in self._fields:
            with contextlib.suppress(NoPerson):
                pose = self._pose(self._fields)
                modalities["pose"] = pose_frames(pose.points, pose.fps)
        if "lips" in self._fields:
            modalities["lips"] = Frames(self._fields["lips"], self._fps, self.n_frames)
        return Clip("", "", modalities=modalities)

    def whole(self, clip_id: str) -> Clip:
        """The clip that a file of all the frames would be read as.

        Raises:
          SignBindError: there is no frame, or nobody in any.
        """
        if not self.n_frames:
            raise SignBindError(f"{_WHERE}: frames: found none, wanted at least 1 before the end")
        modalities: dict[str, Frames] = {}
        if "keypoints" in self._fields:
            pose = self._pose(self._fields)
            modalities["pose"] = pose_frames(pose.points, pose.fps)
        if "lips" in self._fields and self._lip_size is not None:
            modalities["lips"] = lips.lip_frames(self._fields["lips"], self._fps)
        return Clip(clip_id, "", modalities=modalities)

    def _pose(self, fields: dict[str, np.ndarray]) -> Pose:
        return pose_of_fields(self._stated | fields, _WHERE)


def _kinds(fields: dict[str, np.ndarray]) -> str:
    """What frames are of; crops may have any size."""
    shapes = {name: f" {x.shape[1:]}" for name, x in fields.items() if name != "lips"}
    return ", ".join(f"{_CALLED.get(name, name)}{shapes.get(name, '')}" for name in sorted(fields))
