import io
import os
import struct
import warnings
import zipfile

import numpy as np
import pytest
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

from signbind_jax import keypoints
from signbind_jax.data_pipelines.readers.poses import read_pose_file
from signbind_jax.errors import SignBindError

LEFT, RIGHT = 5, 6  # shoulders of COCO-WholeBody


def frames(n_frames: int = 4) -> np.ndarray:
    """COCO-WholeBody keypoints in pixels: shoulders at (500, 300) and (300, 300)."""
    points = np.random.default_rng(0).uniform(200, 600, (n_frames, 133, 2))
    points[:, LEFT], points[:, RIGHT] = (500, 300), (300, 300)
    return points


def saved(path, **fields):
    np.savez(path, **{"keypoints": frames(), "scores": np.ones((4, 133)), "fps": 30.0, **fields})
    return path


def test_pixels_become_shoulder_widths(tmp_path):
    pose = read_pose_file(saved(tmp_path / "a.npz"))
    assert pose.points.shape == (4, 91, 3) and pose.points.dtype == np.float16
    assert pose.fps == 30 and pose.n_repaired == 0 and pose.notes == ()
    np.testing.assert_array_equal(pose.points[:, keypoints.LEFT_SHOULDER], [(0.5, 0, 1)] * 4)
    np.testing.assert_array_equal(pose.points[:, keypoints.RIGHT_SHOULDER], [(-0.5, 0, 1)] * 4)


def test_shares_of_the_frame_give_the_same_pose_as_pixels(tmp_path):
    pixels = read_pose_file(saved(tmp_path / "a.npz")).points.astype(float)
    shares = saved(tmp_path / "b.npz", keypoints=frames() / (1280, 720), width=1280, height=720)
    np.testing.assert_allclose(read_pose_file(shares).points.astype(float), pixels, atol=2e-3)
    unsized = read_pose_file(saved(tmp_path / "c.npz", keypoints=frames() / (1280, 720)))
    assert "square frame" in unsized.notes[0]


def test_a_pose_in_shoulder_widths_is_not_taken_for_shares_of_a_frame(tmp_path):
    pixels = read_pose_file(saved(tmp_path / "a.npz")).points.astype(float)
    again = saved(tmp_path / "b.npz", keypoints=(frames() - (400, 300)) / 200, width=9, height=1)
    np.testing.assert_allclose(read_pose_file(again).points.astype(float), pixels, atol=2e-3)


def test_numbers_that_are_not_finite_are_missing_and_counted(tmp_path):
    points = frames()
    points[0, 0] = np.nan  # nose
    points[1, 10, 1] = np.inf  # right wrist
    points[2, 20] = np.nan  # a toe: not in the layout
    points[3, 9] = 1e9  # left wrist, where no arm reaches
    pose = read_pose_file(saved(tmp_path / "a.npz", keypoints=points))
    assert pose.n_repaired == 3
    assert np.isfinite(pose.points).all()
    for frame, name in ((0, "nose"), (1, "right_wrist"), (3, "left_wrist")):
        assert not pose.points[frame, keypoints.NAMES.index(name)].any()


def test_without_shoulders_the_hands_give_the_scale(tmp_path):
    scores = np.ones((4, 133))
    scores[:, [LEFT, RIGHT]] = 0
    sized = {}
    for factor in (1, 3):
        path = saved(tmp_path / f"{factor}.npz", keypoints=frames() * factor, scores=scores)
        pose = read_pose_file(path)
        assert pose.notes == ("no shoulders: normalised by the hands",)
        assert not pose.points[:, keypoints.LEFT_SHOULDER].any()
        sized[factor] = pose.points.astype(float)
    np.testing.assert_allclose(sized[1], sized[3], atol=5e-3)


@pytest.mark.parametrize("side", ["right", "left", None])
def test_a_hand_without_a_body_reads_as_that_hand_of_a_body_without_shoulders(tmp_path, side):
    scores = np.zeros((4, 133))
    hand = slice(91, 112) if side == "left" else slice(112, 133)
    scores[:, hand] = 1
    body = read_pose_file(saved(tmp_path / "body.npz", scores=scores))
    alone = {"keypoints": frames()[:, hand], "scores": scores[:, hand]}
    if side:
        alone["scheme"] = f"{side}_hand_21"
    pose = read_pose_file(saved(tmp_path / "hand.npz", **alone))
    np.testing.assert_array_equal(pose.points, body.points)
    assert pose.notes[-1] == "no shoulders: normalised by the hands"
    assert ("one hand of an unknown side: taken as the right" in pose.notes) == (side is None)


