"""The released list of How2Sign, and recorded OpenPose keypoints in the released layout."""

import csv
import json
import shutil

import numpy as np
import pytest
from pose_format import Pose as PoseFile

from signbind_jax.data_pipelines import how2sign
from signbind_jax.data_pipelines.how2sign_poses import find_poses
from signbind_jax.data_pipelines.readers.openpose_json import PARTS
from signbind_jax.data_pipelines.readers.poses import read_pose_file


@pytest.fixture
def released(recorded, tmp_path):
    rows = recorded / "how2sign_rows" / "how2sign_realigned_test_first40.csv"
    return shutil.copy(rows, tmp_path / "how2sign_realigned_test.csv")


def test_the_first_rows_of_the_test_list_are_all_read(released):
    corpus = how2sign.open_corpus(released.parent)
    rows = corpus.splits["test"]
    assert len(rows) == 40 and not any(corpus.left_out.values())
    with open(released, encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file, delimiter="\t"))
    for row, cells in zip(rows, listed, strict=True):
        assert (row.id, row.text) == (cells["SENTENCE_NAME"], cells["SENTENCE"].strip())
        assert row.video == cells["VIDEO_NAME"] == f"{cells['VIDEO_ID']}-{row.signer}-rgb_front"
        assert 0 <= row.start_s < row.end_s
    first = rows[0]
    assert (first.id, first.text, first.signer) == ("-fZc293MpJk_0-1-rgb_front", "Hi!", "1")
    assert (first.start_s, first.end_s) == (0.26, 6.79)


def test_openpose_json_shows_the_same_signer_as_the_pose_file(recorded, tmp_path):
    file = recorded / "poses" / "openpose.pose"
    pose = PoseFile.read(file.read_bytes())
    components = [(part.name, len(part.points)) for part in pose.header.components]
    assert components == list(PARTS)
    xy, confidence = np.ma.getdata(pose.body.data)[:, 0], np.ma.getdata(pose.body.confidence)[:, 0]
    values = np.concatenate([xy, confidence[..., None]], -1)
    ends = np.cumsum([0, *(n for _, n in PARTS)])
    clip = tmp_path / "openpose_output" / "json" / "recorded-1-rgb_front"
    clip.mkdir(parents=True)
    for t, points in enumerate(values):
        person = {
            part: points[ends[i] : ends[i + 1]].ravel().tolist()
            for i, (part, _) in enumerate(PARTS)
        }
        frame = clip / f"{clip.name}_{t:012d}_keypoints.json"
        frame.write_text(json.dumps({"version": 1.3, "people": [person]}))
    modalities, repaired = find_poses(tmp_path).read(clip.name, "test")
    wanted = read_pose_file(file)
    np.testing.assert_array_equal(modalities["pose"].data, wanted.points)
    assert modalities["pose"].fps == wanted.fps == 24
    assert repaired == {"pose: no frame rate beside it, 24 taken": 1}
