"""Folds part the clips of a split, and keep together what was recorded or signed together."""

import numpy as np
import pytest

from signbind_jax.data.clip import Clip
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.folds import held_out
from signbind_jax.data.record import labels_from_json, labels_to_json
from signbind_jax.errors import SignBindError

RECORDINGS = [f"r{i}" for i in range(11) for _ in range(1 + 3 * i)]


class Split(ClipList):
    """Clips with their ids."""

    name = "train"

    @property
    def ids(self):
        return [clip.id for clip in self.labels]


def split(recordings, signers=None):
    signers = signers or [""] * len(recordings)
    rows = enumerate(zip(recordings, signers, strict=True))
    return Split([Clip(f"c{i}", "", recording=r, signer=s) for i, (r, s) in rows])


@pytest.mark.parametrize("n", [2, 5, 11])
def test_every_clip_is_held_out_once_with_its_recording(n):
    clips = split(RECORDINGS)
    parts = np.stack([held_out(clips, f"{k}/{n}", "recording") for k in range(n)])
    assert (parts.sum(axis=0) == 1).all()
    fold_of = parts.argmax(axis=0)
    together = {}
    for recording, fold in zip(RECORDINGS, fold_of, strict=True):
        assert together.setdefault(recording, fold) == fold
    sizes = parts.sum(axis=1)
    assert sizes.min() > 0 and (n > 5 or sizes.max() <= sizes.min() + 3)


def test_clips_of_no_known_recording_are_parted_alone_and_always_alike():
    clips = split([""] * 40)
    first = held_out(clips, "0/4", "recording")
    assert first.sum() == 10 and (first == held_out(split([""] * 40), "0/4", "recording")).all()
    assert len(set(np.diff(np.flatnonzero(first)))) > 1  # not every fourth: neighbours are alike


@pytest.mark.parametrize(
    ("signers", "by", "told"),
    [
        ("aabb", "signer", "found 3 folds, wanted at most 2: split train has no more signers"),
        ("abc ", "signer", "fold_by: found 'signer', and 1 of 4 clips of split train without one"),
        ("abcd", "recording", "wanted at most 1: split train has no more recordings"),
    ],
)
def test_what_cannot_be_parted_is_told_in_a_line(signers, by, told):
    clips = split(["one"] * 4, [s.strip() for s in signers])
    with pytest.raises(SignBindError) as raised:
        held_out(clips, "0/3", by)
    assert told in str(raised.value) and "\n" not in str(raised.value)


def test_a_recording_stands_in_the_index():
    clip = Clip("a", "Anna came.", recording="talk")
    assert labels_from_json(labels_to_json(clip), 0).recording == "talk"
    assert "recording" not in labels_to_json(Clip("a", "Anna came."))
    with pytest.raises(ValueError, match="recording: found int"):
        labels_from_json(labels_to_json(clip).replace('"talk"', "3"), 0)


@pytest.mark.parametrize("wrong", ["-1", '"1.5"', "NaN", "true"])
def test_where_in_its_recording_a_clip_begins_stands_there_too(wrong):
    line = labels_to_json(Clip("a", "Anna came.", recording="talk", start_s=1.5))
    assert labels_from_json(line, 0).start_s == 1.5
    assert "start_s" not in labels_to_json(Clip("a", "Anna came."))
    with pytest.raises(ValueError, match=r"start_s: found .*, wanted seconds, at least 0"):
        labels_from_json(line.replace("1.5", wrong, 1), 0)
