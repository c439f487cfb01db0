"""The audit: a planted fault is found, at its level, and nothing else is."""

import dataclasses
import os

import numpy as np
import pytest

from signbind_jax import keypoints
from signbind_jax.data.dataset_description import index_file
from signbind_jax.data_pipelines.audit.clip_facts import Tally, facts_type
from signbind_jax.data_pipelines.audit.finding import Limits, percent
from signbind_jax.data_pipelines.audit.histograms import histograms
from signbind_jax.data_pipelines.audit.survey import SplitSurvey, Survey
from signbind_jax.data_pipelines.corpus import ReadResult
from tests.audit_datasets import (
    FRAMES,
    audited,
    clean_clips,
    finding,
    moving_lips,
    moving_pose,
    pose_alone,
    told,
    with_lips,
    write,
)

HANDS = slice(keypoints.LEFT_HAND_SLICE.start, keypoints.RIGHT_HAND_SLICE.stop)


def changed(n: int = 1, split: str = "train", **fields):
    """Plants other fields in the first n clips of a split."""

    def plant(splits):
        for i in range(n):
            splits[split][i] = dataclasses.replace(splits[split][i], **fields)

    return plant


def posed(n: int, change):
    """Plants a change to the poses of the first n training clips."""

    def plant(splits):
        for i, clip in enumerate(splits["train"][:n]):
            pose = clip.modalities["pose"]
            change(pose_tkc := pose.data.copy())
            modalities = {**clip.modalities, "pose": pose._replace(data=pose_tkc)}
            splits["train"][i] = dataclasses.replace(clip, modalities=modalities)

    return plant


def lips_with(**fields):
    """A change to the mouth crops of a clip."""

    def change(clip):
        lips = clip.modalities["lips"]._replace(**fields)
        return dataclasses.replace(clip, modalities={**clip.modalities, "lips": lips})

    return change


def replaced(make, n: int = 1):
    """Plants other clips in place of the first n training clips."""

    def plant(splits):
        splits["train"][:n] = [make(clip) for clip in splits["train"][:n]]

    return plant


