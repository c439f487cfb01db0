"""Where recordings are cut: at rests, whatever the frame rate; never where a sign is held."""

import itertools

import numpy as np
import pytest

from signbind_jax import keypoints
from signbind_jax.errors import SignBindError
from signbind_jax.use.segments import activity, cut, segments
from tests import signed_recordings

SENTENCES = [(0.8, 3.0), (3.8, 5.0), (7.0, 8.4), (9.1, 11.5)]
NEAR_S = 0.2


def check(found, wanted):
    assert len(found) == len(wanted), found
    assert np.abs(np.array(found) - wanted).max() <= NEAR_S, found


@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97, 60.0])
@pytest.mark.parametrize("lowered", [True, False])
def test_sentences_end_where_hands_rest_in_the_lap_or_in_the_air(fps, lowered):
    pose = signed_recordings.pose(SENTENCES, 12, fps, lowered=lowered)
    check(segments(pose, fps, 20), SENTENCES)
    assert len(activity(pose, fps)) == len(pose)


def test_a_sign_that_is_held_and_a_hand_lost_for_a_moment_end_no_sentence():
    pose = signed_recordings.pose([(0.5, 4.5)], 5, 25)
    held = pose.copy()
    held[50:57] = held[50]  # 0.28 s
    check(segments(held, 25, 20), [(0.5, 4.5)])
    lost = pose.copy()
    lost[50:70, [*range(49, 91)]] = 0  # fingers blurred, the body's wrists still found
    check(segments(lost, 25, 20), [(0.5, 4.5)])


def test_what_moves_in_the_lap_or_for_less_than_a_sign_is_no_sentence():
    restless = signed_recordings.pose([(0.5, 4.5)], 5, 25)
    restless[..., 1] += np.where(restless[..., 2] > 0, 1.5, 0) * (np.arange(keypoints.K) >= 5)
    assert not segments(restless, 25, 20)
    twitch = signed_recordings.pose([(1.0, 3.0), (4.0, 4.2)], 6, 25)
    found = cut(activity(twitch, 25), 25, 20)
    check(found.segments, [(1.0, 3.0)])
    assert found.n_short == 1


def test_a_sentence_without_a_pause_is_cut_at_its_quietest_moments():
    active_t = np.full(25 * 30, 2.0, np.float32)
    active_t[[180, 350, 520, 690]] = 0.4  # not rest, but less than around it
    found = cut(active_t, 25, 10)
    ends = [0, 7.2, 14.0, 20.8, 30.0]
    assert found.segments == list(itertools.pairwise(ends)) and found.n_long == 1


def likely(n_frames: int, at: dict[int, float]) -> np.ndarray:
    """How likely a sentence ends, 0 but around some frames."""
    boundary_t = np.zeros(n_frames, np.float32)
    for frame, value in at.items():
        boundary_t[frame - 2 : frame + 3] = value * np.array([0.3, 0.8, 1, 0.8, 0.3])
    return boundary_t


def test_a_sentence_is_cut_where_a_boundary_is_found():
    active_t = np.zeros(500, np.float32)
    active_t[50:300] = active_t[350:450] = 2.0
    at = {55: 0.9, 120: 0.9, 125: 0.6, 200: 0.4, 290: 0.7, 320: 0.9, 400: 0.6}
    found = cut(active_t, 25, 20, likely(500, at))
    # Not at 55, nor beside the likelier 120, where a piece would be too short; not in a pause; 200
    # is not likely enough.
    wanted = [(50, 120), (120, 290), (290, 300), (350, 400), (400, 450)]
    assert [s.frames(25) for s in found.segments] == wanted
    assert (found.n_learnt, found.n_long, found.n_short) == (3, 0, 0)
    assert cut(active_t, 25, 20).n_learnt == 0


def test_what_is_still_too_long_is_cut_at_its_likeliest_boundary():
    active_t = np.full(25 * 30, 2.0, np.float32)
    active_t[[180, 350]] = 0.4  # quiet moments, which do not count here
    found = cut(active_t, 25, 10, likely(750, {200: 0.4, 430: 0.9, 640: 0.3}))
    assert [s.frames(25) for s in found.segments] == [(0, 200), (200, 430), (430, 640), (640, 750)]
    assert found.n_learnt == 1 and found.n_long == 2


@pytest.mark.parametrize("n_frames", [0, 1, 2, 3, 10])
def test_recordings_of_hardly_a_frame_hold_no_sentence(n_frames):
    assert not segments(signed_recordings.pose([], 1, 25)[:n_frames], 25, 20)


def test_segments_may_not_be_shorter_than_sentences():
    with pytest.raises(SignBindError, match="longest segment: found 0.5 s, wanted at least 0.8 s"):
        cut(np.ones(100, np.float32), 25, 0.5)
