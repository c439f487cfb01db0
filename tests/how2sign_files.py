"""Writes How2Sign as its users have it on disk: lists, OpenPose JSON, RTMPose pickles, videos.

Everything in it is synthetic; the layout and its oddities are those of the released files.
`python -m tests.how2sign_files DIR` writes what docs/use/train_on_how2sign.md trains on.
"""

import csv
import gzip
import json
import pickle
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from signbind_jax.data_pipelines.synthetic.corpus import generate_clip
from signbind_jax.keypoints import NAMES

HEADER = (
    "VIDEO_ID",
    "VIDEO_NAME",
    "SENTENCE_ID",
    "SENTENCE_NAME",
    "START_REALIGNED",
    "END_REALIGNED",
    "SENTENCE",
)
CENTRE, WIDTH = (640.0, 400.0), 160.0  # pixels: the signer's mid-shoulder point and shoulders

# Orders of the two estimators, as their makers document them.
_BODY_25 = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
)
_COCO_23 = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    *(f"below_{i}" for i in range(12)),
)


def _numbered(name: str, n: int) -> tuple[str, ...]:
    return tuple(f"{name}_{i}" for i in range(n))


_FACE_68 = (
    *_numbered("jaw", 17),
    *_numbered("right_brow", 5),
    *_numbered("left_brow", 5),
    *_numbered("bridge", 9),
    *_numbered("right_eye", 6),
    *_numbered("left_eye", 6),
    *_numbered("outer_lip", 12),
    *_numbered("inner_lip", 8),
)
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _hand(side: str) -> tuple[str, ...]:
    joints = (f"{finger}_{joint}" for finger in _FINGERS for joint in range(1, 5))
    return tuple(f"{side}_hand_{name}" for name in ("wrist", *joints))


PARTS = {
    "pose_keypoints_2d": _BODY_25,
    "face_keypoints_2d": (*_FACE_68, "right_pupil", "left_pupil"),
    "hand_left_keypoints_2d": _hand("left"),
    "hand_right_keypoints_2d": _hand("right"),
}
WHOLEBODY = (*_COCO_23, *_FACE_68, *_hand("left"), *_hand("right"))


def canonical(t: int, confidence: float = 1.0) -> np.ndarray:
    """What is to be read of the signer in frame t: (91, 3) in shoulder widths."""
    fixed = {"left_shoulder": (0.5, 0.0), "right_shoulder": (-0.5, 0.0)}
    points = []
    for i, name in enumerate(NAMES):
        x, y = fixed.get(name, (-0.9 + 0.02 * i, -0.8 + 0.017 * i + 0.01 * (t % 7)))
        points.append((x, y, confidence))
    return np.array(points)


def person(
    t: int, *, centre: tuple[float, float] = CENTRE, width: float = WIDTH, confidence: float = 1.0
) -> dict[str, tuple[float, float, float]]:
    """Keypoint name -> x, y in pixels and confidence, of the signer or somebody like them."""
    found = {
        name: (float(x * width + centre[0]), float(y * width + centre[1]), float(c))
        for name, (x, y, c) in zip(NAMES, canonical(t, confidence), strict=True)
    }
    return found | {"neck": (*centre, confidence)}


