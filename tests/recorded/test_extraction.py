"""The true extraction, where its environment was made (`signbind extract` makes it)."""

import shutil

import av
import numpy as np
import pytest
from PIL import Image

from signbind_jax import keypoints
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines.extraction.environment import default_directory
from signbind_jax.data_pipelines.extraction.worker import pictures
from tests.moving_face import write_clip
from tests.recorded.in_process import command

PAD = 40  # pixels round the published crop in which it is looked for


@pytest.fixture(scope="module", autouse=True)
def environment():
    """Skips where there is no environment: making it takes a minute and a package index."""
    if not (default_directory() / "bin" / "python").exists():
        pytest.skip("no extraction environment: call signbind extract once")
    return default_directory()


@pytest.fixture(scope="module")
def corpus(recorded, tmp_path_factory):
    """A folder corpus of one GRID clip, its video alone, and what was extracted of it."""
    directory = tmp_path_factory.mktemp("grid")
    source, clips, poses = directory / "corpus", directory / "clips.tsv", directory / "poses"
    source.mkdir()
    shutil.copy(recorded / "grid" / "bbaf2n.mpg", source)
    (source / "manifest.tsv").write_text(
        "id\tsplit\ttext\tvideo\nbbaf2n\ttrain\tbin blue at f two now\tbbaf2n.mpg\n"
    )
    command("data", "clips", "folder", f"--source={source}", f"--out={clips}")
    printed = command("extract", f"--list={clips}", f"--out={poses}", "--workers=1")
    assert "no hand in any frame: 1 clips (bbaf2n)" in printed  # a talking face
    return source, poses


@pytest.fixture(scope="module")
def extracted(corpus):
    """The fields of the clip's file."""
    with np.load(corpus[1] / "bbaf2n.npz") as archive:
        return dict(archive)


def test_every_frame_of_a_talking_face_has_a_crop(extracted):
    assert extracted["found"][:2].tolist() == [1, 1]
    assert (extracted["lip_state"] == 1).all() and extracted["lips"].shape == (75, 96, 96)
    assert (extracted["width"], extracted["height"], extracted["fps"]) == (360, 288, 25)
    # Still where the head is and moving where the mouth is.
    change_hw = extracted["lips"].astype(float).std(0)
    assert change_hw[40:64, 32:64].mean() > 1.5 * change_hw[:20].mean()


def test_a_corpus_of_videos_becomes_a_dataset(corpus, tmp_path):
    source, poses = corpus
    command(
        "data",
        "build",
        "folder",
        f"--source={source}",
        f"--out={tmp_path / 'data'}",
        f"--poses={poses}",
        "--workers=1",
    )
    (clip,) = open_dataset(tmp_path / "data").split("train")
    pose, lips = clip.modalities["pose"], clip.modalities["lips"]
    assert pose.n == lips.n == 75 and pose.fps == lips.fps == 25
    x, y = pose.data[:, keypoints.MOUTH_SLICE, :2].mean((0, 1))
    assert abs(x) < 0.3 and -1 < y < -0.2  # shoulder widths: in the middle, above the shoulders


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
    windows = np.lib.stride_tricks.sliding_window_view(
        frame_hw[max(top, 0) :, max(left, 0) :], crop_hw.shape
    )
    windows = windows[: 2 * PAD, : 2 * PAD]
    error = np.abs(windows - crop_hw).mean((-2, -1))
    y, x = np.unravel_index(error.argmin(), error.shape)
    assert error[y, x] < 6, "not cut out of this frame"
    return np.array([max(left, 0) + x + width / 2, max(top, 0) + y + height / 2])


def test_a_face_that_moves_and_turns_keeps_its_mouth_in_place(tmp_path):
    """A photograph, moved: the known face that the models are checked with."""
    directories = [write_clip(tmp_path, clip) for clip in ("turns", "leaves")]
    command("extract", *directories, f"--out={tmp_path / 'o'}", "--fps=25", "--workers=1")
    with np.load(tmp_path / "o" / "turns.npz") as archive:
        crops_thw, state_t = archive["lips"].astype(float), archive["lip_state"]
    assert (state_t == 1).all()
    still_hw = crops_thw.mean(0)
    assert still_hw.std() > 25
    # The same picture in every frame, but for what resampling and the models' tremor do.
    assert np.abs(crops_thw - still_hw).mean() < 0.25 * still_hw.std()
    with np.load(tmp_path / "o" / "leaves.npz") as archive:
        state_t = archive["lip_state"]
    assert (state_t[11:15] == 2).all() and (state_t[27:38] == 0).all() and state_t[45] == 1
