"""Recorded hands with a body and without one, and the letters of people never seen."""

import numpy as np
import pytest

from signbind_jax import keypoints
from signbind_jax.data.clip import pose_frames
from signbind_jax.data_pipelines.readers.poses import read_pose_file
from tests.unit.models.test_expert import make, read

RIGHT = keypoints.RIGHT_HAND_SLICE


@pytest.mark.parametrize("letter", "BKY")
def test_one_expert_reads_a_recorded_hand_alike_with_its_body_and_without(
    recorded, tmp_path, letter
):
    body = read_pose_file(recorded / "fingerspelling_ase" / f"{letter}.pose")
    assert not body.notes
    np.savez(
        tmp_path / "hand.npz",
        keypoints=100 * body.points[:, RIGHT, :2].astype(np.float32),
        scores=body.points[:, RIGHT, 2],
        scheme="right_hand_21",
        fps=body.fps,
    )
    alone = read_pose_file(tmp_path / "hand.npz")
    assert alone.notes == ("no shoulders: normalised by the hands",)
    expert = make("hand_shape")
    one, other = (
        np.asarray(
            read(
                expert,
                pose_frames(pose.points, pose.fps).data[None].astype(np.float32),
                np.ones((1, len(pose.points)), bool),
            ).log_probs_bsv
        )
        for pose in (body, alone)
    )
    hand_size = [
        np.ptp(pose.points[:, RIGHT, :2].astype(float), axis=1).max() for pose in (body, alone)
    ]
    assert hand_size[1] == pytest.approx(hand_size[0], rel=0.6)
    # Apart from motion, which is in shoulder widths in the one and in hands in the other.
    assert (one.argmax(-1) == other.argmax(-1)).mean() > 0.8
