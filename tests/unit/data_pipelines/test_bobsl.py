import json
import os
import pickle

import numpy as np
import pytest

from signbind_jax.data_pipelines import bobsl
from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.readers.timed_sentences import PoseSource
from signbind_jax.errors import SignBindError
from tests.timed_corpora import (
    BOBSL_1_2,
    BOBSL_1_4,
    EPISODES,
    assert_is,
    build,
    error_of,
    write_pose,
    write_release,
    write_spottings,
    write_vtt,
)

FIRST, SECOND, _ = EPISODES["train"]
LANGUAGES = {"text_language": "en", "signed_language": "bfi"}
# Training times are those of the files and 2.7 s more.
TEXTS = {
    "train": {
        f"{FIRST}_00003700_00006200": "This is the tower & a caf\u00e9.",
        f"{FIRST}_00005700_00007700": "It stands in Paris.",
        f"{FIRST}_00039700_00041700": "Twice.",
        f"{FIRST}_00042700_00044700": "One.",
        f"{FIRST}_00042700_00044700_2": "Other.",
        f"{SECOND}_03601700_03605700": "Over the hour.",
    },
    "validation": {
        "6001_00010000_00010500": "Short is kept.",
        "6001_00012000_00014000": "[MUSIC] Hello!",
    },
    "test": {"7001_00001000_00031000": "Long is kept."},
}


def span_s(clip_id: str) -> float:
    start, end = clip_id.split("_")[1:3]
    return (int(end) - int(start)) / 1000


def listed(release, **options) -> dict[str, list]:
    return bobsl.open_corpus(release, **options).splits


@pytest.fixture
def release(tmp_path):
    write_release(tmp_path / "bobsl")
    return tmp_path / "bobsl"


@pytest.mark.parametrize("layout", [BOBSL_1_2, BOBSL_1_4], ids=["1.2", "1.4"])
def test_a_release_becomes_a_dataset(tmp_path, layout):
    write_release(tmp_path / "bobsl", layout)
    poses = {
        clip_id: write_pose(tmp_path / "poses" / f"{clip_id}.npz", span_s(clip_id))
        for texts in TEXTS.values()
        for clip_id in texts
    }
    clips, report, info = build(
        tmp_path / "out", "bobsl", f"--source={tmp_path / 'bobsl'}", f"--poses={tmp_path / 'poses'}"
    )
    assert {split: [clip.id for clip in found] for split, found in clips.items()} == {
        split: list(texts) for split, texts in TEXTS.items()
    }
    for split, texts in TEXTS.items():
        for clip in clips[split]:
            assert_is(clip, poses[clip.id], id=clip.id, text=texts[clip.id], **LANGUAGES)
        for clip in info.split(split).labels:
            episode, start_ms, *_ = clip.id.split("_")
            assert (clip.recording, clip.start_s) == (episode, int(start_ms) / 1000)
    assert report.left_out == {
        "no subtitles of the episode": ["5111"],
        "no manually aligned subtitles of the episode": ["7002"],
        "subtitle whose times cannot be read": [f"{FIRST}: 1"],
        "subtitle that does not end after it starts": [
            f"{FIRST}_00007700_00007700",
            f"{FIRST}_00008700_00008200",
        ],
        "subtitle shorter than 1 s": [f"{FIRST}_00009700_00010600"],
        "subtitle longer than 20 s": [f"{FIRST}_00010700_00031200"],
        "subtitle that is only a [TAG]": [f"{FIRST}_00032700_00035700", "7001_00032000_00033000"],
        "subtitle without a word": [f"{FIRST}_00036700_00038700"],
        "subtitle given twice": [f"{FIRST}_00039700_00041700"],
    }
    assert report.repaired["subtitle: overlaps the one before, both kept"] == 2
    source = info.description["source"]
    assert source["corpus"] == "bobsl" and source["synthetic"] is False
    assert source["shift_s"] == 2.7 and "Albanie" in source["citation"]


def test_a_clip_without_its_pose_is_left_out_with_the_reason(tmp_path, release):
    poses = tmp_path / "poses"
    first, second, *gone = TEXTS["train"]
    write_pose(poses / f"{first}.npz", span_s(first))
    write_pose(poses / f"{second}.npz", 3.0)  # of 2 s: cut with other options
    end, short, long = (*TEXTS["validation"], *TEXTS["test"])
    write_pose(poses / f"{end}.npz", 0.5)
    write_pose(poses / f"{short}.npz", 0.4)  # of 2 s
    write_pose(poses / f"{long}.npz", 20.0)  # of 30 s: the video ends
    (release / "videos" / f"{FIRST}.mp4").write_bytes(b"")
    clips, report, _ = build(tmp_path / "out", "bobsl", f"--source={release}", f"--poses={poses}")
    assert [clip.id for found in clips.values() for clip in found] == [first, end, long]
    assert report.repaired["pose: shorter than the sentence, whose end lies past the video's"] == 1
    reason_of = {clip_id: reason for reason, ids in report.left_out.items() for clip_id in ids}
    assert "lasts longer than the sentence and its padding" in reason_of[second]
    assert "lasts less than half" in reason_of[short]
    assert reason_of[gone[0]] == "no pose file: extract it first (signbind extract)"
    assert reason_of[gone[-1]] == (
        "no pose file and no video: the video is gone or was not fetched"
    )


