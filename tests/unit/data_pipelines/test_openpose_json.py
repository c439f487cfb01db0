import json
import os
from pathlib import Path

import numpy as np
import pytest

from signbind_jax.data_pipelines.readers import openpose_json
from signbind_jax.data_pipelines.readers.openpose_json import MOST_BYTES, read_openpose
from signbind_jax.errors import SignBindError
from tests import how2sign_files as files

NAME = "-fZc293MpJk_0-1-rgb_front"


def clip(root: Path, *frames: str | None) -> Path:
    return files.openpose(root, NAME, frames)


def changed(part: str, value: object) -> str:
    frame = json.loads(files.frame([files.person(0)]))
    frame["people"][0][part] = value
    return json.dumps(frame)


def test_frames_keep_their_numbers(tmp_path):
    directory = clip(tmp_path, None, *files.signing(3), "{", files.frame([]))
    (directory / "._junk").write_bytes(b"\x00")
    (directory / f"._{NAME}_000000000001_keypoints.json").write_bytes(b"\x00")
    (directory / "other_000000000099_keypoints.json").write_text("{}")
    people = read_openpose(directory, tmp_path)
    assert [len(frame) for frame in people.frames] == [0, 1, 1, 1, 0, 0]
    assert people.counted == {
        "frames: no file, keypoints now missing": 1,
        "frames: broken JSON, keypoints now missing": 1,
        "frames: nobody found, keypoints missing": 1,
    }
    # The left wrist: body point 7, and the first of the left hand.
    x, y, _ = files.person(0)["left_wrist"]
    np.testing.assert_allclose(people.frames[1][0, 7], (x, y, 1), rtol=1e-6)
    x, y, _ = files.person(0)["left_hand_wrist"]
    np.testing.assert_allclose(people.frames[1][0, 25 + 70], (x, y, 1), rtol=1e-6)


BROKEN = [
    b"",
    b"[]",
    b"null",
    b'{"version":1.3,"people":[{"po',
    b"\xff\xfe",
    b"[" * 100_000,
    b" " * (MOST_BYTES + 1),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_frame_is_a_missing_one(tmp_path, broken):
    directory = clip(tmp_path, *files.signing(2))
    (directory / f"{NAME}_000000000001_keypoints.json").write_bytes(broken)
    people = read_openpose(directory, tmp_path)
    assert [len(frame) for frame in people.frames] == [1, 0]
    assert people.counted == {"frames: broken JSON, keypoints now missing": 1}


def test_parts_that_were_not_looked_for_are_missing(tmp_path):
    people = read_openpose(clip(tmp_path, changed("face_keypoints_2d", [])), tmp_path)
    face = people.frames[0][0, 25:95]
    assert not face.any() and people.frames[0][0, 95:].all()


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([files.frame([files.person(0)], version=1.1)], "version: found 1.1, wanted 1.3"),
        (['{"version":1.3}'], "people: found None, wanted a list"),
        ([changed("pose_keypoints_2d", [0.0] * 54)], "pose_keypoints_2d: found 54, wanted 75"),
        ([changed("hand_left_keypoints_2d", "x")], "hand_left_keypoints_2d: found 'x', wanted 63"),
        ([changed("face_keypoints_2d", [[0]] * 210)], "people: found keypoints that are no num"),
        ([changed("face_keypoints_2d", [10**400] * 210)], "people: found keypoints that are no"),
        ([changed("face_keypoints_2d", ["1"] * 210)], "people: found keypoints that are no num"),
        ([changed("face_keypoints_2d", [None] * 210)], "people: found keypoints that are no num"),
        ([files.frame([files.person(0)], version="a\nb")], "version: found 'a.nb', wanted"),
        ([files.frame([]), "{"], "people: found none in any frame"),
        ([], "found no -fZc293MpJk_0-1-rgb_front_000000000000_keypoints.json"),
        ([None] * 3 + files.signing(2), "found 2 frames numbered up to 4, wanted at least half"),
    ],
)
def test_other_formats_are_one_line(tmp_path, frames, said):
    with pytest.raises(SignBindError, match=said) as raised:
        read_openpose(clip(tmp_path, *frames), tmp_path)
    assert "\n" not in str(raised.value)


def test_endless_people_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(openpose_json, "MOST_PEOPLE", 3)
    assert len(read_openpose(clip(tmp_path, *files.signing(3)), tmp_path).frames) == 3
    with pytest.raises(SignBindError, match="000000000003_keypoints.json: people: found more than"):
        read_openpose(clip(tmp_path / "more", *files.signing(4)), tmp_path)


def test_a_frame_that_is_a_pipe_is_not_waited_for(tmp_path):
    directory = clip(tmp_path, *files.signing(2))
    os.mkfifo(directory / f"{NAME}_000000000002_keypoints.json")
    people = read_openpose(directory, tmp_path)
    assert [len(frame) for frame in people.frames] == [1, 1, 0]


def test_a_number_that_would_fill_the_memory_is_refused(tmp_path):
    directory = clip(tmp_path, *files.signing(1))
    (directory / f"{NAME}_999999999999_keypoints.json").write_text("{}")
    with pytest.raises(SignBindError, match="found 2 frames numbered up to 999999999999"):
        read_openpose(directory, tmp_path)


def test_links_out_of_the_tree_are_refused(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    directory = clip(outside, *files.signing(2))
    inside.mkdir()
    (inside / NAME).symlink_to(directory)
    with pytest.raises(SignBindError, match="leads out of"):
        read_openpose(inside / NAME, inside)
    (inside / NAME).unlink()
    copied = clip(inside, *files.signing(1))
    file = f"{NAME}_000000000001_keypoints.json"
    (copied / file).symlink_to(directory / file)
    with pytest.raises(SignBindError, match="leads out of"):
        read_openpose(copied, inside)
    (copied / file).unlink()
    (copied / file).symlink_to(copied / f"{NAME}_000000000000_keypoints.json")
    assert len(read_openpose(copied, inside).frames) == 2
