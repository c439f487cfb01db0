import json
import pickle
import sys

import h5py
import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.data_pipelines import youtube_asl
from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.readers import slt_features
from signbind_jax.errors import SignBindError
from tests.timed_corpora import assert_is, build, error_of, write_pose, write_vtt

FIRST, SECOND, DEAD, FRENCH = "-0abcdefgh1", "OUDhisX6EMU", "_x_y_z_0-9A", "aaaaaaaaaaa"
LIST = "youtube-asl_youtube_asl_video_ids.txt"
LANGUAGES = {"text_language": "en", "signed_language": "ase"}
WHOLEBODY = 133


@pytest.fixture
def source(tmp_path):
    """Captions as yt-dlp names them, of four listed videos of which one is dead."""
    source = tmp_path / "yt"
    captions = source / "captions"
    write_vtt(
        captions / f"{FIRST}.en.vtt",
        (0.5, 2.5, "Hi &gt; hello."),
        (3.0, 3.1, "Flash"),
        (4.0, 65.0, "A long time"),
        (70.0, 72.0, "x" * 301),
        (80.0, 82.0, "[Music]"),
    )
    write_vtt(captions / f"{FIRST}.en-GB.vtt", (0.5, 2.5, "Not this one."))
    write_vtt(
        captions / f"A title [{SECOND}].en-cvfXDfbeED0.vtt",
        "00:00:15.000 --> 00:00:17.000\nRoll<00:00:15.3><c>ing</c>",
        "00:00:15.000 --> 00:00:17.000\nRoll<00:00:15.300><c>ing</c>",
        "00:00:17.000 --> 00:00:17.050\nRolling\n ",
        "00:00:17.050 --> 00:00:19.050\nRolling\non<00:00:17.300><c>.</c>",
    )
    write_vtt(captions / f"A title [{SECOND}].en-orig.vtt", (1, 2, "Heard by a machine."))
    write_vtt(captions / f"{FRENCH}.fr.vtt", (1, 2, "Bonjour."))
    write_vtt(captions / "zzzzzzzzzzz.en.vtt", (1, 2, "Not listed."))
    lines = ["\ufeff" + FIRST, SECOND, "", DEAD, FRENCH, SECOND, "video_id"]
    (source / LIST).write_bytes("\r\n".join(lines).encode())
    return source


def test_captions_become_a_dataset(tmp_path, source):
    texts = {f"{FIRST}_00000500_00002500": "Hi > hello.", f"{SECOND}_00017050_00019050": "on."}
    poses = {i: write_pose(tmp_path / "poses" / f"{i}.npz", 2.0, fps=29.97) for i in texts}
    (source / "videos").mkdir()
    clips, report, info = build(
        tmp_path / "out", "youtube_asl", f"--source={source}", f"--poses={tmp_path / 'poses'}"
    )
    assert list(clips) == ["train"] and [clip.id for clip in clips["train"]] == list(texts)
    for clip in clips["train"]:
        assert_is(clip, poses[clip.id], 29.97, id=clip.id, text=texts[clip.id], **LANGUAGES)
    assert report.left_out == {
        "line of the list that is no video id": ["video_id"],
        "video listed again": [SECOND],
        "no captions: the video is gone or its captions were not fetched": [DEAD],
        "captions, but none in English": [FRENCH],
        "subtitle shorter than 0.2 s": [f"{FIRST}_00003000_00003100"],
        "subtitle longer than 60 s": [f"{FIRST}_00004000_00065000"],
        "subtitle of more than 300 characters": [f"{FIRST}_00070000_00072000"],
        "subtitle that is only a [TAG]": [f"{FIRST}_00080000_00082000"],
        "rolling captions that show a line again": [f"{SECOND}: 2"],
        "no pose file and no video: the video is gone or was not fetched": [
            f"{SECOND}_00015000_00017000"
        ],
    }
    assert "Uthus" in info.description["source"]["citation"]


def test_lists_may_name_splits(tmp_path, source):
    (tmp_path / "dev.txt").write_text(f"{SECOND}\n")
    (tmp_path / "rest.txt").write_text(f"{FIRST}\n")
    corpus = youtube_asl.open_corpus(
        source, ids=[f"validation={tmp_path / 'dev.txt'}", str(tmp_path / "rest.txt")]
    )
    assert {split: {row.video for row in rows} for split, rows in corpus.splits.items()} == {
        "validation": {SECOND},
        "train": {FIRST},
    }
    assert corpus.published == {}
    assert youtube_asl.open_corpus(source).published == {"train": 610_193}


def test_captions_are_chosen_by_language(source):
    (source / "captions" / f"{FIRST}.en.vtt").unlink()
    (row, *_) = youtube_asl.open_corpus(source).splits["train"]
    assert row.text == "Not this one." and row.video == FIRST