def test_only_training_subtitles_are_shifted(release):
    def starts(**options):
        return {
            split: [row.start_ms for row in rows][:2]
            for split, rows in listed(release, **options).items()
        }

    assert starts() == {"train": [3700, 5700], "validation": [10_000, 12_000], "test": [1000]}
    assert starts(options=bobsl.Options(shift_s=-1.5)) == {
        "train": [0, 1500],
        "validation": [10_000, 12_000],
        "test": [1000],
    }
    by_hand = release / BOBSL_1_2["manual"]
    write_vtt(by_hand / f"{FIRST}.vtt", (1, 3, "By hand."))
    assert starts(train_subtitles=by_hand)["train"] == [1000]


def test_filters_are_options(release):
    texts = [
        row.text
        for row in listed(
            release, options=bobsl.Options(shortest_s=0.5, longest_s=30, drop_tagged=True)
        )["train"]
    ]
    assert {"Too short.", "Too long."} < set(texts)
    corpus = bobsl.open_corpus(release, options=bobsl.Options(drop_tagged=True))
    assert corpus.left_out["subtitle that holds a [TAG]"] == ["6001_00012000_00014000"]


SPOTTED = [
    # episode, word, time, probability, type; the sign's middle is 0.04 s later for mouthings and
    # 0.38 s later for the dictionary.
    (FIRST, "tower", 5.10, 0.9, "M*"),
    (f"{FIRST}.mp4", "Tower", 4.90, 0.95, "D*"),  # the same sign, surer
    (FIRST, "this", 3.68, 0.85, "mouthing"),  # begins with the sentence
    (FIRST, "before", 3.60, 0.99, "M*"),  # before it
    (FIRST, "paris", 6.50, 0.8, "D*"),
    (FIRST, "paris", 5.80, 0.9, "exemplars"),
    (FIRST, "good morning", 7.00, 0.8, "A"),
    (FIRST, "paris", 7.30, 0.8, "N"),  # 0.8 s after the second: one chain
    (FIRST, "unsure", 4.00, 0.79, "M*"),
    (FIRST, "nan", float("nan"), 0.9, "M*"),
    (FIRST, "", 4.00, 0.9, "M*"),
    ("9999", "elsewhere", 4.00, 0.9, "M*"),
    ("7001", "long", 30.0, 0.8, "P"),
    ("7001", "long", 2.0, 0.8, "P"),
]
GLOSSES = {
    f"{FIRST}_00003700_00006200": ("this", "tower", "paris"),  # which the next overlaps
    f"{FIRST}_00005700_00007700": ("paris", "good-morning"),
    "7001_00001000_00031000": ("long", "long"),
}


def test_spottings_become_glosses_in_order_of_time(tmp_path, release):
    write_spottings(tmp_path / "all.json", *SPOTTED)
    for texts in TEXTS.values():
        for clip_id in texts:
            write_pose(tmp_path / "poses" / f"{clip_id}.npz", span_s(clip_id))
    clips, report, info = build(
        tmp_path / "out",
        "bobsl",
        "--source",
        release,
        "--poses",
        tmp_path / "poses",
        "--spottings",
        tmp_path / "all.json",
    )
    found = {clip.id: clip.gloss for clips in clips.values() for clip in clips}
    assert {clip_id: gloss for clip_id, gloss in found.items() if gloss} == GLOSSES
    assert report.repaired["gloss: nothing spotted in the sentence"] == len(found) - 3
    counts = info.description["source"]["spotting_counts"]
    assert counts["mouthing"] == {"read": 7, "unreadable": 2, "too unsure": 1}
    assert counts["all"] == {"kept after merging": 7}


