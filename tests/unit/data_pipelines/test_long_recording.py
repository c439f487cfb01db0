"""Long recordings: what is read in windows is what the file holds, in bounded memory."""

import json
import tracemalloc

import numpy as np
import pytest

from signbind_jax.data_pipelines.readers import long_recording
from signbind_jax.data_pipelines.readers.long_recording import open_recording, parts_of
from signbind_jax.data_pipelines.readers.poses import pose_of_fields, read_pose_file
from signbind_jax.errors import SignBindError
from tests import signed_recordings

SENTENCES = [(0.8, 3.0), (3.8, 5.0), (7.0, 8.4)]


@pytest.fixture
def fields() -> dict[str, np.ndarray]:
    return signed_recordings.fields(signed_recordings.pose(SENTENCES, 9, 25), 25)


def part(path, fields, first, stop, **about):
    """A part as `signbind extract` writes it."""
    cut = {k: v[first:stop] if v.ndim else v for k, v in fields.items()}
    record = {"video": "talk.mp4", "frames": stop - first, "found": {}} | about
    np.savez(path, **cut, about=json.dumps(record))


def write_parts(directory, fields, drift: int = 0):
    """Three parts of 100, 50 and 75 frames; `drift` frames too few in the second."""
    directory.mkdir()
    part(directory / "0.npz", fields, 0, 100, start_s=0.0, end_s=4.0)
    part(directory / "1.npz", fields, 100, 150 - drift, start_s=4.0, end_s=6.0)
    part(directory / "2.npz", fields, 150, 225, start_s=6.0, end_s=None)
    return directory


def write_pose_format(path, fields, version: float, people: int = 1):
    """A `.pose` file of the hands alone."""
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    names = [str(i) for i in range(21)]
    hand = PoseHeaderComponent("RIGHT_HAND_LANDMARKS", names, [], [], "XYC")
    header = PoseHeader(version, PoseHeaderDimensions(640, 360, 0), [hand])
    xy = np.stack([fields["keypoints"][:, 112:]] * people, 1)
    scores = np.stack([fields["scores"][:, 112:]] * people, 1)
    with open(path, "wb") as file:
        Pose(header, NumPyPoseBody(25.0, xy, scores)).write(file)
    return path


def read(recording, *spans):
    return [pose_of_fields(window, recording.path).points for window in recording.windows(spans)]


def test_windows_hold_what_the_file_holds(tmp_path, fields, monkeypatch):
    monkeypatch.setattr(long_recording, "READ_FRAMES", 16)
    np.savez_compressed(tmp_path / "a.npz", **fields)
    recording = open_recording(tmp_path / "a.npz")
    assert (recording.fps, recording.n_frames, recording.seconds) == (25, 225, 9)
    spans = [(0, 5), (3, 40), (3, 41), (90, 101), (100, 200), (224, 225)]
    for (start, stop), window in zip(spans, recording.windows(spans), strict=True):
        for name in ("keypoints", "scores"):
            np.testing.assert_array_equal(window[name], fields[name][start:stop])
    (whole,) = read(recording, (0, 225))
    np.testing.assert_array_equal(whole, read_pose_file(tmp_path / "a.npz").points)


def test_parts_of_a_video_are_one_recording(tmp_path, fields):
    directory = write_parts(tmp_path / "talk", fields)
    recording = open_recording(directory)
    (window,) = recording.windows([(90, 160)])
    np.testing.assert_array_equal(window["keypoints"], fields["keypoints"][90:160])
    # A part that is a frame short, as of a varying rate, moves nothing behind it.
    short = open_recording(write_parts(tmp_path / "short", fields, drift=1))
    assert short.n_frames == 225
    ((_, still), tail) = (w["keypoints"] for w in short.windows([(148, 150), (150, 225)]))
    np.testing.assert_array_equal(still, fields["keypoints"][148])
    np.testing.assert_array_equal(tail, fields["keypoints"][150:])
    with pytest.raises(SignBindError, match="1.npz: found 10 frames, wanted 50 up to the next"):
        open_recording(write_parts(tmp_path / "gone", fields, drift=40))


def test_a_directory_of_other_clips_is_no_recording(tmp_path, fields):
    assert not parts_of(tmp_path)
    directory = write_parts(tmp_path / "talk", fields)
    (directory / "1.npz").unlink()
    assert not parts_of(directory), "a part is missing"
    part(directory / "1.npz", fields, 100, 150, start_s=4.0, end_s=6.0, video="other.mp4")
    assert not parts_of(directory), "a part of another video"
    np.savez(directory / "1.npz", **fields)
    assert not parts_of(directory), "a file of somebody else"


