from pathlib import Path

import numpy as np
import pytest
from pose_format import Pose as PoseFile
from pose_format.utils.cocowholebody133_header import cocowholebody_components
from pose_format.utils.generic import reduce_holistic

from signbind_jax import keypoints
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.data_pipelines import folder
from signbind_jax.data_pipelines.readers.poses import normalise, read_pose_file
from signbind_jax.keypoints import NAMES, to_canonical
from tests.corpora import clips_of

RECORDED = Path(__file__).parents[2] / ".." / "shared" / "data" / "recorded"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recordings in {RECORDED}")

# One recording of each scheme, and a few more of the one most data comes in.
FILES = (
    "poses/mediapipe.pose",
    "poses/openpose.pose",
    "dgs/sentence.pose",
    "fingerspelling_ase/A.pose",
    "dgs/a1859979.pose",
    "dgs/a2746580.pose",
)


def seen(points_tkc: np.ndarray, name: str) -> np.ndarray:
    """x, y (t, 2) of a keypoint, NaN where it is missing."""
    point_tc = points_tkc[:, NAMES.index(name)].astype(float)
    return np.where(point_tc[:, 2:] > 0, point_tc[:, :2], np.nan)


def distance(points_tkc: np.ndarray, name: str, other: str) -> float:
    """Median distance over the frames that show both, in shoulder widths; NaN without any."""
    apart_t = np.linalg.norm(seen(points_tkc, name) - seen(points_tkc, other), axis=-1)
    return float(np.nanmedian(apart_t)) if np.isfinite(apart_t).any() else np.nan


def height(points_tkc: np.ndarray, name: str) -> float:
    return float(np.nanmedian(seen(points_tkc, name)[:, 1]))


@pytest.mark.parametrize("file", FILES)
def test_a_recorded_signer_has_the_shape_of_a_person(file):
    points = read_pose_file(RECORDED / file).points
    # The signer faces the camera: the left of the signer is the right of the picture.
    pairs = (
        ("left_shoulder", "right_shoulder"),
        ("left_eye_3", "right_eye_0"),
        ("outer_lip_6", "outer_lip_0"),
        ("left_brow_4", "right_brow_0"),
    )
    for left, right in pairs:
        assert np.nanmedian(seen(points, left)[:, 0] - seen(points, right)[:, 0]) > 0.05
    assert distance(points, "left_shoulder", "right_shoulder") == pytest.approx(1, abs=0.1)
    face = (
        "right_brow_2",
        "right_eye_1",
        "right_eye_5",
        "outer_lip_3",
        "inner_lip_6",
        "outer_lip_9",
        "left_shoulder",
    )
    heights = [height(points, name) for name in face]
    assert heights == sorted(heights), dict(zip(face, heights, strict=True))
    eyes = distance(points, "right_eye_0", "left_eye_3")
    assert 0.2 < eyes < 0.4
    assert 0.4 < distance(points, "outer_lip_0", "outer_lip_6") / eyes < 0.75


@pytest.mark.parametrize("file", FILES)
def test_each_hand_hangs_on_its_own_arm(file):
    points = read_pose_file(RECORDED / file).points
    for side in ("left", "right"):
        apart = distance(points, f"{side}_wrist", f"{side}_hand_wrist")
        if np.isnan(apart):
            continue  # the hand is not in the picture
        assert apart < 0.15
        tips = [
            distance(points, f"{side}_hand_wrist", f"{side}_hand_middle_{joint}")
            for joint in (1, 4)
        ]
        assert 0.05 < tips[0] < 0.4 and tips[1] < 0.8


def test_the_nose_is_where_the_scheme_has_one():
    nose = NAMES.index("nose")
    assert not read_pose_file(RECORDED / "dgs/a1859979.pose").points[:, nose].any()
    points = read_pose_file(RECORDED / "dgs/sentence.pose").points
    assert height(points, "right_eye_0") < height(points, "nose") < height(points, "outer_lip_3")


def raw(file: str) -> tuple[PoseFile, np.ndarray]:
    pose = PoseFile.read((RECORDED / file).read_bytes())
    return pose, _xyc(pose)