def test_every_form_of_spottings_gives_the_same(tmp_path, release):
    def glosses(*paths):
        rows = listed(release, spotting_files=paths)
        return {row.id: row.gloss for found in rows.values() for row in found if row.gloss}

    rows = [row for row in SPOTTED if row[4] in ("M*", "mouthing") and row[1]]
    lists = write_spottings(tmp_path / "parallel.json", *rows)
    wanted = glosses(tmp_path / "parallel.json")
    assert wanted == {f"{FIRST}_00003700_00006200": ("this", "tower")}
    write_spottings(tmp_path / "mouthing_spottings_v2.json", *rows, without=["annot_type"])
    assert glosses(tmp_path / "mouthing_spottings_v2.json") == wanted
    by_word: dict = {}
    for episode, word, time, prob, _ in rows:
        found = by_word.setdefault(word, {"names": [], "global_times": [], "probs": []})
        for name, value in zip(found, (episode, time, prob)):
            found[name].append(value)
    (tmp_path / "mouthing_spottings.json").write_text(json.dumps({"train": by_word, "val": {}}))
    assert glosses(tmp_path / "mouthing_spottings.json") == wanted
    lists["annot_time"] = [np.float64(time) for time in lists["annot_time"]]
    (tmp_path / "annotations.pkl").write_bytes(pickle.dumps(lists))
    assert glosses(tmp_path / "annotations.pkl") == wanted
    halves = [tmp_path / "half_0.json", tmp_path / "half_1.json"]
    for i, path in enumerate(halves):
        write_spottings(path, *rows[i::2])
    assert glosses(*halves) == glosses(*reversed(halves)) == wanted


def test_thresholds_by_type_choose_the_types(tmp_path, release):
    write_spottings(tmp_path / "all.json", *SPOTTED)

    def words(thresholds, **options):
        options = bobsl.Options(thresholds=thresholds, **options)
        rows = listed(release, options=options, spotting_files=[tmp_path / "all.json"])
        return [row.gloss for row in rows["train"]][:2]

    assert words({"mouthing": 0.0}) == [("this", "unsure", "tower"), ()]
    assert words({"dictionary": 0.9, "attention": 0.8}) == [("tower",), ("good-morning",)]
    assert words({"": 0.8}, merge_s=0.5)[1] == ("paris", "paris", "good-morning", "paris")


def test_splits_may_be_text_lists(tmp_path, release):
    (release / "subset2episode.json").unlink()
    (release / "bobsl_train_1658.txt").write_bytes(f"\ufeff{FIRST}.mp4\r\n\r\n".encode())
    (release / "public_test.txt").write_text("7001\n")
    (release / "readme.txt").write_text("no list\n")
    assert {split: len(rows) for split, rows in listed(release).items()} == {"train": 5, "test": 1}
    given = tmp_path / "mine.json"
    given.write_text(json.dumps({"train": [6001], "dev": ["7001"], "test": [], "public_test": []}))
    corpus = bobsl.open_corpus(release, splits=given)
    assert list(corpus.splits) == ["train", "validation", "test", "public_test"]
    assert corpus.left_out["no subtitles of the episode"] == ["6001"]


def test_subtitles_that_cannot_be_read_leave_their_episode_out(tmp_path, release):
    audio = release / BOBSL_1_2["audio"]
    (audio / f"{FIRST}.vtt").write_bytes(b"WEBVTT\n\n\xff")
    write_vtt(tmp_path / "outside.vtt", (1, 3, "Outside."))
    (audio / "5111.vtt").symlink_to(tmp_path / "outside.vtt")
    corpus = bobsl.open_corpus(release)
    assert [row.text for row in corpus.splits["train"]] == ["Over the hour."]
    reasons = {ids[0]: reason for reason, ids in corpus.left_out.items()}
    assert "byte 8 is not UTF-8" in reasons[FIRST] and "/" not in reasons[FIRST]
    assert reasons["5111"] == "no subtitles of the episode"


def test_recordings_are_spans_of_the_episode(release):
    video = release / "videos" / f"{FIRST}.mp4"
    video.write_bytes(b"")
    corpus = bobsl.open_corpus(release, PoseSource(padding_s=4.0))
    first, *_, last = corpus.splits["train"]
    assert corpus.recording(first) == Recording(video.resolve(), 0.0, 10.2)
    assert corpus.recording(last) is None
    assert pickle.loads(pickle.dumps(corpus.read)) and pickle.loads(pickle.dumps(first)) == first


def break_nothing(release):
    pass


def without_lists(release):
    (release / "subset2episode.json").unlink()


def lists_broken(release):
    (release / "subset2episode.json").write_text('{"train": ["1"')


def lists_of_another_shape(release):
    (release / "subset2episode.json").write_text('{"train": {"5111": 1}}')


def episode_twice(release):
    (release / "subset2episode.json").write_text('{"train": ["7001"], "val": ["7001"]}')


def episode_outside(release):
    (release / "subset2episode.json").write_text('{"train": ["../../etc/passwd"]}')


