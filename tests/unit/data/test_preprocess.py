"""Preprocessing: missing stays missing, padding stays zero, augmentation is per clip."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from signbind_jax import keypoints
from signbind_jax.data.augment import AugmentConfig
from signbind_jax.data.preprocess import prepare_lips, prepare_pose

OFF = AugmentConfig(**{field.name: 0 for field in dataclasses.fields(AugmentConfig)})
STRONG = AugmentConfig(mirror=0.5, hand_drop=0.5)
KEY = jax.random.key(5)
T = 32
LENGTHS = np.array([32, 20, 7, 1, 0], np.int32)
INDEX = np.array([4, 11, 2, 9, -1], np.int32)


def some_pose():
    """Smooth motion, every point seen within the length; garbage behind it."""
    chance = np.random.default_rng(0)
    start = chance.normal(size=(5, 1, 91, 2))
    pose = np.ones((5, T, 91, 3))
    pose[..., :2] = start + 0.05 * np.arange(T)[None, :, None, None]
    return pose.astype(np.float16)


def some_lips():
    return np.random.default_rng(1).integers(0, 256, (5, T, 12, 16)).astype(np.uint8)


@functools.cache
def jitted(function, config=None):
    """Of rows that hold one clip each: x and mask."""

    def one_clip_a_row(x, n, i, key):
        y, clip = function(x, 0 * n[:, None], n[:, None], i[:, None], key, config)
        return y, clip >= 0

    return jax.jit(one_clip_a_row)


def plain(function, x):
    return [np.asarray(y) for y in jitted(function)(x, LENGTHS, INDEX, None)]


def pose_of(x, n=LENGTHS, index=INDEX, key=KEY, config=OFF):
    return [np.asarray(y) for y in jitted(prepare_pose, config)(x, n, index, key)]


def lips_of(x, n=LENGTHS, index=INDEX, key=KEY, config=OFF):
    return [np.asarray(y) for y in jitted(prepare_lips, config)(x, n, index, key)]


def test_plain_poses_are_cleaned_and_otherwise_untouched():
    pose = some_pose()
    pose[0, 3, 10] = (np.nan, 1, 1)
    pose[0, 4, 11] = (1, np.inf, 1)
    pose[0, 5, 12] = (7, 8, 0)  # a position nobody is confident of
    pose[0, 6, 13, 2] = 1.5
    x, mask = plain(prepare_pose, pose)
    assert mask.sum(1).tolist() == LENGTHS.tolist()
    assert x.dtype == np.float32 and np.isfinite(x).all()
    assert not x[0, 3, 10].any() and not x[0, 4, 11].any() and not x[0, 5, 12].any()
    assert x[0, 6, 13, 2] == 1.0
    assert not x[~mask].any()
    assert np.array_equal(x[1, :20], pose[1, :20].astype(np.float32))


def test_with_everything_switched_off_a_key_changes_nothing():
    for function, x in ((prepare_pose, some_pose()), (prepare_lips, some_lips())):
        without = plain(function, x)
        augmented = jitted(function, OFF)(x, LENGTHS, INDEX, KEY)
        np.testing.assert_allclose(without[0], augmented[0], atol=1e-5)
        assert np.array_equal(without[1], augmented[1])


def test_without_a_change_of_speed_every_frame_is_its_own_whatever_the_length():
    lengths = np.arange(1, 401, dtype=np.int32)
    frames = np.broadcast_to(np.arange(400, dtype=np.uint16)[:, None, None], (400, 1, 1))
    lips = np.broadcast_to((frames % 251).astype(np.uint8), (400, 400, 1, 1))
    x, _ = lips_of(lips, lengths, lengths)
    for length in lengths[1:]:
        picture = lips[0, :length, 0, 0].astype(np.float64)
        wanted = (picture - picture.mean()) / max(picture.std(), 1.0)
        np.testing.assert_allclose(x[length - 1, :length, 0, 0], wanted, atol=1e-3)


@pytest.mark.parametrize("of, x", [(pose_of, some_pose()), (lips_of, some_lips())])
def test_a_clip_is_augmented_alike_in_any_batch_and_differently_under_another_key(of, x):
    whole, mask = of(x, config=STRONG)
    again, _ = of(x, config=STRONG)
    assert np.array_equal(whole, again)
    order = np.array([3, 0, 4, 2, 1])
    shuffled, _ = of(x[order], LENGTHS[order], INDEX[order], config=STRONG)
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-5)
    pair, pair_mask = of(x[:2], LENGTHS[:2], INDEX[:2], config=STRONG)
    np.testing.assert_allclose(pair, whole[:2], atol=1e-5)
    assert np.array_equal(pair_mask, mask[:2])
    other, _ = of(x, key=jax.random.key(6), config=STRONG)
    assert all(np.abs(other[row] - whole[row]).max() > 0.01 for row in range(3))
    twin, _ = of(x, index=INDEX + 1, config=STRONG)
    assert all(np.abs(twin[row] - whole[row]).max() > 0.01 for row in range(3))


@pytest.mark.parametrize("of, x", [(pose_of, some_pose()), (lips_of, some_lips())])
def test_whatever_is_drawn_stays_finite_and_padding_stays_zero(of, x):
    for seed in range(8):
        y, mask = of(x, key=jax.random.key(seed), config=STRONG)
        assert np.isfinite(y).all() and not y[~mask].any()
        length = mask.sum(1)
        assert (mask == (np.arange(T) < length[:, None])).all()
        assert length[4] == 0 and length[3] == 1
        assert (length[:3] >= LENGTHS[:3] / 1.15 - 1).all() and length[0] <= T
        assert length[1] <= 20 / 0.85 + 1


def test_missing_keypoints_stay_missing_and_draw_no_neighbour_to_the_origin():
    pose = some_pose()
    pose[..., :2] += 50  # so that any mixing with (0, 0) shows
    pose[:, 10:14, 40] = 0
    pose[:, :, 60] = 0
    config = dataclasses.replace(STRONG, time_masks=0, hand_drop=0.0, mirror=0.0)
    x, mask = pose_of(pose, config=config)
    assert not x[:, :, 60].any()
    seen = x[..., 2] > 0
    assert (seen[:, :, :40] == mask[..., None]).all()
    assert 2 <= (~seen[0, :, 40] & mask[0]).sum() <= 6
    assert (np.abs(x[seen][:, :2]).max(-1) > 20).all()
    assert not x[~seen].any()


def test_a_change_of_speed_keeps_the_whole_clip():
    config = dataclasses.replace(OFF, speed=0.15)
    pose = some_pose()
    lengths = set()
    for seed in range(30):
        x, mask = pose_of(pose, key=jax.random.key(seed), config=config)
        n = mask[1].sum()
        lengths.add(int(n))
        np.testing.assert_allclose(x[1, 0], pose[1, 0], atol=1e-3)
        np.testing.assert_allclose(x[1, n - 1], pose[1, 19], atol=1e-3)
        steps = np.diff(x[1, :n, 0, 0])
        np.testing.assert_allclose(steps, 0.05 * 19 / (n - 1), atol=0.01)
    assert len(lengths) > 3 and min(lengths) < 20 < max(lengths)


def test_pose_and_lips_of_a_clip_change_speed_together():
    config = dataclasses.replace(STRONG, mirror=0.0)
    _, pose_mask = pose_of(some_pose(), config=config)
    _, lip_mask = lips_of(some_lips(), config=config)
    assert np.array_equal(pose_mask, lip_mask)


def test_the_mirror_swaps_the_hands():
    pose = some_pose()
    x, _ = pose_of(pose, config=dataclasses.replace(OFF, mirror=1.0))
    left, right = keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE
    wanted = pose[:2, :20, right].astype(np.float32) * [-1, 1, 1]
    np.testing.assert_allclose(x[:2, :20, left], wanted, atol=1e-5)


def test_a_mirrored_camera_takes_clips_whole_and_leaves_left_left():
    pose = some_pose()
    found = set()
    for seed in range(10):
        config = dataclasses.replace(OFF, mirrored_camera=0.5)
        x, _ = pose_of(pose, key=jax.random.key(seed), config=config)
        signs = np.sign(x[0, :20, :, 0]) * np.sign(pose[0, :20, :, 0].astype(np.float32))
        np.testing.assert_allclose(np.abs(x[0, :20]), np.abs(pose[0, :20]), atol=1e-5)
        found.add(tuple(np.unique(signs[signs != 0])))
    assert found == {(-1.0,), (1.0,)}


def test_a_rotation_keeps_distances_and_a_translation_keeps_differences():
    pose = some_pose()
    for config in (
        dataclasses.replace(OFF, rotation=30.0),
        dataclasses.replace(OFF, translation=1),
    ):
        x, _ = pose_of(pose, config=config)
        before, after = (y[0, :, 0, :2] - y[0, :, 50, :2] for y in (pose.astype(np.float32), x))
        assert np.abs(x - pose)[0].max() > 0.05
        np.testing.assert_allclose(
            np.linalg.norm(after, axis=-1), np.linalg.norm(before, axis=-1), rtol=1e-3
        )


def test_noise_has_the_deviation_that_was_asked_for_and_no_pattern():
    pose = np.ones((2, 256, 91, 3), np.float16)
    config = dataclasses.replace(OFF, keypoint_noise=0.1)
    x, _ = pose_of(pose, np.array([256, 256], np.int32), np.array([1, 2], np.int32), config=config)
    noise = x[..., :2] - 1
    assert abs(noise.mean()) < 2e-3 and abs(noise.std() - 0.1) < 2e-3
    for a, b in (
        (noise[0], noise[1]),
        (noise[..., 0], noise[..., 1]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[:, :, 1:], noise[:, :, :-1]),
    ):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


def test_a_lost_hand_is_missing_for_a_run_of_frames_only():
    config = dataclasses.replace(OFF, hand_drop=1.0, hand_drop_frames=5)
    x, _ = pose_of(some_pose(), config=config)
    for part in (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE):
        lost = (x[0, :, part, 2] == 0).all(1)
        assert (lost == (x[0, :, part, 2] == 0).any(1)).all()
        assert 1 <= lost.sum() <= 5 and np.ptp(np.flatnonzero(lost)) == lost.sum() - 1
    assert (x[0, :, keypoints.BODY_SLICE, 2] == 1).all()


def test_time_masks_hide_whole_frames():
    config = dataclasses.replace(OFF, time_masks=2, time_mask_frames=4)
    for y in (pose_of(some_pose(), config=config)[0], lips_of(some_lips(), config=config)[0]):
        hidden = ~y[0].reshape(T, -1).any(1)
        assert 1 <= hidden.sum() <= 8


def test_lips_are_standardised_over_the_frames_of_the_clip():
    lips = some_lips()
    lips[1] = lips[1] // 4 + 100  # darker, flatter: exposure must not matter
    lips[2] = 77
    x, mask = plain(prepare_lips, lips)
    for row in (0, 1):
        values = x[row, : LENGTHS[row]]
        assert abs(values.mean()) < 1e-3 and abs(values.std() - 1) < 1e-3
    assert np.abs(x[2]).max() < 1e-3  # a blank clip is not blown up
    assert not x[~mask].any()


def test_a_lip_shift_moves_the_crop_without_wrapping_round():
    lips = np.zeros((1, 4, 12, 16), np.uint8)
    lips[:, 1:3, 5, 8] = 255  # not in every frame: what never changes is taken out
    seen = set()
    for seed in range(20):
        x, _ = lips_of(
            lips,
            np.array([4], np.int32),
            np.array([0], np.int32),
            jax.random.key(seed),
            dataclasses.replace(OFF, lip_shift=2),
        )
        places = [np.unravel_index(frame.argmax(), frame.shape) for frame in x[0, 1:3]]
        assert len(set(places)) == 1  # the whole clip moves as one
        seen.add(tuple(map(int, places[0])))
    assert {y for y, _ in seen} == {3, 4, 5, 6, 7} and {x for _, x in seen} == {6, 7, 8, 9, 10}
