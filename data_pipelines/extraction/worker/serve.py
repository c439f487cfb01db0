"""Extracts one clip after another for the process that started this one.

Each line of standard input is a clip in JSON: `path`, `start_s`, `end_s`, `fps` (see `video.Span`),
`out` (the file to be written) and `partial` (its name until it is whole). Each line of standard
output is an answer in JSON: `{"ready": versions}` first; for a clip any number of `{"frames": n}`,
signs of life, and then either `{"done": summary}` or `{"failed": reason}`. `{"stop": reason}` says
that no clip can be done. The line `null` asks whether the process is alive: it answers "ready"
again. The end of standard input ends the process.
"""

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

import numpy as np

from . import mouth, video

SCHEME = "mediapipe_543"
BODY, FACE = slice(0, 33), slice(33, 501)
LEFT_HAND, RIGHT_HAND = slice(501, 522), slice(522, 543)
BODY_MOUTH = (9, 10)  # its corners, as the body model sees them
FOREHEAD, CHIN = 10, 152  # vertices of the face mesh
FARTHEST = 0.4  # of the face's height, between the mouths of body and face mesh; found: under 0.1
SIGN_OF_LIFE_S = 1.0
FINEST = 64  # parts of a pixel that coordinates are stored in: what is beyond is noise, and large
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Detector(Protocol):
    """What finds landmarks: `holistic.Holistic`."""

    versions: dict

    def reset(self) -> None: ...

    def landmarks(self, picture_hwc: np.ndarray) -> np.ndarray: ...


class _Pulse:
    """Tells the other process that this one is alive."""

    def __init__(self, answer):
        self.frames, self._answer, self._last = 0, answer, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > SIGN_OF_LIFE_S:
            self._last = time.monotonic()
            self._answer({"frames": self.frames})


class Extracted(NamedTuple):
    """Landmarks and crops of a clip, and what is to be said about them."""

    points_tnc: np.ndarray
    crops_thw: np.ndarray
    state_t: np.ndarray
    fps: float
    width: int
    height: int
    summary: dict


def serve(make_detector) -> None:
    """Answers until standard input ends; see the module.

    Args:
      make_detector: gives a `Detector`; raises RuntimeError where it does not work.
    """
    answers = _private_output()

    def answer(message: dict) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
            answers.flush()
        except BrokenPipeError:  # nobody waits any more
            os._exit(1)

    try:
        detector = make_detector()
    except RuntimeError as error:
        return answer({"stop": " ".join(str(error).split())})
    ready = {"ready": detector.versions}
    answer(ready)
    for line in sys.stdin:
        clip = json.loads(line)
        answer(_answer_to(clip, detector, _Pulse(answer)) if clip else ready)


