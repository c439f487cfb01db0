"""Files that are translated: everything they hold reaches the experts, and what lacks is told."""

from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx

from signbind_jax import hosts
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.errors import SignBindError
from signbind_jax.streams import SHIPPED
from signbind_jax.translate import Translator, _read_files, read_clip_file
from tests.unit.test_expert import TINY, make


def write(path, **more):
    steps = np.random.default_rng(0).normal(0, 4, (40, 133, 2)).cumsum(0)
    np.savez(path, **{"keypoints": 500 + steps, "fps": 25.0, **more})
    return path


def crops(n_frames: int = 30, size: int = 24) -> np.ndarray:
    rows = np.arange(size)[:, None] * np.ones(size)
    return np.stack([(4 * rows + 3 * i) % 256 for i in range(n_frames)]).astype(np.uint8)


def translator(**frontends) -> Translator:
    """Of random experts, stream -> frontend; without fusion and language model."""
    made = Translator.__new__(Translator)
    made.experts, made.streams = {}, SHIPPED
    for stream, frontend in frontends.items():
        graphdef, params = nnx.split(make(frontend))
        made.experts[stream] = SimpleNamespace(
            stage=stream, model={"config": {"frontend": frontend, **TINY}},
            load_params=lambda graphdef=graphdef, params=params: (graphdef, params),
        )  # fmt: skip
    return made


def test_mouth_crops_beside_the_landmarks_become_a_lip_stream(tmp_path):
    with_crops = write(tmp_path / "crops.npz", lips=crops(), lip_fps=20.0)
    without = write(tmp_path / "pose.npz")
    made = translator(lipreading="lips")
    clips = ClipList([read_clip_file(path, made.lip_size) for path in (with_crops, without)])
    assert clips.lip_lengths.tolist() == [30, 0] and clips[0].lip_fps == 20
    assert decode_mosaic(clips[0].lips, 30).shape == (30, 16, 16)  # as the expert reads them
    lipreading = made.read(clips).experts["lipreading"]
    assert np.diff(lipreading.first)[0] > 0 and np.diff(lipreading.first)[1] == 0
    assert 0 < lipreading.end.max() <= 1.6  # seconds: 30 frames at 20 a second
    assert made.without_input(clips) == {"lipreading": {1}}


def test_crops_stay_unread_where_no_expert_reads_them(tmp_path):
    made = translator(signing="pose", lipreading="mouth_landmarks")
    assert made.lip_size is None
    clip = read_clip_file(write(tmp_path / "a.npz", lips=np.zeros(3)), made.lip_size)
    assert clip.lips == b"" and clip.n_pose_frames == 40


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lips": crops().astype(float)}, "lips: found float64"),
        ({"lips": crops()[0]}, r"lips: found uint8 \(24, 24\)"),
        ({"lips": crops()[:, :0]}, r"lips: found uint8 \(30, 0, 24\)"),
        ({"lips": crops(), "lip_fps": float("nan")}, "lip_fps: found nan"),
        ({"lips": crops(), "lip_fps": -25.0}, "lip_fps: found -25"),
        ({"lips": crops(), "lip_fps": np.ones(2)}, r"lip_fps: found float64 \(2,\)"),
        ({"lips": crops(), "lip_state": np.array("x")}, "lip_state: found <U1"),
        ({"fps": 1e300}, "fps: found 1e.300"),
        ({"fps": 0.01}, "fps: found 0.01"),
    ],
)
def test_one_bad_file_is_named_and_costs_no_other(tmp_path, fields, said):
    bad, good = write(tmp_path / "bad.npz", **fields), write(tmp_path / "good.npz")
    with pytest.raises(SignBindError, match=f"bad.npz: .*{said}"):
        read_clip_file(bad, 32)
    read, faults = _read_files([bad, good, bad, good], 32)
    assert [path for path, _ in read] == [good, good] and len(faults) == 2


def test_a_file_that_another_process_cannot_read_is_left_out_here_too(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{name}.npz") for name in "ab"]
    there = {"1": "b.npz: torn"}
    monkeypatch.setattr(hosts, "exchange", lambda what, here: [here, there])
    read, faults = _read_files(paths, None)
    assert [path for path, _ in read] == paths[:1] and faults == ["b.npz: torn"]
