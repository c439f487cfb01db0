import pickle
from pathlib import Path

import numpy as np
import pytest

from signbind_jax.data_pipelines.readers.rtmpose_pickle import read_rtmpose
from signbind_jax.errors import SignBindError


def pickled(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


def fields(n: int = 3, **more: object) -> dict:
    rng = np.random.default_rng(0)
    return {
        "keypoints": list(rng.random((n, 1, 133, 2))),
        "scores": list(rng.random((n, 1, 133)).astype(np.float32)),
        **more,
    }


@pytest.mark.parametrize("shape", ["as released", "one array", "no axis of people", "part"])
def test_frames_are_read_in_the_forms_they_come_in(tmp_path, shape):
    value = fields(5)
    wanted = np.concatenate([np.stack(value["keypoints"]), np.stack(value["scores"])[..., None]], 3)
    if shape == "one array":
        value = {name: np.stack(frames) for name, frames in value.items()}
    elif shape == "no axis of people":
        value = {name: [frame[0] for frame in frames] for name, frames in value.items()}
    elif shape == "part":
        value |= {"start": 1, "end": np.int64(4)}
        wanted = wanted[1:4]
    people = read_rtmpose(pickled(tmp_path / "a.pkl", value), tmp_path)
    assert people.scheme == "coco_wholebody_133" and people.counted == {}
    np.testing.assert_array_equal(people.frames, wanted.astype(np.float32))


def test_a_frame_with_nobody_is_counted(tmp_path):
    value = fields(2)
    value["keypoints"][1], value["scores"][1] = np.zeros((0, 133, 2)), np.zeros((0, 133))
    people = read_rtmpose(pickled(tmp_path / "a.pkl", value), tmp_path)
    assert [len(frame) for frame in people.frames] == [1, 0]
    assert people.counted == {"frames: nobody found, keypoints missing": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "found a list, wanted a dict of keypoints and scores"),
        ({"keypoints": []}, "scores: found NoneType, wanted a list of frames"),
        (fields(0), "found 0 frames, wanted 1 to"),
        (fields() | {"scores": fields(2)["scores"]}, "found 3 frames of keypoints and 2 of scores"),
        (fields() | {"keypoints": [[1.0]] * 3}, "keypoints: frame 0: found list, wanted an array"),
        (fields() | {"keypoints": [np.ones((1, 17, 2))] * 3}, r"frame 0: found keypoints \(1, 17"),
        (fields() | {"scores": [np.ones((2, 133))] * 3}, r"scores \(2, 133\), wanted"),
        (fields(start=2, end=2), "found 0 frames"),
        (fields(start=1, end=9), "start and end: found 1 to 9, wanted part of 3 frames"),
        (fields(start="0"), "start and end: found str and int, wanted frames"),
    ],
)
def test_other_contents_are_one_line(tmp_path, value, said):
    with pytest.raises(SignBindError, match=said) as raised:
        read_rtmpose(pickled(tmp_path / "a.pkl", value), tmp_path)
    assert "\n" not in str(raised.value)


def test_a_short_file_cannot_ask_for_endless_frames(tmp_path):
    value = {"keypoints": [np.ones((1, 133, 2))] * 60_000, "scores": [np.ones((1, 133))] * 60_000}
    with pytest.raises(SignBindError, match="found 60000 frames, wanted 1 to 50000"):
        read_rtmpose(pickled(tmp_path / "a.pkl", value), tmp_path)
    value = {name: frames * 2 for name, frames in value.items()}
    with pytest.raises(SignBindError, match="more than [0-9]+ values"):
        read_rtmpose(pickled(tmp_path / "a.pkl", value), tmp_path)


def test_a_link_out_of_the_tree_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pkl").symlink_to(pickled(tmp_path / "a.pkl", fields()))
    with pytest.raises(SignBindError, match="leads out of"):
        read_rtmpose(tmp_path / "in" / "a.pkl", tmp_path / "in")