def _xyc(pose: PoseFile) -> np.ndarray:
    data, confidence = np.ma.getdata(pose.body.data), np.ma.getdata(pose.body.confidence)
    return np.concatenate([data[:, 0, :, :2], confidence[:, 0, :, None]], -1)


def test_the_reduced_scheme_shows_the_same_signer_as_the_full_one():
    pose, full = raw("dgs/sentence.pose")
    full = to_canonical(full, "mediapipe_576")
    reduced = to_canonical(_xyc(reduce_holistic(pose)), "mediapipe_178")
    np.testing.assert_array_equal(reduced[:, 1:], full[:, 1:])
    assert full[:, 0].any() and not reduced[:, 0].any()


@pytest.mark.parametrize(
    ("file", "n"), [("dgs/sentence.pose", 576), ("fingerspelling_ase/A.pose", 586)]
)
def test_without_world_points_the_signer_is_the_same(file, n):
    _, points = raw(file)
    np.testing.assert_array_equal(
        to_canonical(points[:, : n - 33], f"mediapipe_{n - 33}"),
        to_canonical(points, f"mediapipe_{n}"),
    )


def test_coco_wholebody_shows_the_same_signer_as_openpose():
    pose, points = raw("poses/openpose.pose")
    names = [name.lower() for part in pose.header.components for name in part.points]
    face, hands = names.index("fb_0"), names.index("base")
    body, *_ = cocowholebody_components()
    coco = np.zeros((len(points), 133, 3))
    for i, name in enumerate(body.points):
        source = name.replace("left_", "l").replace("right_", "r").replace("_", "")
        coco[:, i] = points[:, names.index(source)]
    coco[:, 23:91] = points[:, face : face + 68]
    coco[:, 91:] = points[:, hands:]
    np.testing.assert_array_equal(
        to_canonical(coco, "coco_wholebody_133"), to_canonical(points, "openpose_137")
    )


def test_a_mirrored_signer_is_still_a_signer():
    points = read_pose_file(RECORDED / "dgs/sentence.pose").points.astype(np.float32)
    mirrored = points[:, keypoints.MIRROR] * (-1, 1, 1)
    for i in range(keypoints.FACE_SLICE.start, keypoints.MOUTH_SLICE.stop):
        # About the mean of the face, a face and its mirror image differ by its turn only.
        ours, theirs = (
            np.median(p[:, i, :2] - p[:, 7:49, :2].mean(1), axis=0) for p in (points, mirrored)
        )
        assert np.linalg.norm(ours - theirs) < 0.07, NAMES[i]
    assert (mirrored[:, 1, 0] > mirrored[:, 2, 0]).all()


@pytest.mark.parametrize("gone", ["shoulders", "shoulders and hands"])
def test_a_stand_in_for_the_shoulders_gives_about_the_same_size(gone):
    points = read_pose_file(RECORDED / "dgs/sentence.pose").points.astype(np.float32)
    partial = points.copy()
    partial[:, 1:3] = 0
    if gone != "shoulders":
        partial[:, 49:] = 0
    scaled, anchor = normalise(partial)
    assert anchor == ("hands" if gone == "shoulders" else "eyes")
    ratio = distance(scaled, "right_eye_0", "left_eye_3") / distance(
        points, "right_eye_0", "left_eye_3"
    )
    assert 0.7 < ratio < 1.4


def test_german_sentences_come_out_but_for_the_one_without_text():
    by_split, report = clips_of(folder.open_corpus(RECORDED / "dgs"))
    clips = by_split["train"]
    assert len(clips) == 15
    assert report.left_out == {"empty text": ["a3340720"]}
    assert all(
        clip.modalities["pose"].fps == 25
        and clip.gloss
        and clip.modalities["pose"].data.shape[1:] == (91, 3)
        for clip in clips
    )


def test_of_the_talking_faces_the_one_with_mouth_crops_comes_out():
    by_split, report = clips_of(folder.open_corpus(RECORDED / "grid"))
    (clip,) = by_split["train"]
    assert clip.id == "bbaf2n" and clip.modalities["lips"][1:] == (25, 75)
    crops = decode_mosaic(clip.modalities["lips"].data, 75)
    assert crops.shape == (75, 96, 96) and crops.std() > 10
    (ids,) = report.left_out.values()
    assert len(ids) == 6