@pytest.mark.parametrize("version", [0.1, 0.2])
def test_pose_files_are_read_in_windows_too(tmp_path, fields, version):
    path = write_pose_format(tmp_path / "a.pose", fields, version)
    recording = open_recording(path)
    assert (recording.fps, recording.n_frames) == (25, 225)
    parts = read(recording, (0, 100), (100, 225))
    window = next(recording.windows([(50, 60)]))
    np.testing.assert_array_equal(window["keypoints"], fields["keypoints"][50:60, 112:])
    assert len(parts[1]) == 125
    np.testing.assert_array_equal(read(recording, (0, 225))[0], read_pose_file(path).points)


def test_mouth_crops_come_where_there_is_one_a_frame(tmp_path, fields):
    crops = np.arange(225, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    state = np.ones(225, np.uint8)
    np.savez(tmp_path / "a.npz", **fields, lips=crops, lip_state=state)
    (window,) = open_recording(tmp_path / "a.npz").windows([(20, 30)], crops=True)
    np.testing.assert_array_equal(window["lips"], crops[20:30])
    np.savez(tmp_path / "b.npz", **fields, lips=crops[:100], lip_state=state[:100])
    (window,) = open_recording(tmp_path / "b.npz").windows([(20, 30)], crops=True)
    assert "lips" not in window
    directory = write_parts(tmp_path / "talk", fields)
    part(directory / "1.npz", fields | {"lips": crops, "lip_state": state}, 100, 150,
         start_s=4.0, end_s=6.0)  # fmt: skip
    (window,) = open_recording(directory).windows([(90, 110)], crops=True)
    assert window["lip_state"].tolist() == [0] * 10 + [1] * 10
    np.testing.assert_array_equal(window["lips"][10:], crops[100:110])


def test_several_signers_are_refused_where_they_appear(tmp_path, fields):
    both = {k: np.stack([fields[k], 0 * fields[k]], 1) for k in ("keypoints", "scores")}
    np.savez(tmp_path / "alone.npz", fps=25.0, **both)
    recording = open_recording(tmp_path / "alone.npz")
    (window,) = recording.windows([(0, 225)])
    np.testing.assert_array_equal(window["keypoints"], fields["keypoints"])
    both["scores"][100, 1] = 1
    np.savez(tmp_path / "two.npz", fps=25.0, **both)
    told = "two.npz: found several people at 4.0 s, wanted one signer"
    with pytest.raises(SignBindError, match=told):
        list(open_recording(tmp_path / "two.npz").windows([(0, 225)]))
    two = open_recording(write_pose_format(tmp_path / "two.pose", fields, 0.2, people=2))
    with pytest.raises(SignBindError, match="two.pose: found several people at 0.0 s"):
        next(two.windows([(0, 10)]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keypoints": None}, "field keypoints: missing"),
        ({"fps": None}, "field fps: missing"),
        ({"fps": np.ones(3)}, r"fps: found \(3,\), wanted one number"),
        ({"fps": np.array(0.0)}, "fps: found 0, wanted 1 to 1000 frames a second"),
        ({"scores": np.ones((9, 133))}, "scores: found 9 frames, wanted 225"),
        ({"keypoints": np.array(["a"] * 225)}, "keypoints: found <U1, wanted numbers"),
        ({"keypoints": np.zeros((2, 300_000))}, "keypoints: found 2,400,000 bytes a frame"),
        ({"keypoints": np.zeros((0, 133, 2)), "scores": None}, "found 0 frames, wanted at least 2"),
        ({"keypoints": np.zeros((1, 133, 2)), "scores": None}, "found 1 frames, wanted at least 2"),
    ],
)
def test_what_is_no_recording_is_one_line(tmp_path, fields, change, told):
    given = {k: v for k, v in (fields | change).items() if v is not None}
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(SignBindError, match=f"a.npz: {told}"):
        open_recording(tmp_path / "a.npz")


def test_damaged_files_are_one_line(tmp_path, fields):
    np.savez(tmp_path / "a.npz", **fields)
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(SignBindError, match="torn.npz: cannot be read as .npz"):
        open_recording(tmp_path / "torn.npz")
    flipped = bytearray(data)
    flipped[20_000] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(SignBindError, match="flipped.npz: cannot be read as .npz"):
        list(open_recording(tmp_path / "flipped.npz").windows([(0, 225)]))
    path = write_pose_format(tmp_path / "a.pose", fields, 0.2)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SignBindError, match="a.pose: found .* bytes, wanted"):
        open_recording(path)


def test_memory_does_not_grow_with_a_recording(tmp_path, fields):
    n = 20_000
    long = {k: np.resize(v, (n, *v.shape[1:])) if v.ndim else v for k, v in fields.items()}
    np.savez_compressed(tmp_path / "a.npz", **long)
    size = sum(x.nbytes for x in long.values())
    del long
    tracemalloc.start()
    recording = open_recording(tmp_path / "a.npz")
    spans = [(at, at + 500) for at in range(0, n, 500)]
    total = sum(len(window["keypoints"]) for window in recording.windows(spans))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == n and peak < size / 4
