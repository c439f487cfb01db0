"""A segmenter on recordings: windows agree with the whole, frame rates, what is no segmenter."""

import numpy as np
import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.use import boundaries
from signbind_jax.use.boundaries import BoundaryReader, open_segmenter
from tests import signed_recordings

FPS = 25


@pytest.fixture(scope="module")
def reader(segmenter):
    return BoundaryReader.of(open_segmenter(segmenter))


def signing(seconds: float, fps: float = FPS) -> np.ndarray:
    spans = [(at, at + 1.7) for at in np.arange(0.5, seconds - 2, 2.3)]
    return signed_recordings.pose(spans, seconds, fps).astype(np.float16)


def test_windows_say_what_the_whole_says(reader, monkeypatch):
    pose = signing(90)
    monkeypatch.setattr(boundaries, "WINDOW_FRAMES", len(pose) // 4 * 4 + 4)
    whole = reader.probabilities(pose, FPS)
    monkeypatch.setattr(boundaries, "WINDOW_FRAMES", 4)  # four times the context at least
    in_windows = reader.probabilities(pose, FPS)
    assert whole.shape == (len(pose),) and np.ptp(whole) > 0.3
    assert 4 * reader.config.context_frames < len(pose) / 3
    np.testing.assert_allclose(in_windows, whole, atol=1e-4)
    # And not less than the context decides: what is farther does not.
    near = pose[500 - reader.context_frames(FPS) :][: 2 * reader.context_frames(FPS) + 4]
    alone = reader.probabilities(near, FPS)[reader.context_frames(FPS)]
    assert alone == pytest.approx(whole[500], abs=1e-4)


def test_every_frame_is_said_once_whatever_the_length(reader):
    for n in (0, 1, 3, 8, 299, 300, 301, 500, 1101):
        found = reader.probabilities(signing(50)[:n], FPS)
        assert found.shape == (n,) and found.dtype == np.float32
        assert ((found >= 0) & (found <= 1)).all()


def test_of_many_more_frames_a_second_every_so_many_are_read(reader):
    pose = signing(12)
    faster = np.repeat(pose, 4, axis=0)
    found = reader.probabilities(faster, 4 * reader.fps)
    wanted = reader.probabilities(pose, reader.fps)
    np.testing.assert_array_equal(found, np.repeat(wanted, 4))


def test_another_stage_is_no_segmenter(runs, tmp_path):
    told = "--segmenter: .*signing: stage: found signing, wanted segmentation"
    with pytest.raises(SignBindError, match=told):
        open_segmenter(runs / "signing")
    with pytest.raises(SignBindError, match="no such file"):
        open_segmenter(tmp_path)