def test_recordings_are_spans_of_the_video(tmp_path, source):
    video = source / "videos" / f"{FIRST}.mkv"
    video.parent.mkdir()
    video.write_bytes(b"")
    (tmp_path / "outside.mp4").write_bytes(b"")
    (source / "videos" / f"{SECOND}.mp4").symlink_to(tmp_path / "outside.mp4")
    corpus = youtube_asl.open_corpus(source)
    first, *_, last = corpus.splits["train"]
    assert corpus.recording(first) == Recording(video.resolve(), 0.5, 2.5)
    assert corpus.recording(last) is None
    assert pickle.loads(pickle.dumps(corpus.read))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--source={source}/.."],
            "found no *video_ids*.txt or *annotation*.json in it: the "
            "corpus seems to be in {source}",
        ),
        (["--source={source}/captions"], "the corpus seems to be in {source}"),
        (["--source={source}", "--ids=dev=nowhere.txt"], "nowhere.txt: cannot be read: No such"),
        (["--source={source}", "--ids", "../x={list}"], "--ids: split: found '../x', wanted"),
        (["--source={source}", "--ids", "{list}", "test={list}"], "is in train already"),
        (["--source={source}", "--captions=nowhere"], "--captions: nowhere: found no such"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, capsys, source, options, said):
    names = {"source": source.resolve(), "list": source / LIST}
    error = error_of(capsys, tmp_path, "youtube_asl", *(text.format(**names) for text in options))
    assert said.format(**names) in error


def test_two_lists_in_a_directory_are_one_line(tmp_path, capsys, source):
    (source / "my_video_ids.txt").write_text(FIRST)
    error = error_of(capsys, tmp_path, "youtube_asl", f"--source={source}")
    assert "wanted one list: name it with --ids" in error


# The form with annotations and HDF5.


@pytest.fixture
def annotated(tmp_path):
    source = tmp_path / "slt"
    source.mkdir()
    train = {
        FIRST: {
            "clip_order": [f"{FIRST}.0", f"{FIRST}.1", "two"],
            f"{FIRST}.1": {"translation": "Second  clip.", "paraphrases": []},
            f"{FIRST}.0": {"translation": "First clip."},
            "two": {"translation": "Third."},
            "unnamed": {"translation": "Not in the order."},
        },
        SECOND: {
            "clip_order": ["0", "1", "../up"],
            "0": {"translation": " "},
            "../up": {"translation": "Up."},
        },
        DEAD: {"0": {"translation": "No order."}},
    }
    dev = {FRENCH: {"clip_order": ["only"], "only": {"translation": "Held out."}}}
    for split, data in (("train", train), ("dev", dev)):
        (source / f"YouTubeASL.annotation.{split}.json").write_text(json.dumps(data))
    return source


ANNOTATED = {
    f"{FIRST}.0": "First clip.",
    f"{FIRST}.1": "Second clip.",
    f"{FIRST}/two": "Third.",
    f"{FRENCH}/only": "Held out.",
}


def test_annotated_clips_take_their_poses_by_id(tmp_path, annotated):
    poses = {i: write_pose(tmp_path / "poses" / f"{i}.npz", 1.0) for i in ANNOTATED}
    clips, report, _ = build(
        tmp_path / "out", "youtube_asl", f"--source={annotated}", f"--poses={tmp_path / 'poses'}"
    )
    assert [clip.id for clip in clips["train"] + clips["validation"]] == list(ANNOTATED)
    for clip in clips["train"] + clips["validation"]:
        assert_is(clip, poses[clip.id], id=clip.id, text=ANNOTATED[clip.id], **LANGUAGES)
    assert report.left_out == {
        "video without a list clip_order": [DEAD],
        "clip that clip_order does not name": [f"{FIRST}/unnamed"],
        "clip without a translation": [f"{SECOND}/0", f"{SECOND}/1"],
        "name with a slash": [f"{SECOND}/../up"],
    }


