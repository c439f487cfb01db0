import numpy as np
import pytest

from signbind_jax.data_pipelines.readers.signer_choice import People, choose_signer
from tests import how2sign_files as files

SCHEMES = {
    "openpose_137": [name for part in files.PARTS.values() for name in part],
    "coco_wholebody_133": files.WHOLEBODY,
}


def points(scheme: str, t: int = 0, **where) -> np.ndarray:
    found = files.person(t, **where)
    return np.array([found.get(name, (0, 0, 0)) for name in SCHEMES[scheme]], np.float32)


def chosen(scheme: str, *frames: list[np.ndarray]) -> tuple[np.ndarray, dict[str, int]]:
    nobody = np.zeros((0, len(SCHEMES[scheme]), 3), np.float32)
    stacked = [np.stack(frame) if frame else nobody for frame in frames]
    signer_tnc, counted = choose_signer(People(stacked, scheme, {}))
    assert signer_tnc.shape == (len(frames), len(SCHEMES[scheme]), 3)
    return signer_tnc, counted


@pytest.fixture(params=SCHEMES)
def scheme(request) -> str:
    return request.param


def test_the_signer_is_followed_whatever_their_place_in_the_list(scheme):
    signer = [points(scheme, t) for t in range(6)]
    other = points(scheme, centre=(200.0, 300.0), width=100.0)
    frames = [[other, signer[0]], [signer[1], other], [signer[2]], [other], [], [other, signer[5]]]
    signer_tnc, counted = chosen(scheme, *frames)
    for t in (0, 1, 2, 5):
        np.testing.assert_array_equal(signer_tnc[t], signer[t])
    assert not signer_tnc[3].any() and not signer_tnc[4].any()
    assert counted == {
        "frames: several people, the signer taken": 3,
        "frames: only somebody else found, keypoints now missing": 1,
    }


def test_a_passer_by_close_to_the_camera_does_not_become_the_signer(scheme):
    signer = [points(scheme, t) for t in range(5)]
    passer = points(scheme, centre=(1100.0, 500.0), width=400.0)
    frames = [[signer[0]], [signer[1], passer], [passer, signer[2]], [signer[3]], [signer[4]]]
    signer_tnc, _ = chosen(scheme, *frames)
    np.testing.assert_array_equal(signer_tnc, signer)


def test_of_a_signer_found_twice_the_surer_is_taken(scheme):
    faint = points(scheme, centre=(650.0, 400.0), confidence=0.3)
    broken = points(scheme, centre=(645.0, 400.0))
    broken[::2] = np.nan
    signer = points(scheme)
    signer_tnc, counted = chosen(scheme, [faint, broken, signer], [signer])
    np.testing.assert_array_equal(signer_tnc[0], signer)
    assert counted == {"frames: several people, the signer taken": 1}


def test_a_signer_alone_may_walk_anywhere(scheme):
    walk = [points(scheme, centre=(200.0 + 150 * t, 400.0)) for t in range(6)]
    signer_tnc, counted = chosen(scheme, *([person] for person in walk))
    np.testing.assert_array_equal(signer_tnc, walk)
    assert counted == {}


def test_people_without_shoulders_or_anything_at_all(scheme):
    hand = points(scheme)
    hand[:-42] = 0
    nothing = np.zeros_like(hand)
    signer_tnc, counted = chosen(scheme, [nothing, hand], [hand])
    np.testing.assert_array_equal(signer_tnc, [hand, hand])
    signer_tnc, counted = chosen(scheme, [nothing, nothing])
    assert not signer_tnc.any()
    assert counted["frames: only somebody else found, keypoints now missing"] == 1
