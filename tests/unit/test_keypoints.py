import numpy as np
import pytest
from pose_format.utils.cocowholebody133_header import cocowholebody_components

from signbind_jax import keypoints
from signbind_jax.errors import SignBindError
from signbind_jax.keypoints import NAMES, SCHEMES, scheme_of, to_canonical


def numbered(scheme: str) -> np.ndarray:
    """One frame whose x is each keypoint's own index."""
    n = SCHEMES[scheme].n_points
    return np.stack([np.arange(n), np.zeros(n), np.ones(n)], -1)[None]


@pytest.mark.parametrize("count", [543, 553, 576, 586, 178, 137, 133])
def test_the_number_of_points_names_the_scheme(count):
    assert SCHEMES[scheme_of(count)].n_points == count


def test_coco_wholebody_points_land_under_their_own_names():
    header = [(part.name, part.points) for part in cocowholebody_components()]
    assert scheme_of(header) == "coco_wholebody_133"
    names = [f"{part}/{name}" for part, points in header for name in points]
    x_k = to_canonical(numbered("coco_wholebody_133"), "coco_wholebody_133")[0, :, 0]
    landed = {name: names[int(x)] for name, x in zip(NAMES, x_k, strict=True)}
    for name in keypoints.BODY:
        assert landed[name] == f"BODY/{name}"
    assert landed["left_hand_wrist"] == "LEFT_HAND/hand_0"
    assert landed["right_hand_pinky_4"] == "RIGHT_HAND/hand_20"
    assert landed["outer_lip_0"] == "FACE/face-48"
    assert landed["inner_lip_7"] == "FACE/face-67"


def test_all_holistic_variants_agree_and_the_world_points_are_not_used():
    frames = [to_canonical(numbered(f"mediapipe_{n}"), f"mediapipe_{n}") for n in (543, 553)]
    hands = keypoints.LEFT_HAND_SLICE.start
    np.testing.assert_array_equal(frames[0][:, :hands], frames[1][:, :hands])
    np.testing.assert_array_equal(frames[0][:, hands:, 0] + 10, frames[1][:, hands:, 0])
    for short, long in ((543, 576), (553, 586)):
        wide = to_canonical(numbered(f"mediapipe_{long}"), f"mediapipe_{long}")
        narrow = to_canonical(numbered(f"mediapipe_{short}"), f"mediapipe_{short}")
        np.testing.assert_array_equal(wide, narrow)


def test_a_keypoint_the_scheme_lacks_or_nobody_saw_is_missing():
    points = numbered("mediapipe_178") + 5.0
    points[..., 2] = 7.0  # estimators overshoot
    points[0, 0] = (np.nan, 3, 1)  # left shoulder
    points[0, 1, 2] = -0.5  # right shoulder
    points[0, 2, 2] = np.inf  # left elbow
    canonical = to_canonical(points, "mediapipe_178")[0]
    for name in ("nose", "left_shoulder", "right_shoulder", "left_elbow"):
        assert not canonical[NAMES.index(name)].any(), name
    assert canonical[NAMES.index("right_elbow"), 2] == 1


def test_an_unknown_scheme_lists_the_known_ones():
    for call in (
        lambda: scheme_of(177, "a.pose"),
        lambda: scheme_of([("HAND", ["a"])], "a.pose"),
        lambda: to_canonical(numbered("openpose_137"), "openpose", "a.pose"),
    ):
        with pytest.raises(SignBindError, match="a.pose.*mediapipe_543.*coco_wholebody_133"):
            call()


def test_poses_of_another_scheme_than_stated_are_refused():
    with pytest.raises(SignBindError, match="137, 3.*wanted.*133"):
        to_canonical(numbered("openpose_137"), "coco_wholebody_133")


def test_a_header_with_left_and_right_exchanged_is_refused():
    header = [(part.name, list(part.points)) for part in cocowholebody_components()]
    body = header[0][1]
    left, right = body.index("left_wrist"), body.index("right_wrist")
    body[left], body[right] = body[right], body[left]
    with pytest.raises(SignBindError, match="right_wrist.*wanted left_wrist"):
        scheme_of(header)


def test_mirror_swaps_sides_and_undoes_itself():
    mirror = np.array(keypoints.MIRROR)
    np.testing.assert_array_equal(mirror[mirror], np.arange(keypoints.K))
    stays = {NAMES[i] for i in range(keypoints.K) if mirror[i] == i}
    assert stays == {"nose", "outer_lip_3", "outer_lip_9", "inner_lip_2", "inner_lip_6"}
    for name in ("left_wrist", "left_hand_index_4"):
        assert NAMES[mirror[NAMES.index(name)]] == name.replace("left", "right")
