"""Recordings of more frames a second than was trained on are read as if they had as many."""

import dataclasses

import numpy as np
import pytest

import signbind_jax as sb
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.frame_rate import thinned, trained_fps
from signbind_jax.data.lips import decode_mosaic, lip_frames


def clip_at(fps: float, n: int = 8) -> Clip:
    points_tkc = np.ones((n, 91, 3), np.float16) * np.arange(n)[:, None, None]
    return Clip("a", "", modalities={"pose": pose_frames(points_tkc, fps)})


def test_slow_motion_says_what_the_same_recording_says(runs, tmp_path):
    fields = dict(np.load(runs / "a.npz"))
    assert fields["fps"] == 30
    fields |= {name: np.repeat(fields[name], 8, axis=0) for name in ("keypoints", "scores")}
    np.savez(tmp_path / "a.npz", **fields | {"fps": 240.0})
    np.savez(tmp_path / "slow.npz", **fields)
    translate = sb.load_translator(runs / "alignment")
    wanted, found, slow = (
        translate(x) for x in (runs / "a.npz", tmp_path / "a.npz", tmp_path / "slow.npz")
    )
    assert found == wanted and wanted.streams["signing"]
    assert slow.streams != wanted.streams, "who signs eight times as slowly signs something else"
    expert = sb.load_expert(runs / "signing")
    assert expert(tmp_path / "a.npz") == expert(runs / "a.npz") == list(wanted.streams["signing"])


@pytest.mark.parametrize(
    ("fps", "kept", "rate"),
    [(30, 8, 30), (44, 8, 44), (45, 4, 22.5), (60, 4, 30), (240, 1, 30), (12, 8, 12)],
)
def test_every_so_many_frames_are_kept(fps, kept, rate):
    (clip,) = thinned(ClipList([clip_at(fps)]), "pose", 30).labels
    pose = clip.modalities["pose"]
    assert (pose.n, pose.fps, len(pose.data)) == (kept, pytest.approx(rate), kept)
    assert pose.data[:, 0, 0].tolist() == list(range(0, 8, 8 // kept))


def test_crops_are_thinned_and_what_is_not_known_or_not_there_stays():
    crops_fhw = np.zeros((6, 16, 16), np.uint8) + np.arange(0, 240, 40, np.uint8)[:, None, None]
    both = dataclasses.replace(
        clip_at(25), modalities={**clip_at(25).modalities, "lips": lip_frames(crops_fhw, 75)}
    )
    clips = ClipList([both, clip_at(25)])
    one, other = thinned(clips, "lips", 25).labels
    lips = one.modalities["lips"]
    assert (lips.n, lips.fps) == (2, 25) and one.modalities["pose"] is both.modalities["pose"]
    found = decode_mosaic(lips.data, lips.n).mean((1, 2))
    np.testing.assert_allclose(found, [0, 120], atol=3)
    assert other is clips.labels[1]
    assert thinned(clips, "lips", 0) is clips and thinned(clips, "pose", 25) is clips


def test_a_rate_that_few_clips_have_is_not_the_trained_one():
    clips = [clip_at(25)] * 30 + [clip_at(1000)]
    assert trained_fps(clips, "pose") == 25 and trained_fps(clips, "lips") == 0