def without_hands(pose_tkc):
    pose_tkc[: FRAMES * 2 // 3, HANDS] = 0


def unsure(pose_tkc):
    pose_tkc[..., 2] = 0.1


def out_of_range(pose_tkc):
    pose_tkc[:, 60:70, 0] += 30


def frozen(pose_tkc):
    pose_tkc[:] = pose_tkc[:1]


def still(clip):
    return with_lips(clip, np.repeat(moving_lips(0)[:1], FRAMES, axis=0))


def copied(split: str, field: str, into: str = "train"):
    """Plants a field of the last training clip in the first clip of a split."""

    def plant(splits):
        value = getattr(splits[into][-1], field)
        splits[split][0] = dataclasses.replace(splits[split][0], **{field: value})

    return plant


def recorded_again(split: str, modality: str, into: str = "train"):
    """Plants the frames of the last training clip in the first clip of a split."""

    def plant(splits):
        clip, frames = splits[split][0], splits[into][-1].modalities[modality]
        modalities = {**clip.modalities, modality: frames}
        splits[split][0] = dataclasses.replace(clip, modalities=modalities)

    return plant


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (lambda splits: None, {}),
        (replaced(lips_with(fps=30.0)), {"stream_durations": "error"}),
        (replaced(lambda c: pose_alone(c, moving_pose(99, 450), 150.0)), {"frame_rates": "error"}),
        (replaced(lambda c: pose_alone(c, moving_pose(99, 1550))), {"durations": "warning"}),
        (posed(1, without_hands), {"hands": "note"}),
        (posed(2, without_hands), {"hands": "warning"}),
        (posed(13, without_hands), {"hands": "error"}),
        (posed(2, unsure), {"confidence": "warning"}),
        (posed(1, out_of_range), {"far_keypoints": "warning"}),
        (posed(3, out_of_range), {"far_keypoints": "error"}),
        (posed(1, frozen), {"frozen_poses": "warning"}),
        (replaced(still), {"still_lips": "warning"}),
        (
            replaced(lambda c: with_lips(c, moving_lips(1, size=48))),
            {"lip_sizes": "error"},
        ),
        (changed(text="?!"), {"empty_text": "error"}),
        (changed(text="Friend."), {"one_word_text": "note"}),
        (
            replaced(
                lambda c: pose_alone(dataclasses.replace(c, text="A friend."), moving_pose(99, 625))
            ),
            {"text_pace": "warning"},
        ),
        (changed(text_language=""), {"text_language": "warning"}),
        (changed(signed_language=""), {"signed_language": "note"}),
        (changed(split="test", gloss=("ZEBRA", "OLD", "COOK")), {"unseen_gloss": "note"}),
        (changed(3, "test", gloss=("ZEBRA", "OKAPI")), {"unseen_gloss": "warning"}),
        (changed(split="test", fusion_targets=("zebra",)), {"unseen_fusion_targets": "note"}),
        (changed(text="The old Xyzzyx sees a cook."), {"unspoken_words": "note"}),
        (changed(spelled=("b2b",)), {"unspelled_letters": "note"}),
        (changed(3, spelled=("b2b",)), {"unspelled_letters": "warning"}),
        (recorded_again("test", "pose"), {"shared_recordings": "error"}),
        (recorded_again("validation", "lips", into="test"), {"shared_recordings": "error"}),
        (recorded_again("train", "pose"), {"repeated_recordings": "warning"}),
        (copied("test", "text"), {"shared_sentences": "note"}),
        (copied("test", "signer"), {"shared_signers": "note"}),
        (changed(gloss=("OLD", "COOK") * 40), {"ctc_signing": "error"}),
        (changed(split="test", gloss=("OLD", "COOK") * 10), {"ctc_signing": "warning"}),
        (changed(spelled=("a" * 40,)), {"ctc_fingerspelling": "error"}),
        (changed(phonemes=("P", "AH") * 40), {"ctc_lipreading": "error"}),
    ],
)
def test_a_planted_fault_is_found_and_nothing_else(tmp_path, plant, found):
    splits = clean_clips()
    plant(splits)
    result = audited(write(tmp_path / "d", splits))
    assert told(result) == found, [f for f in result.findings if f.check in told(result)]
    assert result.exit_code == ("error" in found.values())
    for check in found:
        assert finding(result, check).wanted and finding(result, check).why
        assert finding(result, check).advice or found[check] == "note"


def test_half_of_the_crops_being_still_is_an_error(tmp_path):
    splits = clean_clips({"train": 4, "test": 2})
    splits["train"][:3] = [
        with_lips(clip, np.repeat(moving_lips(i)[:1], FRAMES, axis=0))
        for i, clip in enumerate(splits["train"][:3])
    ]
    result = audited(write(tmp_path / "d", splits))
    assert finding(result, "still_lips").level == "error"
    assert "train 3 of 4" in finding(result, "still_lips").found


def test_twins_are_named_with_what_they_share(tmp_path):
    splits = clean_clips()
    copied("test", "text")(splits)
    recorded_again("test", "pose")(splits)
    result = audited(write(tmp_path / "d", splits))
    assert result.names(finding(result, "shared_recordings")) == ["train-23 = test-0"]
    (sentence,) = result.names(finding(result, "shared_sentences"))
    assert sentence == f"train-23 = test-0 ({splits['train'][-1].text})"
    assert "by the same signer: 0" in finding(result, "shared_sentences").found
    copied("test", "signer")(splits)
    again = audited(write(tmp_path / "e", splits))
    assert "by the same signer: 1" in finding(again, "shared_sentences").found


def test_published_counts_are_kept_with_the_dataset_and_compared(tmp_path):
    published = {"train": 24, "validation": 8, "test": 8}
    whole = audited(write(tmp_path / "a", clean_clips(), published=published))
    assert finding(whole, "published_counts").level == "ok"
    published = {"train": 24, "validation": 7, "test": 10, "extra": 5}
    result = audited(write(tmp_path / "b", clean_clips(), published=published))
    assert told(result) == {"published_counts": "warning"}
    found = finding(result, "published_counts").found
    for part in (
        "train 24 of 24",
        "validation 8 of 7, 1 too many",
        "test 8 of 10, 2 missing (20 %)",
        "extra 0 of 5, 5 missing",
    ):
        assert part in found
    rows = {row["split"]: row for row in result.splits()}
    assert rows["test"]["missing"] == 2 and rows["extra"]["clips"] == 0
    few = audited(write(tmp_path / "c", clean_clips(), published={"train": 25}))
    assert told(few) == {"published_counts": "warning"}


