"""Joined clips: joints that end a sentence look like joints that do not."""

import functools

import jax
import numpy as np
import pytest

from signbind_jax import keypoints
from signbind_jax.data.joined_clips import (
    BRIDGED_S,
    EDGE_S,
    MIDDLE,
    MOST_EDGE,
    RAISING_S,
    join_clips,
)

FPS, LENGTH, G, ROWS = 25.0, 200, 4, 24
KEY = jax.random.key(3)


def clips(lowered: int = 0):
    """Rows of three clips and an empty place: x counts the frames of each from 1000 times its
    number on; of the first and last `lowered` frames the hands lie in the lap."""
    x_btkc = np.zeros((ROWS, 3 * LENGTH + 40, keypoints.K, 3), np.float32)
    clip_bt = np.full(x_btkc.shape[:2], -1, np.int32)
    for g in range(3):
        own = slice(g * (LENGTH + 3), g * (LENGTH + 3) + LENGTH)  # a gap of three frames
        x_btkc[:, own, :, 0] = (1000 * (g + 1) + np.arange(LENGTH))[:, None]
        x_btkc[:, own, :, 1] = 0.4
        x_btkc[:, own, :, 2] = 1
        clip_bt[:, own] = g
        for at in (own.start, own.stop - lowered):
            x_btkc[:, at : at + lowered, 7:, 1] = 1.4
            x_btkc[:, at : at + lowered, 5:7, 1] = 1.4
    fps_bg = np.tile(np.float32([FPS] * 3 + [0]), (ROWS, 1))
    index_bg = np.arange(ROWS * G, dtype=np.int32).reshape(ROWS, G)
    index_bg[:, 3] = -1
    return x_btkc, clip_bt, fps_bg, index_bg


@functools.cache
def joined(lowered: int = 0, key: int = 3):
    given = (*clips(lowered), jax.random.key(key))
    return jax.tree.map(np.asarray, jax.jit(join_clips)(*given))


def rows(found):
    """Of each row the traced numbers of its real frames, and its joints: (frame, true, inside)."""
    for x_tkc, real_t, joint_p, true_p in zip(*found, strict=True):
        n = int(real_t.sum())
        assert real_t[:n].all() and not x_tkc[n:].any()
        joints = [
            (int(j), bool(t), p >= G)
            for p, (j, t) in enumerate(zip(joint_p, true_p, strict=True))
            if j >= 0
        ]
        yield x_tkc[:n, 60, 0], sorted(joints)


def bridges(value_t):
    """First and last frame of each run of frames that do not follow the one before by 1."""
    (far,) = np.nonzero(np.abs(np.diff(value_t) - 1) > 1e-3)
    runs = np.split(far, np.flatnonzero(np.diff(far) > 1) + 1)
    return [(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]


def test_true_and_false_joints_are_bridged_alike_by_one_smooth_movement():
    widths = {True: [], False: []}
    for value_t, joints in rows(joined()):
        spans = bridges(value_t)
        assert len(spans) == len(joints)
        for (first, last), (joint, true, _) in zip(spans, joints, strict=True):
            assert first < joint <= last
            way_t = (value_t[first : last + 1] - value_t[first]) / (value_t[last] - value_t[first])
            s_t = np.arange(len(way_t)) / (len(way_t) - 1)
            np.testing.assert_allclose(way_t, 10 * s_t**3 - 15 * s_t**4 + 6 * s_t**5, atol=1e-3)
            widths[true].append((last - first - 1) / FPS)
    assert len(widths[True]) > 15 and len(widths[False]) > 30
    for found in widths.values():
        assert BRIDGED_S[0] <= min(found) and max(found) <= BRIDGED_S[1] + 1 / FPS
    # Drawn evenly from one span, whichever kind.
    assert np.mean(widths[True]) == pytest.approx(np.mean(widths[False]), abs=0.04)


def test_a_true_joint_ends_and_begins_a_clip_and_a_false_one_leads_into_the_middle():
    most = int(min(EDGE_S * FPS, MOST_EDGE * LENGTH))
    n_true = n_false = 0
    for value_t, joints in rows(joined()):
        for (first, last), (_, true, inside) in zip(bridges(value_t), joints, strict=True):
            before, after = value_t[first], value_t[last]
            if inside:
                assert before // 1000 == after // 1000 and before < after
                continue
            assert before // 1000 + 1 == after // 1000
            lost = LENGTH - 1 - before % 1000, after % 1000
            bridged = BRIDGED_S[1] * FPS / 2 + 1
            if true:
                assert max(lost) <= most + bridged
            else:
                assert (
                    min(lost) >= int(MIDDLE[0] * LENGTH)
                    and max(lost) <= MIDDLE[1] * LENGTH + bridged
                )
            n_true, n_false = n_true + true, n_false + (not true)
    assert n_true + n_false == 2 * ROWS and min(n_true, n_false) > 10


def test_hands_in_the_lap_at_the_ends_of_a_clip_are_cut_off_with_their_way_there():
    least = 20 + int(RAISING_S * FPS)
    for value_t, joints in rows(joined(lowered=20)):
        ends = [(value_t[a], value_t[b]) for a, b in bridges(value_t)]
        of_clips = [end for end, (*_, inside) in zip(ends, joints, strict=True) if not inside]
        assert value_t[0] % 1000 >= least
        for before, after in of_clips:
            assert before % 1000 < LENGTH - least and after % 1000 >= least
    assert joined(lowered=20).x_btkc[..., 60, 1].max() < keypoints.LOWERED


def test_the_same_key_makes_the_same_joints_and_a_clip_has_its_own():
    again = jax.tree.map(np.asarray, jax.jit(join_clips)(*clips(), KEY))
    jax.tree.map(np.testing.assert_array_equal, again, joined())
    assert (joined(key=4).joint_bp != joined().joint_bp).any()
    # A row alone is joined as it is among others.
    alone = jax.jit(join_clips)(*(x[5:6] for x in clips()), KEY)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y[5], rtol=2e-6), alone, joined())


def test_points_that_are_missing_on_one_side_of_a_joint_are_not_drawn_to_zero():
    x_btkc, *more = clips()
    x_btkc[:, LENGTH : 2 * LENGTH + 10, 70:91] = 0  # the second clip has no right hand
    found = jax.jit(join_clips)(x_btkc, *more, KEY)
    hand_t = np.asarray(found.x_btkc[..., 75, :])
    seen_t = hand_t[..., 2] > 0
    assert (hand_t[seen_t][:, 0] >= 1000).all() and (hand_t[~seen_t] == 0).all()


def test_all_clips_of_a_row_are_brought_to_one_body_and_hands_stay_theirs():
    x_btkc, *more = clips()
    x_btkc[..., 0] = np.where(x_btkc[..., 2] > 0, 0.25, 0)  # nothing moves
    second = slice(LENGTH + 3, 2 * LENGTH + 3)
    x_btkc[:, second, :, 0] = 0.75
    x_btkc[:, second, 10, 2] = 0  # a brow that nobody saw in the second clip
    found = jax.tree.map(np.asarray, jax.jit(join_clips)(x_btkc, *more, KEY))
    real = found.real_bt
    for point in (1, 20, 40):  # a shoulder, an eye, the mouth
        np.testing.assert_allclose(found.x_btkc[..., point, 0][real], 0.25, atol=1e-6)
    assert set(np.unique(found.x_btkc[..., 10, 0][real])) == {0, 0.25}
    assert found.x_btkc[..., 60, 0][real].max() == 0.75
