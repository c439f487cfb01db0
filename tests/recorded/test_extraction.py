"""The true extraction, where its environment was made (`signbind extract` makes it)."""

import av
import numpy as np
import pytest
from PIL import Image

from data_pipelines.extraction.environment import WORKER, default_directory
from data_pipelines.extraction.worker import pictures
from tests.recorded.in_process import command

PAD = 40  # pixels round the published crop in which it is looked for


@pytest.fixture(scope="module", autouse=True)
def environment():
    """Skips where there is no environment: making it takes a minute and a package index."""
    if not (default_directory() / "bin" / "python").exists():
        pytest.skip("no extraction environment: call signbind extract once")
    return default_directory()


@pytest.fixture(scope="module")
def extracted(recorded, tmp_path_factory):
    """The fields of one GRID clip, and where its corpus's file lies."""
    out = tmp_path_factory.mktemp("poses")
    printed = command("extract", recorded / "grid" / "bbaf2n.mpg", f"--out={out}", "--workers=1")
    assert "no hand in any frame: 1 clips (bbaf2n)" in printed  # a talking face
    with np.load(out / "bbaf2n.npz") as archive:
        return dict(archive)


def test_every_frame_of_a_talking_face_has_a_crop(extracted):
    assert extracted["found"][:2].tolist() == [1, 1]
    assert (extracted["lip_state"] == 1).all() and extracted["lips"].shape == (75, 96, 96)
    assert (extracted["width"], extracted["height"], extracted["fps"]) == (360, 288, 25)
    # Still where the head is and moving where the mouth is.
    change_hw = extracted["lips"].astype(float).std(0)
    assert change_hw[40:64, 32:64].mean() > 1.5 * change_hw[:20].mean()


def test_the_mouth_is_where_the_corpus_published_it(extracted, recorded):
    """The corpus comes with mouth crops of 100x50, cut by another detector's landmarks."""
    lips = 33 + np.array([61, 291, 0, 17, 13, 14, 37, 267, 84, 314])
    published = pictures.in_order(recorded / "grid" / "bbaf2n_mouth")
    with av.open(str(recorded / "grid" / "bbaf2n.mpg")) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(published) == len(frames) == 75
    for t in range(0, 75, 6):
        crop_hw = np.asarray(Image.open(published[t]).convert("L"), np.float32)
        ours = extracted["keypoints"][t, lips].mean(0)
        assert np.hypot(*(ours - place_of(crop_hw, frames[t], ours))) < 4  # pixels


def place_of(crop_hw: np.ndarray, frame_hw: np.ndarray, near) -> np.ndarray:
    """x, y of the middle of a crop that was cut out of a frame."""
    height, width = crop_hw.shape
    left, top = int(near[0]) - width // 2 - PAD, int(near[1]) - height // 2 - PAD
    windows = np.lib.stride_tricks.sliding_window_view(frame_hw[max(top, 0) :, max(left, 0) :],
                                                       crop_hw.shape)  # fmt: skip
    windows = windows[: 2 * PAD, : 2 * PAD]
    error = np.abs(windows - crop_hw).mean((-2, -1))
    y, x = np.unravel_index(error.argmin(), error.shape)
    assert error[y, x] < 6, "not cut out of this frame"
    return np.array([max(left, 0) + x + width / 2, max(top, 0) + y + height / 2])


def test_a_face_that_moves_and_turns_keeps_its_mouth_in_place(tmp_path):
    """A photograph, moved: the known face that the models are checked with."""
    with Image.open(WORKER / "known_face.jpg") as image:
        photograph = image.convert("RGB")
    directory = tmp_path / "moving"
    directory.mkdir()
    for t in range(20):
        angle, scale = 12 * np.sin(t / 4), 1 + 0.15 * np.sin(t / 6)
        frame = photograph.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
        side = round(256 / scale)
        left, top = (256 - side) // 2 + t // 2, (256 - side) // 3
        frame.crop((left, top, left + side, top + side)).resize((320, 320)).save(
            directory / f"{t}.png")  # fmt: skip
    command("extract", directory, f"--out={tmp_path / 'o'}", "--fps=25", "--workers=1")
    with np.load(tmp_path / "o" / "moving.npz") as archive:
        crops_thw, state_t = archive["lips"].astype(float), archive["lip_state"]
    assert (state_t == 1).all()
    still_hw = crops_thw.mean(0)
    assert still_hw.std() > 25
    # The same picture in every frame, but for what resampling and the models' tremor do.
    assert np.abs(crops_thw - still_hw).mean() < 0.25 * still_hw.std()