@pytest.mark.parametrize(("n", "level"), [(1, "note"), (4, "warning")])
def test_what_the_build_left_out_is_told_with_its_reason(tmp_path, n, level):
    ids = [f"gone {i}" for i in range(n)]
    result = audited(write(tmp_path / "d", clean_clips(), left_out={"no pose file": ids}))
    assert told(result) == {"left_out": level}
    assert f"no pose file: {n} (gone 0" in finding(result, "left_out").found


def _cut(row):
    return ReadResult(row.clip, {"span ends past the end of the video, cut there": 1})


def _padded(row):
    return ReadResult(row.clip, {"keypoints not finite, now missing": 2})


@pytest.mark.parametrize(
    ("read", "found"),
    [(_padded, {"repaired": "note"}), (_cut, {"repaired": "note", "timestamps": "warning"})],
)
def test_what_the_build_repaired_is_told(tmp_path, read, found):
    result = audited(write(tmp_path / "d", clean_clips(), read=read))
    assert told(result) == found
    assert "40" in finding(result, "repaired").found or "80" in finding(result, "repaired").found


def shard_of(dataset, split="train"):
    return sorted(dataset.glob(f"*-{split}.array_record-*"))[0]


def flip(path, share=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda dataset: os.truncate(shard_of(dataset), 70_000),
        lambda dataset: shard_of(dataset).unlink(),
        lambda dataset: shard_of(dataset).write_bytes(os.urandom(shard_of(dataset).stat().st_size)),
    ],
)
def test_a_damaged_shard_is_a_finding_and_the_others_are_read(tmp_path, damage):
    dataset = write(tmp_path / "d", clean_clips(), clips_per_shard=10)
    name = shard_of(dataset).name
    damage(dataset)
    result = audited(dataset)
    assert told(result) == {"damaged_files": "error"} and result.exit_code == 1
    found = finding(result, "damaged_files")
    assert name in found.found and "1 of 10 files" in found.found
    assert "10 of 40 clips (25 %) cannot be read" in found.found
    assert "build it again" in found.advice
    assert result.names(found) == [f"train-{i}" for i in range(10)]


def test_a_flipped_byte_is_found_by_its_digest(tmp_path):
    dataset = write(tmp_path / "d", clean_clips())
    flip(dataset / "dataset_info.json", 0.6)
    result = audited(dataset)
    assert finding(result, "damaged_files").level == "error"
    assert "dataset_info.json: sha256" in finding(result, "damaged_files").found


@pytest.mark.parametrize("damage", [flip, lambda path: os.truncate(path, 300)])
def test_a_damaged_index_closes_its_split_alone(tmp_path, damage):
    dataset = write(tmp_path / "d", clean_clips())
    damage(dataset / index_file("test"))
    result = audited(dataset)
    found = finding(result, "damaged_files")
    assert found.level == "error" and index_file("test") in found.found
    assert list(result.survey.splits) == ["train", "validation"] and result.survey.n_read == 32


def test_damage_to_what_is_not_read_is_a_finding(tmp_path):
    dataset = write(tmp_path / "d", clean_clips({"train": 4}))
    (dataset / "features.json").write_text("{")
    result = audited(dataset)
    assert finding(result, "damaged_files").level == "error" and result.exit_code == 1
    assert result.survey.n_read == 4


