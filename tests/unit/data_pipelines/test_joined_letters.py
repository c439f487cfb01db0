import numpy as np
import pytest

from signbind_jax import keypoints
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data_pipelines import joined_letters
from signbind_jax.data_pipelines.joined_letters import held_part, join
from signbind_jax.errors import SignBindError
from tests.corpora import clips_of

FPS = 25.0
RIGHT_WRIST = keypoints.RIGHT_HAND_SLICE.start


def recording(letter: str, wrist_x, moves=()) -> Clip:
    """A right hand that comes up in four frames, holds (or `moves` across), and drops again."""
    held = np.zeros(12)
    held[3:7] = 0.0
    y = np.concatenate([[0.9, 0.6, 0.3, 0.1], held, [0.1, 0.3, 0.6, 0.9]])
    x = np.full(len(y), wrist_x, float)
    x[7 : 7 + len(moves)] += np.asarray(moves)
    pose = np.zeros((len(y), keypoints.K, 3), np.float16)
    pose[:, keypoints.RIGHT_HAND_SLICE] = np.stack([x, y, np.ones_like(x)], -1)[:, None]
    return letter_clip(letter, pose, FPS)


def letter_clip(letter: str, pose, fps: float) -> Clip:
    modalities = {"pose": pose_frames(pose, fps)}
    return Clip(id=f"rec_{letter}", text=letter, modalities=modalities, spelled=(letter,))


@pytest.fixture
def letters() -> dict[str, list[Clip]]:
    return {letter: [recording(letter, i)] for i, letter in enumerate("abcde")}


def test_approach_and_retreat_are_cut_off_but_a_letter_that_moves_is_whole():
    still = held_part(recording("a", 0.5))
    assert np.abs(still[:, RIGHT_WRIST, 1]).max() < 0.05
    assert 11 <= len(still) <= 13
    # A fast stroke, as in Z, between two frames of rest.
    moving = held_part(recording("z", 0.5, moves=(0.2, 0.4, 0.2, 0.0)))
    assert len(moving) == len(still)
    assert np.ptp(moving[:, RIGHT_WRIST, 0].astype(float)) == pytest.approx(0.4, abs=0.01)


def test_a_joined_word_holds_its_letters_in_order_without_jumps(letters):
    clip = join(letters, "bead", seed=1)
    assert (clip.text, clip.spelled, clip.modalities["pose"].fps) == ("bead", ("bead",), FPS)
    x_t = clip.modalities["pose"].data[:, RIGHT_WRIST, 0].astype(float)
    # Each letter stands at its own place for two frames or more; the hand travels in between.
    stays = [round(a) for a, b in zip(x_t, x_t[1:], strict=False) if a == b and a == round(a)]
    order = [stays[0]] + [b for a, b in zip(stays, stays[1:], strict=False) if a != b]
    assert order == ["abcde".index(letter) for letter in "bead"]
    assert np.abs(np.diff(x_t)).max() < 1.5  # e and a are four apart: two frames between at least
    # What no recording shows stays missing, and nothing is drawn towards zero.
    others = np.delete(clip.modalities["pose"].data, np.r_[keypoints.RIGHT_HAND_SLICE], axis=1)
    assert not others.any()
    assert (clip.modalities["pose"].data[:, keypoints.RIGHT_HAND_SLICE, 2] == 1).all()


def test_a_hand_missing_in_one_letter_is_not_mixed_with_zeros(letters):
    pose = letters["a"][0].modalities["pose"].data.copy()
    pose[:, keypoints.LEFT_HAND_SLICE] = (-2.0, 0.5, 1.0)
    letters["a"] = [letter_clip("a", pose, FPS)]
    clip = join(letters, "cab", seed=0)
    left_tkc = clip.modalities["pose"].data[:, keypoints.LEFT_HAND_SLICE]
    seen_tk = left_tkc[..., 2] > 0
    assert seen_tk.any() and not seen_tk.all()
    assert (left_tkc[seen_tk][:, 0] == -2).all()
    assert not left_tkc[~seen_tk].any()