def split_unnamed(release):
    (release / "subset2episode.json").write_text('{"..": ["7001"]}')


@pytest.mark.parametrize(
    ("break_it", "source", "said"),
    [
        (
            break_nothing,
            "..",
            "found no subset2episode.json or train.txt in it: the corpus seems to be in {release}",
        ),
        (break_nothing, "subtitles/manually-aligned", "the corpus seems to be in {release}"),
        (break_nothing, "nowhere", "found no such directory"),
        (without_lists, ".", "found no subset2episode.json or train.txt in it: give the corpus"),
        (lists_broken, ".", "subset2episode.json: not readable as JSON"),
        (lists_of_another_shape, ".", 'wanted an object of lists, {{"train": [EPISODE'),
        (episode_twice, ".", "val: found the episode 7001, which is in train already"),
        (episode_outside, ".", "train: found the episode '../../etc/passwd', wanted a name"),
        (split_unnamed, ".", "split: found '..', wanted a name such as 'train'"),
    ],
)
def test_what_is_no_release_is_one_line(tmp_path, capsys, release, break_it, source, said):
    break_it(release)
    error = error_of(capsys, tmp_path, "bobsl", f"--source={release / source}")
    assert said.format(release=release.resolve()) in error


BY_WORD = {
    **dict.fromkeys(("episode_name", "annot_word", "annot_time", "annot_prob", "annot_type")),
    "train": {"x": {"names": [FIRST], "global_times": [], "probs": []}},
}


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ({"annot_time": [1.0, 2.0, 3.0]}, [], "annot_time: found 3 values, wanted 1 as in"),
        ({"annot_type": []}, [], "annot_type: found 0 values, wanted 1"),
        ({"annot_prob": ["sure"]}, [], "annot_prob: found could not convert string to float"),
        ({"annot_time": [[1.0, 2.0]]}, [], "annot_time: found shape (1, 2), wanted one number"),
        ({"annot_word": None}, [], "found no parallel lists"),
        ({"annot_word": "x"}, [], "found no parallel lists"),
        ({"annot_type": {"M*": 1}}, [], "found no parallel lists"),
        ({"annot_prob": [10**400]}, [], "annot_prob: found int too large to convert to float"),
        ([], [], "found no parallel lists"),
        (BY_WORD, [], "word 'x': found 1, 0, 0 names, global_times and probs"),
        ({"annot_type": None}, [], "annot_type: missing, and the file's name tells no type"),
        (b'{"episode_name": [', [], "not readable as JSON"),
        ({}, ["--spotting_threshold=1.5"], "found '1.5', wanted a number in 0..1"),
        ({}, ["--spotting_threshold=mouth=0.5"], "found 'mouth=0.5', wanted a number in 0..1 or"),
        ({}, ["--poses=nowhere"], "--poses: nowhere: found no such directory"),
        ({}, ["--splits=nowhere"], "--splits: nowhere: found no subset2episode.json and no lists"),
    ],
)
def test_broken_spottings_and_options_are_one_line(
    tmp_path, capsys, release, content, options, said
):
    path = tmp_path / "spotted.json"
    lists = write_spottings(path, (FIRST, "tower", 5.1, 0.9, "M*"))
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, list):
        path.write_text("[]")
    else:
        merged = {name: v for name, v in (lists | content).items() if v is not None}
        path.write_text(json.dumps(merged))
    error = error_of(
        capsys, tmp_path, "bobsl", f"--source={release}", "--spottings", path, *options
    )
    assert said in error


def test_spottings_whose_words_are_no_text_are_counted(tmp_path, release):
    rows = [(FIRST, word, 5.1, 0.9, "M*") for word in (["tower"], 1984, "\ud800", None)]
    names = ("episode_name", "annot_word", "annot_time", "annot_prob", "annot_type")
    lists = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    (tmp_path / "spotted.pkl").write_bytes(pickle.dumps(lists))
    corpus = bobsl.open_corpus(release, spotting_files=[tmp_path / "spotted.pkl"])
    counts = corpus.source["spotting_counts"]["mouthing"]
    assert counts == {"read": 4, "unreadable": 4, "too unsure": 0}


def test_a_list_of_episodes_that_is_no_file_is_not_waited_for(tmp_path, capsys, release):
    (release / "subset2episode.json").unlink()
    os.mkfifo(release / "train.txt")
    assert "train.txt: found a named pipe" in error_of(
        capsys, tmp_path, "bobsl", f"--source={release}"
    )


def test_a_pickle_that_runs_something_is_refused(tmp_path, release):
    path = tmp_path / "mouthing.pkl"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(SignBindError, match="system"):
        bobsl.open_corpus(release, spotting_files=[path])
