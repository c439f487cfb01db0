"""Reading poses of any known scheme from files, in the canonical layout and units."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data.clip import FPS_RANGE, MOST_FRAMES
from signbind_jax.data_pipelines.readers.pose_header import LONGEST_NAME, not_a_pose, read_header
from signbind_jax.errors import SignBindError

MOST_BYTES = 330_000_000  # of a file's numbers, unpacked: so many frames of 543 points
LARGEST_SIDE = 65_535  # pixels of a picture
SURE = 0.3  # keypoints below this confidence do not decide the clip's scale
_FIELDS = ("keypoints", "fps", "scores", "scheme", "width", "height")


class NoPerson(SignBindError):
    """A pose in whose frames nobody is found."""


@dataclass(frozen=True)
class _Anchor:
    """What a clip is centred on and scaled by.

    `centres`: groups of keypoints, the mean of each is a centre; `spans`: pairs whose
    distance is `length` shoulder widths; `height`: where the centre stands below
    mid-shoulder. The numbers are medians over recorded sentences.
    """

    name: str
    centres: tuple[tuple[int, ...], ...]
    spans: tuple[tuple[int, int], ...]
    length: float = 1.0
    height: float = 0.0


_SHOULDERS = (keypoints.LEFT_SHOULDER, keypoints.RIGHT_SHOULDER)
_WRISTS = (keypoints.LEFT_HAND_SLICE.start, keypoints.RIGHT_HAND_SLICE.start)
_MIDDLE_KNUCKLE = keypoints.HAND.index("middle_1")
_ANCHORS = (
    _Anchor("shoulders", (_SHOULDERS,), (_SHOULDERS,)),
    _Anchor(
        "hands",
        tuple((wrist,) for wrist in _WRISTS),
        tuple((wrist, wrist + _MIDDLE_KNUCKLE) for wrist in _WRISTS),
        0.22,
        0.4,
    ),
    _Anchor("eyes", (keypoints.EYE_OUTER_CORNERS,), (keypoints.EYE_OUTER_CORNERS,), 0.28, -0.57),
)


@dataclass(frozen=True)
class Pose:
    """A clip's pose in the canonical layout.

    Attributes:
      points: f16 (t, 91, 3) x, y in shoulder widths about the clip's mid-shoulder point (y
        grows downwards) and confidence in 0..1; a missing keypoint is (0, 0, 0).
      fps: frames a second.
      n_repaired: keypoints that were not finite and count as missing.
      notes: what else was decided for this file, to be counted in the build's report.
    """

    points: np.ndarray
    fps: float
    n_repaired: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Recording:
    """What a file holds: (t, n, 3) x, y, confidence in its scheme and units."""

    points_tnc: np.ndarray
    scheme: str
    fps: float
    width: float
    height: float
    notes: tuple[str, ...]


def read_pose_file(path: Path) -> Pose:
    """The pose of a `.pose` or `.npz` file, canonical and normalised.

    A `.npz` holds `keypoints` (t, n, 2) x, y or (t, n, 3) x, y, confidence; `fps`; and may
    hold `scores` (t, n), `scheme` (else the number of points decides) and, for coordinates
    in 0..1, the frame's `width` and `height` in pixels.

    Raises:
      SignBindError: where the file is missing, broken, empty or of no known scheme.
    """
    path = Path(path)
    files.check_regular(path)
    if path.suffix == ".pose":
        recording = _read_pose_format(path)
    elif path.suffix == ".npz":
        recording = _read_npz(path)
    else:
        raise SignBindError(
            f"{path}: pose: found a file ending {path.suffix!r}, wanted .pose or .npz"
        )
    return _canonical(recording, str(path))


def canonical_pose(
    points_tnc: np.ndarray,
    scheme: str,
    fps: float,
    *,
    size: tuple[float, float],
    notes: tuple[str, ...] = (),
    where: str = "pose",
) -> Pose:
    """The pose of keypoints in any known scheme, canonical and normalised.

    Args:
      points_tnc: (t, n, 3) x, y, confidence.
      scheme: a name in `keypoints.SCHEMES`.
      fps: frames a second.
      size: width and height of the picture in pixels, for coordinates in 0..1.
      notes: see `Pose`.
      where: what an error calls the source, such as a file name.

    Raises:
      SignBindError: no frames, no frame rate, or no frame that shows shoulders, a hand or the
        eyes.
    """
    return _canonical(_Recording(points_tnc, scheme, fps, *size, notes), where)


def pose_of_fields(fields: Mapping[str, np.ndarray], path: Path) -> Pose:
    """The pose of arrays that another file than an `.npz` holds.

    Args:
      fields: as `read_pose_file` finds them in an `.npz`.
      path: what an error calls the source.

    Raises:
      SignBindError: see `read_pose_file`.
    """
    return _canonical(_recording_of_fields(fields, path), str(path))


def normalise(points_tkc: np.ndarray, where: str = "pose") -> tuple[np.ndarray, str]:
    """Canonical keypoints in shoulder widths about the mid-shoulder point, and the anchor used.

    Centre and width are medians over the frames in which both shoulders are sure, so that
    the signer's movement stays. Where no frame shows them, the hands stand in (the wrists
    for the centre, wrist to middle knuckle for the scale), then the eyes.

    Args:
      points_tkc: float (t, 91, 3) x, y in any unit with square pixels, confidence in 0..1.
      where: what the error calls the source, such as a file name.

    Returns:
      The points as float32 (t, 91, 3), and "shoulders", "hands" or "eyes".

    Raises:
      NoPerson: where no frame shows shoulders, a hand or the eyes.
    """
    for least in (SURE, 0.0):
        for anchor in _ANCHORS:
            centres_nc = _sure(points_tkc, anchor.centres, least).mean(1)
            spans_nac = _sure(points_tkc, anchor.spans, least)
            if not len(spans_nac) or not len(centres_nc):
                continue
            span = np.median(np.linalg.norm(spans_nac[:, 0] - spans_nac[:, 1], axis=-1))
            if span < 1e-6:
                continue
            xy_tkc = points_tkc[..., :2] - np.median(centres_nc, axis=0)
            xy_tkc = xy_tkc * (anchor.length / span) + (0, anchor.height)
            points = np.concatenate([xy_tkc, points_tkc[..., 2:]], -1) * (points_tkc[..., 2:] > 0)
            return points.astype(np.float32), anchor.name
    raise NoPerson(f"{where}: pose: no frame shows shoulders, a hand or the eyes")


def _sure(points_tkc: np.ndarray, groups: tuple[tuple[int, ...], ...], least: float) -> np.ndarray:
    """x, y (n, group, 2) wherever all keypoints of a group are more than `least` sure."""
    found = [
        points_tkc[(points_tkc[:, group, 2] > least).all(1)][:, group, :2]
        for group in map(list, groups)
    ]
    return np.concatenate(found).astype(np.float64)


@np.errstate(over="ignore", invalid="ignore")  # coordinates that are beyond every number
def _canonical(recording: _Recording, where: str) -> Pose:
    _check_frames(len(recording.points_tnc), where)
    if not FPS_RANGE[0] <= recording.fps <= FPS_RANGE[1]:
        raise SignBindError(
            f"{where}: fps: found {recording.fps:g}, wanted {FPS_RANGE[0]:g} to "
            f"{FPS_RANGE[1]:g} frames a second"
        )
    for name, side in (("width", recording.width), ("height", recording.height)):
        if not 0 <= side <= LARGEST_SIDE:
            raise SignBindError(
                f"{where}: {name}: found {side:g}, wanted at most {LARGEST_SIDE} pixels"
            )
    source_k = np.array([i for i in keypoints.SCHEMES[recording.scheme].source_k if i >= 0])
    n_repaired = int((~np.isfinite(recording.points_tnc[:, source_k]).all(-1)).sum())
    points_tkc = keypoints.to_canonical(recording.points_tnc, recording.scheme, where)
    notes = list(recording.notes)
    if _is_relative(points_tkc):
        if recording.width > 0 and recording.height > 0:
            points_tkc[..., 0] *= recording.width / recording.height
        else:
            notes.append("coordinates in 0..1 without a frame size: a square frame taken")
    points_tkc, anchor = normalise(points_tkc, where)
    if anchor != "shoulders":
        notes.append(f"no shoulders: normalised by the {anchor}")
    half_tkc = points_tkc.astype(np.float16)
    # A keypoint thousands of shoulder widths away is no keypoint.
    overflow_tk = ~np.isfinite(half_tkc).all(-1)
    half_tkc[overflow_tk] = 0
    half_tkc[half_tkc[..., 2] == 0] = 0  # a confidence that f16 rounds to 0 is a missing point
    if not half_tkc.any():
        raise NoPerson(f"{where}: pose: no keypoint is near where a person's can be")
    return Pose(half_tkc, recording.fps, n_repaired + int(overflow_tk.sum()), tuple(notes))


def _is_relative(points_tkc: np.ndarray) -> bool:
    """Whether coordinates are shares of the frame: nine in ten between 0 and 1.

    Poses in shoulder widths are about 0 and have as many coordinates below 0 as above.
    """
    xy_nc = points_tkc[points_tkc[..., 2] > 0][:, :2]
    return bool(len(xy_nc)) and ((xy_nc >= 0) & (xy_nc <= 1)).mean() >= 0.9


def _check_frames(n_frames: int, where: str) -> None:
    if not 0 < n_frames <= MOST_FRAMES:
        raise SignBindError(f"{where}: pose: found {n_frames} frames, wanted 1 to {MOST_FRAMES}")


def _read_pose_format(path: Path) -> _Recording:
    data = files.read_bytes(path, MOST_BYTES)
    header, reader, scheme = read_header(data, path)
    from pose_format.numpy import NumPyPoseBody

    try:
        body = NumPyPoseBody.read(header, reader)
        if reader.bytes_left():
            raise ValueError(f"{reader.bytes_left()} bytes behind the last frame")
    except Exception as error:
        raise not_a_pose(path, error) from error
    points_tpnc, confidence_tpn = np.ma.getdata(body.data), np.ma.getdata(body.confidence)
    n_frames, n_people = points_tpnc.shape[:2]
    _check_frames(n_frames, str(path))
    if n_people == 0:
        raise SignBindError(f"{path}: people: found 0, wanted 1")
    points_tnc = np.concatenate(
        [points_tpnc[:, 0, :, :2], confidence_tpn[:, 0, :, None]], axis=-1, dtype=np.float32
    )
    dimensions = header.dimensions
    return _Recording(
        points_tnc, scheme, float(body.fps), dimensions.width, dimensions.height, _people(n_people)
    )


def _people(n_people: int) -> tuple[str, ...]:
    return ("several people: the first taken",) if n_people > 1 else ()


def _read_npz(path: Path) -> _Recording:
    return _recording_of_fields(files.read_arrays(path, _FIELDS, MOST_BYTES), path)


def _recording_of_fields(fields: Mapping[str, np.ndarray], path: Path) -> _Recording:
    for name in ("keypoints", "fps"):
        if name not in fields:
            raise SignBindError(f"{path}: field {name}: missing; found {sorted(fields)}")
    points_tnc = fields["keypoints"]
    notes: tuple[str, ...] = ()
    if points_tnc.ndim == 4 and points_tnc.shape[1] >= 1:  # (t, people, n, c)
        notes = _people(points_tnc.shape[1])
        points_tnc = points_tnc[:, 0]
    numeric = points_tnc.dtype.kind in "fiu"
    if not numeric or points_tnc.ndim != 3 or points_tnc.shape[2] not in (2, 3):
        raise SignBindError(
            f"{path}: keypoints: found {points_tnc.dtype} {points_tnc.shape}, "
            "wanted numbers (frames, points, 2 or 3)"
        )
    scheme = _scheme(fields, points_tnc, path)
    if "scheme" not in fields and points_tnc.shape[1] == len(keypoints.HAND):
        notes += ("one hand of an unknown side: taken as the right",)
    _check_frames(len(points_tnc), str(path))
    with np.errstate(over="ignore"):
        points_tnc = points_tnc.astype(np.float32, copy=False)
    confidence_tn = _confidence(points_tnc, fields.get("scores"), path)
    numbers = {name: _number(fields, name, path) for name in ("fps", "width", "height")}
    points_tnc = np.concatenate([points_tnc[..., :2], confidence_tn[..., None]], -1)
    return _Recording(points_tnc, scheme, **numbers, notes=notes)


def _scheme(fields: Mapping[str, np.ndarray], points_tnc: np.ndarray, path: Path) -> str:
    """The scheme that a file names, or that has as many points."""
    if "scheme" not in fields:
        return keypoints.scheme_of(points_tnc.shape[1], str(path))
    named = fields["scheme"]
    if named.size != 1 or named.dtype.kind != "U" or named.itemsize > 4 * LONGEST_NAME:
        raise SignBindError(f"{path}: scheme: found {named.dtype} {named.shape}, wanted a name")
    scheme, n_points = str(named.reshape(())), points_tnc.shape[1]
    if scheme not in keypoints.SCHEMES:
        keypoints.to_canonical(points_tnc, scheme, str(path))  # raises, listing the known ones
    if n_points != keypoints.SCHEMES[scheme].n_points:
        raise SignBindError(
            f"{path}: keypoints: found {n_points} points, wanted the "
            f"{keypoints.SCHEMES[scheme].n_points} of {scheme}"
        )
    return scheme


def _confidence(points_tnc: np.ndarray, scores: np.ndarray | None, path: Path) -> np.ndarray:
    """Confidence (t, n): the scores, else the third column, else 1 wherever a point is set."""
    if scores is not None:
        if scores.ndim == 3 and scores.shape[1] >= 1:  # (t, people, n)
            scores = scores[:, 0]
        if scores.shape != points_tnc.shape[:2] or scores.dtype.kind not in "fiu":
            raise SignBindError(
                f"{path}: scores: found {scores.dtype} {scores.shape}, "
                f"wanted numbers {points_tnc.shape[:2]}"
            )
        with np.errstate(over="ignore"):
            return scores.astype(np.float32, copy=False)
    if points_tnc.shape[2] == 2:
        return (points_tnc != 0).any(-1).astype(np.float32)
    confidence_tn = points_tnc[..., 2]
    known = confidence_tn[np.isfinite(confidence_tn)]
    # Estimators overshoot 1 by a little; depths and pixels do so by far.
    if known.size and (known.min() < -0.1 or known.max() > 1.5):
        raise SignBindError(
            f"{path}: keypoints: third column: found {known.min():.3g} to "
            f"{known.max():.3g}, wanted confidences in 0..1: put them in a field "
            "'scores'"
        )
    return confidence_tn


def _number(fields: Mapping[str, np.ndarray], name: str, path: Path) -> float:
    """A field's one number; 0 where the field is absent."""
    if name not in fields:
        return 0.0
    value = fields[name]
    if value.size != 1 or value.dtype.kind not in "fiu":
        raise SignBindError(f"{path}: {name}: found {value.dtype} {value.shape}, wanted one number")
    return float(value.reshape(()))