def test_keypoints_in_hdf5_are_read_and_other_features_are_not(tmp_path, annotated):
    directory = annotated / "keypoints"
    directory.mkdir()
    shards = {"train": {FIRST: 0, SECOND: 0}, "dev": {FRENCH: "7"}}
    for split, shard_of in shards.items():
        (directory / f"YouTubeASL.keypoints.{split}.json").write_text(json.dumps(shard_of))
    wanted_tkc = write_pose(tmp_path / "a.npz", 1.0)
    with np.load(tmp_path / "a.npz") as file:
        xy_tnc = file["keypoints"].astype(np.float16)
    with h5py.File(directory / "YouTubeASL.keypoints.train.0.h5", "w") as file:
        file[f"{FIRST}/{FIRST}.0"] = xy_tnc.reshape(len(xy_tnc), -1)
        file[f"{FIRST}/{FIRST}.1"] = np.zeros((5, 208), np.float16)
        file[f"{FIRST}/two"] = h5py.ExternalLink("/etc/passwd", "x")
    with h5py.File(directory / "YouTubeASL.keypoints.dev.7.h5", "w") as file:
        file[f"{FRENCH}/only"] = np.concatenate([xy_tnc, np.ones((25, WHOLEBODY, 1))], -1)
    clips, report, info = build(
        tmp_path / "out", "youtube_asl", f"--source={annotated}", "--fps=25"
    )
    (clip,), (held_out,) = clips["train"], clips["validation"]
    everywhere_tkc = np.concatenate([wanted_tkc[..., :2], np.ones_like(wanted_tkc[..., 2:])], -1)
    seen_tk1 = wanted_tkc[..., 2:] > 0  # flattened, there are no scores: all points count
    np.testing.assert_allclose(
        clip.modalities["pose"].data * seen_tk1, everywhere_tkc * seen_tk1, atol=5e-3
    )
    np.testing.assert_allclose(
        held_out.modalities["pose"].data * seen_tk1, everywhere_tkc * seen_tk1, atol=5e-3
    )
    assert (
        clip.modalities["pose"].fps == held_out.modalities["pose"].fps == 25
        and clip.text == "First clip."
    )
    assert report.left_out[
        "features of 208 numbers a frame are no keypoints of a known scheme: extract poses and "
        "give --poses"
    ] == [f"{FIRST}.1"]
    assert report.left_out["keypoints of the clip: not in the shard"] == [f"{FIRST}/two"]
    assert info.description["source"]["fps"] == 25


def test_features_of_absurd_size_or_from_elsewhere_are_not_read(tmp_path, annotated):
    directory = annotated / "keypoints"
    directory.mkdir()
    for split, shard_of in {"train": {FIRST: 0}, "dev": {FRENCH: 0}}.items():
        (directory / f"k.{split}.json").write_text(json.dumps(shard_of))
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file[f"{FRENCH}/only"] = np.ones((5, WHOLEBODY, 2))
    with h5py.File(directory / "k.dev.0.h5", "w") as file:
        file[FRENCH] = h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), FRENCH)
    with h5py.File(directory / "k.train.0.h5", "w") as file:
        # Nothing is written: what is missing is zeros.
        file.create_dataset(f"{FIRST}/{FIRST}.0", (10**6, WHOLEBODY, 2), "f4")
        chunked = {"maxshape": (None, None, 3), "chunks": (10**5, 1000, 3)}
        file.create_dataset(f"{FIRST}/{FIRST}.1", (5, WHOLEBODY, 3), "f4", **chunked)
        file[f"{FIRST}/two"] = np.array(["text"], object)
    corpus = slt_features.open_corpus(annotated, youtube_asl.NO_POSES, directory, 25.0, "")
    reasons = {}
    for row in (row for rows in corpus.splits.values() for row in rows):
        with pytest.raises(SignBindError) as raised:
            corpus.read(row)
        reasons[row.id.removeprefix(f"{FIRST}/")] = str(raised.value)
    assert "found 1,064,000,000 bytes, wanted at most" in reasons[f"{FIRST}.0"]
    assert "found 1,200,000,000 bytes, wanted at most" in reasons[f"{FIRST}.1"]
    assert "features of object, wanted numbers" in reasons["two"]
    assert reasons[f"{FRENCH}/only"] == "keypoints of the clip: not in the shard"


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"a.annotation.json": "[]"}, [], 'a.annotation.json: wanted {VIDEO: {"clip_order"'),
        ({"a.annotation.json": "{"}, [], "a.annotation.json: not readable as JSON"),
        ({"keypoints/k.train.json": "{}"}, [], "--fps: found None, wanted the frame rate"),
        ({"keypoints/k.dev.json": "{}"}, ["--fps=25"], "found 0 files *.train.json, wanted one"),
        ({"keypoints/k.train.json": '{"v": "../0"}'}, ["--fps=25"], "wanted {VIDEO: SHARD}"),
        ({LIST: FIRST}, [], "found a list of video ids and annotations, wanted one of them"),
    ],
)
def test_broken_annotations_are_one_line(
    tmp_path, capsys, monkeypatch, annotated, change, options, said
):
    # What is checked before an array is read needs no more of h5py than that it is there.
    monkeypatch.setitem(sys.modules, "h5py", type(sys)("h5py"))
    for name, content in change.items():
        (annotated / name).parent.mkdir(exist_ok=True)
        (annotated / name).write_text(content)
    assert said in error_of(capsys, tmp_path, "youtube_asl", f"--source={annotated}", *options)


def test_a_rate_that_no_camera_has_is_bad_usage(tmp_path, capsys, annotated):
    command = ["data", "build", "youtube_asl", f"--source={annotated}", f"--out={tmp_path / 'd'}"]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--fps=1e300"])
    assert "--fps: found 1e300, wanted a number above 0" in capsys.readouterr().err


def test_without_h5py_one_line_says_how_to_get_it(tmp_path, capsys, monkeypatch, annotated):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (annotated / "keypoints").mkdir()
    error = error_of(capsys, tmp_path, "youtube_asl", f"--source={annotated}", "--fps=25")
    assert "pip install 'signbind-jax[hdf5]'" in error