@pytest.mark.parametrize("side", ["LEFT", "RIGHT"])
def test_a_pose_file_of_one_hand_says_which(tmp_path, side):
    part = PoseHeaderComponent(
        f"{side}_HAND_LANDMARKS", [f"{i}" for i in range(21)], [], [(0, 0, 0)], "XYZC"
    )
    header = PoseHeader(0.1, PoseHeaderDimensions(640, 480, 0), [part])
    points = np.random.default_rng(0).uniform(100, 300, (4, 1, 21, 3)).astype(np.float32)
    body = NumPyPoseBody(25, points, np.ones((4, 1, 21), np.float32))
    with open(tmp_path / "a.pose", "wb") as file:
        Pose(header, body).write(file)
    pose = read_pose_file(tmp_path / "a.pose")
    of = {"LEFT": keypoints.LEFT_HAND_SLICE, "RIGHT": keypoints.RIGHT_HAND_SLICE}
    assert (pose.points[:, of.pop(side), 2] == 1).all()
    assert not pose.points[:, next(iter(of.values()))].any()


def test_a_third_column_that_is_no_confidence_is_refused(tmp_path):
    xyz = np.concatenate([frames(), frames()[..., :1]], -1)
    path = tmp_path / "a.npz"
    np.savez(path, keypoints=xyz, fps=25)
    with pytest.raises(SignBindError, match="third column"):
        read_pose_file(path)


def test_of_several_people_the_first_is_taken_and_it_is_told(tmp_path):
    two = np.stack([frames(), frames() * 0 + 1], 1)
    pose = read_pose_file(saved(tmp_path / "a.npz", keypoints=two, scores=np.ones((4, 2, 133))))
    alone = read_pose_file(saved(tmp_path / "b.npz"))
    assert pose.notes == ("several people: the first taken",)
    np.testing.assert_array_equal(pose.points, alone.points)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"keypoints": np.zeros((0, 133, 2)), "scores": np.zeros((0, 133))}, "0 frames"),
        ({"keypoints": np.zeros((4, 133, 2)), "scores": np.zeros((4, 133))}, "no frame shows"),
        ({"keypoints": np.zeros((4, 99, 2))}, "99 points.*mediapipe_543"),
        ({"scheme": "rtmpose"}, "'rtmpose'.*coco_wholebody_133"),
        ({"scores": np.ones((3, 133))}, "scores: found.*\\(3, 133\\)"),
        ({"scores": np.ones((4, 0, 133))}, "scores: found.*\\(4, 0, 133\\)"),
        ({"fps": 0.0}, "fps: found 0, wanted 1 to 1000 frames a second"),
        ({"fps": 1e300}, "fps: found 1e\\+300"),
        ({"fps": np.nan}, "fps: found nan"),
        ({"fps": -25.0}, "fps: found -25"),
        ({"width": np.inf, "height": 1}, "width: found inf"),
        ({"height": -3}, "height: found -3"),
        ({"scheme": "mediapipe_543"}, "keypoints: found 133 points, wanted the 543"),
        ({"scheme": "x" * 1000}, "scheme: found <U1000"),
        ({"keypoints": np.zeros((50_001, 17, 2), np.uint8)}, "17 points"),
        ({"keypoints": np.zeros((50_001, 133, 2), np.uint8)}, "found 50001 frames, wanted 1 to"),
        ({"fps": "fast"}, "fps: found"),
        ({"keypoints": np.array([{"a": 1}], object)}, "cannot be read"),
    ],
)
def test_faults_are_named(tmp_path, fields, said):
    with pytest.raises(SignBindError, match=said) as error:
        read_pose_file(saved(tmp_path / "a.npz", **fields))
    assert "a.npz" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.npz", "a.pose"])
def test_bytes_that_are_no_pose_are_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\x00\x80?not a pose at all" * 20)
    with pytest.raises(SignBindError, match="cannot be read") as error:
        read_pose_file(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_field_that_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=frames())
    with pytest.raises(SignBindError, match="field fps: missing"):
        read_pose_file(tmp_path / "a.npz")