def _private_output() -> TextIO:
    """Standard output for answers alone: what libraries print goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _answer_to(clip: dict, detector: Detector, pulse: _Pulse) -> dict:
    span = video.Span(Path(clip["path"]), clip["start_s"], clip["end_s"], clip["fps"])
    try:
        extracted = extract(span, detector, pulse)
        _save(extracted, span, detector.versions, Path(clip["out"]), Path(clip["partial"]))
    except video.Unreadable as reason:
        return {"failed": str(reason)}
    except OSError as error:
        if error.errno in NO_ROOM:
            return {"stop": f"{clip['out']}: cannot be written: {error.strerror}"}
        return {"failed": f"{type(error).__name__}: {error.strerror or error}"}
    except Exception as error:  # whatever a broken recording does to a library
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return {"done": extracted.summary}


def extract(span: video.Span, detector: Detector, pulse=lambda: None) -> Extracted:
    """Landmarks and mouth crops of a clip.

    It is decoded twice, as a crop needs the landmarks of the frames behind it; so a long clip
    takes no more memory than its landmarks and crops.

    Raises:
      Unreadable: there is no clip.
    """
    frames = video.Frames(span, pulse)
    detector.reset()
    points, places = [], []
    for picture, n in frames.frames():
        points.append(detector.landmarks(picture))
        places.append(n)
        pulse.frames = len(points)
        height, width = picture.shape[:2]
    notes = dict(frames.notes)
    points_tnc = np.repeat(np.stack(points), places, axis=0)
    if n := forget_wrong_faces(points_tnc):
        notes["frames whose face lies elsewhere than the body's mouth, now without a face"] = n
    transform_t23, state_t = mouth.transforms(points_tnc[:, FACE], frames.fps)
    crops_thw = np.zeros((len(points_tnc), mouth.SIZE, mouth.SIZE), np.uint8)
    t = 0
    for picture, n in frames.frames(grey=True):
        for _ in range(n):
            if t < len(state_t) and state_t[t] != mouth.NO_FACE:
                crops_thw[t] = mouth.cut(picture, transform_t23[t])
            t += 1
    if t != len(points_tnc):
        raise video.Unreadable(
            f"found {len(points_tnc)} frames, then {t}: does the recording change?"
        )
    crops_thw = mouth.fill_missing(crops_thw, state_t)
    summary = _summary(points_tnc, state_t, transform_t23, frames.fps) | {"notes": notes}
    return Extracted(points_tnc, crops_thw, state_t, frames.fps, width, height, summary)


def forget_wrong_faces(points_tnc: np.ndarray) -> int:
    """Zeroes face meshes that lie where the body model sees no mouth; how many they were.

    The face model is given a place to look at and always returns a face, on a hand or a wall too.

    Args:
      points_tnc: (t, 543, 3) x, y, score; changed in place.
    """
    face_tvc = points_tnc[:, FACE]
    height_t = np.linalg.norm(face_tvc[:, FOREHEAD, :2] - face_tvc[:, CHIN, :2], axis=1)
    mouths = (points_tnc[:, BODY_MOUTH], face_tvc[:, mouth.MOUTH_CORNERS])
    centres = [corners_t2c[..., :2].mean(1) for corners_t2c in mouths]
    known_t = (mouths[0][..., 2] > 0).all(1) & (mouths[1][..., 2] > 0).all(1)
    distance_t = np.linalg.norm(centres[0] - centres[1], axis=1)
    wrong_t = known_t & (distance_t > FARTHEST * height_t)
    points_tnc[wrong_t, FACE] = 0
    return int(wrong_t.sum())


def _summary(points_tnc, state_t, transform_t23, fps: float) -> dict:
    score_tn = points_tnc[..., 2]
    parts = {"body": BODY, "face": FACE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}
    size_t = np.hypot(transform_t23[:, 0, 0], transform_t23[:, 1, 0]) * mouth.EYES_APART
    seen_t = state_t != mouth.NO_FACE
    return {
        "frames": len(points_tnc),
        "fps": fps,
        "found": {
            name: round(float((score_tn[:, part] > 0).any(1).mean()), 4)
            for name, part in parts.items()
        },
        "interpolated_crops": int((state_t == mouth.INTERPOLATED).sum()),
        "missing_crops": int((~seen_t).sum()),
        "eye_distance": round(float(np.median(size_t[seen_t])), 1) if seen_t.any() else 0.0,
    }


def _save(clip: Extracted, span: video.Span, versions: dict, out: Path, partial: Path) -> None:
    """Writes the file under another name and renames it: it is there whole or not at all."""
    n_bytes = span.path.stat().st_size if span.path.is_file() else 0
    about = {
        "video": span.path.name,
        "video_bytes": n_bytes,
        "start_s": span.start_s,
        "end_s": span.end_s,
        "versions": versions,
        **clip.summary,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(partial, "wb") as file:
            np.savez_compressed(
                file,
                keypoints=np.rint(clip.points_tnc[..., :2] * FINEST) / np.float32(FINEST),
                scores=clip.points_tnc[..., 2],
                scheme=SCHEME,
                fps=clip.fps,
                width=clip.width,
                height=clip.height,
                lips=clip.crops_thw,
                lip_state=clip.state_t,
                found=np.array(list(clip.summary["found"].values()), np.float32),
                about=json.dumps(about),
            )
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