def realigned(file: Path, *rows: Sequence[object], end: str = "\n", start: str = "") -> None:
    """A list as it is released: (name, start, end, sentence) becomes a row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", encoding="utf-8", newline="") as opened:
        opened.write(start)
        writer = csv.writer(opened, delimiter="\t", lineterminator=end)
        writer.writerow(HEADER)
        writer.writerows(row_of(*row) for row in rows)


def row_of(name: str, start: object, end: object, sentence: str) -> list[str]:
    """`00dWJ4YRRSI_0_1-5-rgb_front` is of video `00dWJ4YRRSI-5-rgb_front`."""
    sentence_id, _, view = name.partition("-rgb")
    sentence_id, _, signer = sentence_id.rpartition("-")
    video_id = sentence_id[:11]
    return [
        video_id,
        f"{video_id}-{signer}-rgb{view}",
        sentence_id,
        name,
        str(start),
        str(end),
        sentence,
    ]


def frame(people: Iterable[dict], version: float = 1.3) -> str:
    """The JSON of a frame."""
    listed = []
    for found in people:
        record: dict = {"person_id": [-1]}
        for part, names in PARTS.items():
            record[part] = [value for name in names for value in found.get(name, (0, 0, 0))]
        listed.append(record | {part.replace("2d", "3d"): [] for part in PARTS})
    return json.dumps({"version": version, "people": listed}, separators=(",", ":"))


def openpose(root: Path, name: str, frames: Iterable[str | None]) -> Path:
    """A clip of frames' JSON; None is a frame whose file is missing."""
    directory = root / name
    directory.mkdir(parents=True)
    for number, text in enumerate(frames):
        if text is not None:
            (directory / f"{name}_{number:012d}_keypoints.json").write_text(text)
    return directory


def signing(n_frames: int, confidence: float = 1.0) -> list[str]:
    """Frames that show the signer alone."""
    return [frame([person(t, confidence=confidence)]) for t in range(n_frames)]


def rtmpose(
    file: Path,
    frames: Iterable[Sequence[dict]],
    *,
    packed: bool = False,
    protocol: int = 4,
    **more: int,
) -> None:
    """A clip as Uni-Sign pickles it; each frame is a list of people."""
    points, scores = [], []
    for people in frames:
        values = np.array([[found.get(name, (0, 0, 0)) for name in WHOLEBODY] for found in people])
        points.append(values[..., :2] / (1280, 720))
        scores.append(values[..., 2].astype(np.float32))
    pickled = pickle.dumps({"keypoints": points, "scores": scores, **more}, protocol)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(pickled) if packed else pickled)


def labels(file: Path, entries: dict[str, str]) -> None:
    """Uni-Sign's list of sentences: names end in .mp4, glosses are empty."""
    listed = {}
    for name in (f"{name}.mp4" for name in entries):
        text = entries[name.removesuffix(".mp4")]
        listed[name] = {"name": name, "gloss": "", "text": text, "video_path": name}
    file.write_bytes(gzip.compress(pickle.dumps(listed)))


def video(file: Path, n_frames: int, fps: str = "24") -> None:
    """A black video."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(n_frames):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def stand_in(root: Path, counts: dict[str, int]) -> None:
    """Sentences of the synthetic corpus as files of How2Sign, so many in train, val and test.

    In `root/new` the poses of the test sentences are there once more as one .npz each, as a pose
    estimator of the user's own may write them.
    """
    (root / "new").mkdir(parents=True)
    for number, (split, count) in enumerate(counts.items()):
        rows = []
        poses = root / "keypoints" / f"{split}_2D_keypoints" / "openpose_output" / "json"
        for i in range(count):
            clip = generate_clip(seed=0, split=split.replace("val", "validation"), index=i)
            name = f"synthetic0{number}_{i:02d}-{number + 1}-rgb_front"
            pose_tkc = clip.modalities["pose"].data.astype(np.float64)
            rows.append((name, 10.0 * i, round(10.0 * i + len(pose_tkc) / 24, 2), clip.text))
            pose_tkc[..., :2] = pose_tkc[..., :2] * WIDTH + CENTRE
            pose_tkc = (pose_tkc * (pose_tkc[..., 2:] > 0)).round(3)
            people = [dict(zip(NAMES, points, strict=True)) for points in pose_tkc.tolist()]
            openpose(poses, name, [frame([found]) for found in people])
            if split == "test":
                order = [point for points in PARTS.values() for point in points]
                keypoints = [[found.get(point, (0, 0, 0)) for point in order] for found in people]
                np.savez_compressed(root / "new" / f"{name}.npz", keypoints=keypoints, fps=24.0)
        realigned(root / "how2sign" / f"how2sign_realigned_{split}.csv", *rows)


if __name__ == "__main__":
    stand_in(Path(sys.argv[1]), {"train": 16, "val": 4, "test": 8})