def test_an_archive_of_a_few_bytes_is_not_unpacked_to_gigabytes(tmp_path, monkeypatch):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 133, 3)}
    np.lib.format.write_array_header_1_0(header, shape)
    path = saved(tmp_path / "a.npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keypoints.npy", header.getvalue())
    # The archive's own index claims what the array would take.
    data = path.read_bytes()
    size = struct.pack("<I", len(header.getvalue()))
    path.write_bytes(data.replace(size, struct.pack("<I", 8 * 10**6 * 133 * 3 % 2**32)))
    with pytest.raises(SignBindError, match="a.npz: found arrays of [0-9,]+ bytes, wanted at most"):
        read_pose_file(path)


def test_coordinates_beyond_every_number_are_no_pose(tmp_path):
    points = frames() * 1e36
    points[:, [LEFT, RIGHT]] = 0
    scores = np.ones((4, 133))
    scores[:, 60:] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SignBindError, match="a.npz: pose: no"):
            read_pose_file(saved(tmp_path / "a.npz", keypoints=points, scores=scores))


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in ("a.npz", "a.pose"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(SignBindError, match=f"{name}: found a named pipe, wanted a file"):
            read_pose_file(tmp_path / name)


def pose_file(path, fps: float = 25.0):
    """A `.pose` file of four frames of COCO-WholeBody, and where its body begins."""
    scheme = keypoints.SCHEMES["coco_wholebody_133"]
    names = [f"p{i}" for i in range(scheme.n_points)]
    for i, source in enumerate(scheme.source_k[: keypoints.FACE_SLICE.start]):
        if source >= 0:
            names[source] = keypoints.NAMES[i]
    components = []
    for part, size in scheme.parts:
        components.append(PoseHeaderComponent(part, names[:size], [], [], "XYC"))
        names = names[size:]
    header = PoseHeader(0.2, PoseHeaderDimensions(1280, 720, 0), components)
    body = NumPyPoseBody(fps, frames()[:, None].astype(np.float32), np.ones((4, 1, 133)))
    with open(path, "wb") as file:
        Pose(header, body).write(file)
    return path, path.stat().st_size - 4 * 133 * 3 * 4 - 10


def test_a_pose_file_is_read(tmp_path):
    path, _ = pose_file(tmp_path / "a.pose")
    wanted = read_pose_file(saved(tmp_path / "a.npz"))
    np.testing.assert_array_equal(read_pose_file(path).points, wanted.points)


@pytest.mark.parametrize("fps", [0.0, -1.0, 1e30, np.nan, np.inf])
def test_a_rate_of_a_pose_file_is_one_that_a_recording_may_have(tmp_path, fps):
    path, _ = pose_file(tmp_path / "a.pose", fps)
    with pytest.raises(SignBindError, match="a.pose: fps: found .*, wanted 1 to 1000"):
        read_pose_file(path)


@pytest.mark.parametrize(
    ("at", "number", "said"),
    [
        ("body+4", b"\xff\xff\xff\x7f", "cannot be read as a .pose file"),  # frames
        ("body+4", b"\x03\x00\x00\x00", "bytes behind the last frame"),
        ("body+8", b"\xff\xff", "cannot be read as a .pose file"),  # people
        ("body+8", b"\x00\x00", "cannot be read as a .pose file"),
        ("10", b"\xff\xff", "cannot be read as a .pose file"),  # components
        ("12", b"\xff\xff", "a name that is none"),
        ("points", b"\xff\xff", "65535 points"),
        ("limbs", b"\xff\xff", "65535 limbs"),
        ("name", b"\n", "a name that is none"),
        ("0", b"\x00\x00\xc0\x7f", "cannot be read as a .pose file"),  # version
    ],
)
def test_a_header_cannot_ask_for_more_than_the_file_holds(tmp_path, at, number, said):
    path, body = pose_file(tmp_path / "a.pose")
    data = bytearray(path.read_bytes())
    points = data.index(b"\x03\x00XYC") + 5
    at = {
        "points": points,
        "limbs": points + 2,
        "name": 14,
        "body+4": body + 4,
        "body+8": body + 8,
    }.get(at) or int(at)
    data[at : at + len(number)] = number
    path.write_bytes(data)
    with pytest.raises(SignBindError, match=f"a.pose: .*{said}") as raised:
        read_pose_file(path)
    assert "\n" not in str(raised.value)