def test_crops_that_are_no_picture_are_a_finding(tmp_path):
    splits = clean_clips()
    replaced(lips_with(data=b"no picture"))(splits)
    result = audited(write(tmp_path / "d", splits))
    assert told(result) == {"damaged_files": "error"}
    assert result.names(finding(result, "damaged_files")) == ["train-0"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_dataset_may_lack_streams_and_splits(tmp_path, split):
    clips = [
        pose_alone(clip, clip.modalities["pose"].data) for clip in clean_clips({split: 6})[split]
    ]
    result = audited(write(tmp_path / "d", {split: clips}))
    assert told(result) == {"ctc_lipreading": "note"}
    assert "frontend=mouth_landmarks" in finding(result, "ctc_lipreading").found
    lips = [
        dataclasses.replace(clip, modalities={"lips": clip.modalities["lips"]}, spelled=())
        for clip in clean_clips({split: 6})[split]
    ]
    result = audited(write(tmp_path / "e", {split: lips}))
    assert told(result) == {"ctc_signing": "note", "ctc_fingerspelling": "note"}


def test_german_text_gets_lemmas_as_glosses_and_no_phonemes(tmp_path):
    texts = ("Die Kinder haben drei Bücher gelesen.", "Das Kind liest ein Buch.")
    clips = [
        dataclasses.replace(
            clip, text=text, text_language="de", gloss=(), spelled=(), fusion_targets=()
        )
        for clip, text in zip(clean_clips({"train": 2})["train"], texts, strict=True)
    ]
    result = audited(write(tmp_path / "d", {"train": clips}))
    tokens = result.survey.splits["train"].tally.tokens
    assert tokens["gloss"] == {"kind": 2, "drei": 1, "buch": 2, "lesen": 2}
    assert not tokens["phonemes"]
    assert finding(result, "unspoken_words").found == "no dictionary for de (2 clips)"
    assert finding(result, "ctc_lipreading").level == "note"


def test_a_sample_is_evenly_spaced_and_said_to_be_one(tmp_path):
    splits = clean_clips()
    posed(1, without_hands)(splits)
    dataset = write(tmp_path / "d", splits)
    result = audited(dataset, n_clips=5)
    read = {
        name: np.flatnonzero(s.facts["read"]).tolist() for name, s in result.survey.splits.items()
    }
    assert read == {"train": [0, 10, 20], "validation": [5], "test": [7]}
    assert result.survey.sampled and result.survey.n_read == 5
    assert "1 of 5 clips" in finding(result, "hands").found
    assert "sizes compared" in finding(result, "damaged_files").found
    assert "40 clips" not in finding(result, "hands").found
    assert not audited(dataset, n_clips=40).survey.sampled


@pytest.mark.parametrize("frames", [[1], [75] * 5, [1, 2, 3], [*range(20, 200), 90_000]])
def test_every_clip_is_in_the_histogram_or_beyond_it(frames):
    facts = np.zeros(len(frames), facts_type())
    facts["pose_frames"], facts["pose_fps"] = frames, 25.0
    facts["confidence"] = np.nan
    survey = Survey(None, {"train": SplitSurvey(facts, Tally())}, {}, {}, frozenset(), False)
    drawn = {histogram.name: histogram for histogram in histograms(survey)}
    assert "confidence of body and hands" not in drawn
    for name, largest in (("length of the pose", max(frames)), ("duration", max(frames) / 25)):
        histogram = drawn[name]
        assert sum(histogram.counts) + histogram.beyond == len(frames)
        assert histogram.largest == largest and len(histogram.counts) <= 60
        assert (np.diff(histogram.edges) > 0).all() and histogram.edges[0] == 0
    assert drawn["length of the pose"].beyond == (len(frames) > 100)


def test_limits_say_what_they_are():
    limits = Limits("why", warning=0.05, error=0.5)
    assert [limits.level(share) for share in (0, 0.05, 0.051, 0.5, 0.51)] == [
        "ok",
        "note",
        "warning",
        "warning",
        "error",
    ]
    assert limits.told("clips") == "warning above 5 %, error above 50 % (clips of a split)"
    assert Limits("", error=0.0).told("clips") == "error from the first on (clips of a split)"
    assert [percent(x) for x in (0, 1e-6, 0.5, 0.9999, 1.0)] == [
        "0 %",
        "under 0.1 %",
        "50 %",
        "99.9 %",
        "100 %",
    ]