@pytest.mark.parametrize(
    ("word", "said"), [("abba", "doubled letter"), ("abx", "'x'"), ("", "no recording")]
)
def test_words_that_cannot_be_joined_are_refused(letters, word, said):
    with pytest.raises(SignBindError, match=said):
        join(letters, word, seed=0)


def test_letters_at_two_frame_rates_are_refused(letters):
    fast = recording("e", 4)
    letters["e"] = [letter_clip("e", fast.modalities["pose"].data, 50.0)]
    with pytest.raises(SignBindError, match="pose_fps"):
        join(letters, "bed", seed=0)


@pytest.fixture
def corpus(tmp_path):
    rows = ["id\tsplit\ttext\tpose\tspelled"]
    for i, letter in enumerate("abcdeghilmnorstu"):
        clip = recording(letter, i / 4)
        points = np.zeros((len(clip.modalities["pose"].data), 133, 3), np.float32)
        points[:, 5:7] = ((1, 0, 1), (0, 0, 1))  # shoulders one width apart
        points[:, 112:133] = clip.modalities["pose"].data[:, keypoints.RIGHT_HAND_SLICE]
        np.savez(tmp_path / f"{letter}.npz", keypoints=points, fps=FPS)
        rows.append(f"rec_{letter}\ttrain\t{letter}\t{letter}.npz\t{letter}")
    rows.append("word\ttrain\ton\to.npz\ton")
    (tmp_path / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def read(corpus, seed: int):
    return clips_of(joined_letters.open_corpus(corpus, seed=seed, train=40, test=10))


def test_test_words_are_not_among_the_training_words(corpus):
    clips, report = read(corpus, seed=0)
    assert {split: len(x) for split, x in clips.items()} == {"train": 56, "letters": 16, "test": 10}
    texts = {split: {clip.text for clip in x} for split, x in clips.items()}
    assert not texts["train"] & texts["test"]
    assert len({clip.id for x in clips.values() for clip in x}) == 82
    assert report.left_out == {"not the pose of one letter": ["word"]}


def test_a_seed_gives_the_same_words_and_the_same_bits(corpus):
    once, again, other = (read(corpus, seed)[0] for seed in (3, 3, 4))
    assert [c.text for c in once["train"]] == [c.text for c in again["train"]]
    for a, b in zip(once["test"], again["test"], strict=True):
        assert np.array_equal(a.modalities["pose"].data, b.modalities["pose"].data)
    assert [c.text for c in once["test"]] != [c.text for c in other["test"]]


def test_every_recording_of_a_letter_is_read_and_words_take_any(corpus):
    with open(corpus / "manifest.tsv", "a", encoding="utf-8") as file:
        file.write("again\ttrain\ta\tb.npz\ta\n")
    clips, _ = read(corpus, seed=0)
    assert {"rec_a_recorded", "again_recorded"} <= {clip.id for clip in clips["letters"]}
    letters = {"a": [recording("a", 1), recording("a", 3)], "b": [recording("b", 2)]}
    places = set()
    for seed in range(20):
        word = join(letters, "aba", seed).modalities["pose"].data[:, RIGHT_WRIST, 0]
        places.add((int(word[0]), int(word[-1])))
    assert places == {(1, 1), (1, 3), (3, 1), (3, 3)}


def test_letters_of_several_signers_are_not_joined(corpus):
    manifest = corpus / "manifest.tsv"
    header, *rows = manifest.read_text(encoding="utf-8").splitlines()
    rows = [f"{row}\t{'one' if i else 'two'}" for i, row in enumerate(rows)]
    manifest.write_text("\n".join([header + "\tsigner", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(SignBindError, match="signer: found 'two' and 'one'"):
        read(corpus, seed=0)
