"""Datasets: what is written is what is read, and nothing half-written is ever seen."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from signbind_jax.data.clip import Clip, Frames, pose_frames
from signbind_jax.data.dataset import DATASET_FILE, open_dataset
from signbind_jax.data.record import labels_from_json, labels_to_json
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.errors import SignBindError

POSE_ONLY = Clip(
    id="-fZc293MpJk_0",
    text="Grüße aus 東京 👋\ttab \u2028 line",
    text_language="de",
    signed_language="gsg",
    signer="Ünal",
    modalities={
        "pose": pose_frames(
            np.linspace(-70, 70, 5 * 91 * 3).astype(np.float16).reshape(5, 91, 3), 29.97
        )
    },
    gloss=("HAUS1A", "", "über|UND"),
    spelled=("ß",),
    homonym_pairs=("brother/battery",),
)
LIPS_ONLY = Clip(
    id="lips",
    text="",
    modalities={"lips": Frames(b"\x00\xff\xfe no image \x00", 25.0, 3)},
    phonemes=("B", "AH"),
    contrasts=("we visited Anna", ""),
    fusion_targets=("fs-anna",),
)


def pose_clip(i, split="train", frames=4):
    pose = np.full((frames, 91, 3), i, np.float16)
    return with_pose(Clip(id=f"{split}-{i}", text=str(i)), pose)


def with_pose(clip, pose, fps=25.0):
    return dataclasses.replace(clip, modalities={"pose": pose_frames(pose, fps)})


def write(out, splits, **options):
    corpus = corpus_of_clips(splits, {"corpus": "test"})
    return write_dataset(out, corpus, progress=False, **options)


def assert_same(a: Clip, b: Clip):
    for field in dataclasses.fields(Clip):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name != "modalities":
            assert y == x and type(y) is type(x), field.name
    assert a.modalities.keys() == b.modalities.keys()
    for name, x in a.modalities.items():
        y = b.modalities[name]
        assert y[1:] == x[1:] and type(y.data) is type(x.data)
        assert (
            np.array_equal(x.data, y.data) and np.asarray(x.data).dtype == np.asarray(y.data).dtype
        )


def without_data(clip: Clip) -> Clip:
    """What the labels hold of a clip."""
    modalities = {name: frames._replace(data=None) for name, frames in clip.modalities.items()}
    return dataclasses.replace(clip, modalities=modalities)


def test_every_field_comes_back_exactly_over_several_shards(tmp_path):
    clips = [POSE_ONLY, LIPS_ONLY, *(pose_clip(i, frames=i + 1) for i in range(5))]
    report = write(
        tmp_path / "d", {"train": clips, "test": [pose_clip(0, "test")]}, clips_per_shard=3
    )
    info = open_dataset(tmp_path / "d")
    train = info.split("train")
    assert info.splits == dict(report.written) == {"train": 7, "test": 1}
    assert len(info.description["splits"]["train"]["shards"]) == 3
    for wanted, found, labels in zip(clips, train, train.labels, strict=True):
        assert_same(wanted, found)
        assert_same(without_data(wanted), labels)
    assert train.ids == tuple(clip.id for clip in clips)
    assert train.lengths("pose").tolist() == [5, 0, 1, 2, 3, 4, 5]
    assert train.lengths("lips").tolist() == [0, 3, 0, 0, 0, 0, 0]
    assert_same(train[-1], clips[-1])
    assert info.verify() > 3


def test_fusion_targets_have_the_name_of_datasets_that_exist():
    line = labels_to_json(LIPS_ONLY)
    assert json.loads(line)["senses"] == ["fs-anna"] and "fusion_targets" not in line
    assert labels_from_json(line, 0).fusion_targets == ("fs-anna",)


def test_a_dataset_may_be_moved_and_digests_tell_contents_apart(tmp_path):
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        write(tmp_path / name, {"train": [pose_clip(value)]})
    shutil.move(tmp_path / "a", tmp_path / "elsewhere")
    a, b, c = (open_dataset(tmp_path / name).split("train") for name in ("elsewhere", "b", "c"))
    assert a[0].id == "train-1"
    assert a.digest == b.digest != c.digest


def test_reading_needs_no_tensorflow(tmp_path):
    write(tmp_path / "d", {"train": [pose_clip(3)]})
    code = (
        "import sys; from signbind_jax.data.dataset import open_dataset; "
        f"print(open_dataset({str(tmp_path / 'd')!r}).split('train')[0].id, "
        "'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["train-3", "False"], done.stderr


def test_unknown_split_lists_the_splits(tmp_path):
    write(tmp_path / "d", {"train": [pose_clip(0)], "role": [pose_clip(0, "role")]})
    with pytest.raises(SignBindError, match="'dev'.*train, role"):
        open_dataset(tmp_path / "d").split("dev")


def test_no_dataset_and_another_layout_are_said_in_one_line(tmp_path):
    with pytest.raises(SignBindError, match="signbind data build"):
        open_dataset(tmp_path)
    write(tmp_path / "d", {"train": [pose_clip(0)]})
    path = tmp_path / "d" / DATASET_FILE
    description = json.loads(path.read_text()) | {"keypoint_layout": "other-5"}
    path.write_text(json.dumps(description))
    with pytest.raises(SignBindError, match="keypoint_layout: found 'other-5', wanted 'canonical"):
        open_dataset(tmp_path / "d")


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([pose_clip(0), pose_clip(0)], "'train-0'.*id.*occurs once"),
        ([Clip(id="x", text="a")], "'x'.*at least one"),
        ([with_pose(POSE_ONLY, np.zeros((0, 91, 3), np.float16))], "frames"),
        ([with_pose(POSE_ONLY, np.zeros((2, 90, 3), np.float16))], r"90, 3\)"),
        ([with_pose(POSE_ONLY, np.zeros((2, 91, 3), np.float16), 0.0)], "pose_fps"),
        ([with_pose(POSE_ONLY, np.full((2, 91, 3), np.nan, np.float16))], "finite"),
        ([dataclasses.replace(LIPS_ONLY, modalities={"lips": Frames(b"x", 25.0, 0)})], "lips"),
        ([dataclasses.replace(LIPS_ONLY, modalities={"lips": Frames(b"", 25.0, 3)})], "lips"),
        ([dataclasses.replace(LIPS_ONLY, modalities={"lips": Frames(b"x", 0.0, 3)})], "lip_fps"),
        ([], "no clip to write"),
        ([dataclasses.replace(pose_clip(0), id="../x")], "train: id: '../x' leaves"),
        (
            [pose_clip(0), dataclasses.replace(pose_clip(0), id="TRAIN-0")],
            "'TRAIN-0' is 'train-0' in split train but for case",
        ),
    ],
)
def test_a_bad_clip_ends_the_build_and_leaves_nothing(tmp_path, clips, message):
    with pytest.raises(SignBindError, match=message):
        write(tmp_path / "d", {"train": clips})
    assert list(tmp_path.iterdir()) == []


def test_the_same_id_in_two_splits_is_an_error(tmp_path):
    with pytest.raises(SignBindError, match="split test.*split train"):
        write(tmp_path / "d", {"train": [pose_clip(0)], "test": [pose_clip(0)]})


@pytest.mark.parametrize("name", ["all", "a/b", "a[1]", "a%", "a+b", "", "x" * 61, "a\n", "é"])
def test_a_split_has_a_name_that_files_and_tfds_can_have(tmp_path, name):
    with pytest.raises(SignBindError, match="split: found "):
        write(tmp_path / "d", {name: [pose_clip(0)]})
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_clips_is_left_out_and_counted(tmp_path):
    report = write(tmp_path / "d", {"train": [pose_clip(0)], "test": []})
    assert open_dataset(tmp_path / "d").splits == {"train": 1}
    assert report.written["test"] == 0 and "test" in report.written


def test_only_a_dataset_is_overwritten_and_only_when_asked(tmp_path):
    out = tmp_path / "d"
    write(out, {"train": [pose_clip(0)]})
    with pytest.raises(SignBindError, match="--overwrite"):
        write(out, {"train": [pose_clip(1)]})
    with pytest.raises(SignBindError, match="pose_fps"):
        still = np.zeros((2, 91, 3), np.float16)
        write(out, {"train": [with_pose(pose_clip(7), still, 0.0)]}, overwrite=True)
    assert open_dataset(out).split("train").ids == ("train-0",)
    write(out, {"train": [pose_clip(1)]}, overwrite=True)
    assert open_dataset(out).split("train").ids == ("train-1",)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(SignBindError, match="no dataset"):
        write(tmp_path / "home", {"train": [pose_clip(0)]}, overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "precious"
