import argparse
import csv
import os
import pickle

import numpy as np
import pytest

from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines import chicago_fswild
from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.readers.options import frames_a_second
from signbind_jax.errors import SignBindError
from tests.corpora import clips_of
from tests.frame_corpora import (
    CHICAGO_COLUMNS,
    built,
    chicago_boxes,
    chicago_csv,
    chicago_frames,
    error_of,
    write_pose,
)


@pytest.fixture
def source(tmp_path):
    return tmp_path / "ChicagoFSWild"


def listed(source, *rows, **format):
    chicago_csv(source / "ChicagoFSWild.csv", rows, **format)


def left_out_of(source, **options) -> dict[str, str]:
    """Clip -> why it is left out."""
    _, report = clips_of(chicago_fswild.open_corpus(source, **options))
    return {name: reason for reason, names in report.left_out.items() for name in names}


def test_the_corpus_is_built_and_read_back(source, tmp_path):
    listed(
        source,
        {
            "filename": "aslized/tim_riker_0322",
            "label_proc": "john's a.s.l. @ at&t",
            "label_notes": 'he said "hi", twice',
            "number_of_frames": 14,
            "signer": "tim_riker",
        },
        {
            "filename": "deafvideo_2/tar2006_1443",
            "label_proc": "nan",
            "partition": "dev",
            "signer": "null",
        },
        {"filename": "youtube_1/joel_(youtube)_0001", "label_proc": "null", "partition": "test"},
    )
    poses = tmp_path / "poses"
    wanted = {}
    for name, n in (
        ("aslized/tim_riker_0322", 14),
        ("deafvideo_2/tar2006_1443", 12),
        ("youtube_1/joel_(youtube)_0001", 12),
    ):
        chicago_frames(source / "ChicagoFSWild-Frames", name, n)
        wanted[name] = write_pose(poses / f"{name}.npz", n, fps=29.97)
    clips, report = built(
        tmp_path / "data", "chicago_fswild", f"--source={source}", f"--poses={poses}"
    )
    assert list(clips) == ["train", "validation", "test"]
    for clip in sum(clips.values(), []):
        assert clip.text_language == "en" and clip.signed_language == "ase"
        assert clip.gloss == clip.phonemes == clip.fusion_targets == clip.contrasts == ()
        assert clip.modalities["pose"].fps == 29.97 and "lips" not in clip.modalities
        np.testing.assert_allclose(clip.modalities["pose"].data, wanted[clip.id], atol=2e-3)
    (train,), (validation,), (test,) = clips.values()
    assert train.id == "aslized/tim_riker_0322" and train.signer == "tim_riker"
    assert train.text == "john's a.s.l. @ at&t"
    assert train.spelled == ("john's", "a.s.l.", "@", "at&t")
    assert validation.text == "nan" and validation.spelled == ("nan",)
    assert validation.signer == "null" and test.text == "null" and test.spelled == ("null",)
    assert not report.repaired and not report.left_out
    source_record = open_dataset(tmp_path / "data").description["source"]
    assert source_record["corpus"] == "chicago_fswild" and not source_record["synthetic"]
    assert "SLT 2018" in source_record["citation"]


def test_a_spelled_word_is_target_of_letters_alone(source, tmp_path):
    listed(source, {"filename": "a/james", "label_proc": "james be"})
    write_pose(tmp_path / "poses" / "a" / "james.npz", 12)
    built(tmp_path / "data", "chicago_fswild", f"--source={source}", f"--poses={tmp_path}/poses")
    (targets,) = open_dataset(tmp_path / "data").split("train").targets
    assert targets == {
        "gloss": (),
        "letters": tuple("james be"),
        "phonemes": (),
        "fusion_targets": ("fs-", *"james", "fs-", *"be"),
    }


def test_plus_is_a_corpus_of_its_own_with_its_frames_one_level_deeper(tmp_path, capsys):
    source = tmp_path / "ChicagoFSWildPlus"
    name = "Batch9/TEDxIslay-Wayne_Betts_Jr_1_0_0"
    columns = [column for column in CHICAGO_COLUMNS if column]  # no index
    chicago_csv(
        source / "ChicagoFSWildPlus.csv",
        [{"filename": name, "label_proc": " all", "partition": "test"}],
        columns,
    )
    chicago_frames(source / "ChicagoFSWildPlus", name, 12)
    write_pose(tmp_path / "poses" / f"{name}.npz", 12)
    clips, report = built(
        tmp_path / "data", "chicago_fswild_plus", f"--source={source}", f"--poses={tmp_path}/poses"
    )
    (clip,) = clips["test"]
    assert clip.id == name and clip.text == "all" and clip.spelled == ("all",)
    assert report.repaired == {"label: spaces at its ends or in a row, taken out": 1}
    said = error_of(capsys, "chicago_fswild", f"--source={source}", f"--out={tmp_path}/x")
    assert "found ChicagoFSWildPlus.csv, wanted ChicagoFSWild.csv" in said
    assert "build the corpus chicago_fswild_plus" in said


def test_each_corpus_knows_the_size_of_its_own_test_set(tmp_path):
    for corpus, n in (("chicago_fswild", 868), ("chicago_fswild_plus", 1715)):
        source = tmp_path / corpus
        chicago_csv(source / f"{chicago_fswild.RELEASES[corpus]}.csv", [{"filename": "a"}])
        assert chicago_fswild.open_corpus(source, corpus).published == {"test": n}


def test_labels_are_checked_against_the_alphabet(source, tmp_path):
    labels = {"a": "b2b 4u2", "b": "42", "c": "  ", "d": "Zoë"}
    listed(source, *({"filename": name, "label_proc": label} for name, label in labels.items()))
    for name in labels:
        write_pose(tmp_path / "poses" / f"{name}.npz", 12)
    clips, report = clips_of(chicago_fswild.open_corpus(source, poses=tmp_path / "poses"))
    assert {clip.id: clip.spelled for clip in clips["train"]} == {
        "a": ("b2b", "4u2"),
        "d": ("zoë",),
    }
    assert report.repaired["label: '2' is not in the alphabet, no letter"] == 2
    assert report.repaired["label: '4' is not in the alphabet, no letter"] == 1
    assert report.left_out == {
        "label_proc: found '42', wanted letters of the alphabet": ["b"],
        "empty label_proc": ["c"],
    }


def test_a_row_that_cannot_be_used_is_left_out_with_its_reason(source, tmp_path):
    listed(
        source,
        {"filename": "good", "label_proc": "asl"},
        {"filename": "twice", "label_proc": "one"},
        {"filename": "twice", "label_proc": "two", "partition": "test"},
        {"filename": "../../good", "label_proc": "asl"},
        {"filename": "/etc/good", "label_proc": "asl"},
        {"filename": "", "label_proc": "asl"},
        {"filename": "a\nb", "label_proc": "asl"},
        {"filename": "long" * 1000, "label_proc": "asl"},
        {"filename": "part", "label_proc": "asl", "partition": "Training"},
        {"filename": "count", "label_proc": "asl", "number_of_frames": "1e3"},
        {"filename": "zero", "label_proc": "asl", "number_of_frames": 0},
        {"filename": "huge", "label_proc": "asl", "number_of_frames": "9" * 5000},
        {"filename": "nopose", "label_proc": "asl"},
        {"filename": "torn", "label_proc": "asl"},
    )
    with open(source / "ChicagoFSWild.csv", "a") as file:
        file.write("12,cut,https://exa")
    poses = tmp_path / "poses"
    for name in ("good", "twice", "part", "count"):
        write_pose(poses / f"{name}.npz", 12)
    (poses / "torn.npz").write_bytes((poses / "good.npz").read_bytes()[:300])
    clips, _ = clips_of(chicago_fswild.open_corpus(source, poses=poses))
    assert {split: [clip.id for clip in clips[split]] for split in clips} == {
        "train": ["good"],
        "validation": [],
        "test": [],
    }
    reasons = left_out_of(source, poses=poses)
    assert reasons["twice"] == "several rows of that name"
    assert reasons["../../good"] == reasons["/etc/good"]
    assert reasons["/etc/good"] == "filename: name that leaves the corpus directory"
    assert reasons["line 7"] == "filename: found no name"
    assert reasons["line 9"] == reasons["line 10"]
    assert reasons["line 9"] == "filename: name with unprintable characters, or too long"
    assert reasons["part"] == "partition: found 'Training', wanted one of train, dev, test"
    assert "number_of_frames: found '1e3', wanted a whole number" in reasons["count"]
    assert "wanted a whole number" in reasons["zero"] and "wanted" in reasons["huge"]
    assert reasons["cut"] == "found 3 fields, wanted 12"
    assert reasons["nopose"] == "no pose file: extract it first (signbind extract)"
    assert "cannot be read as .npz" in reasons["torn"]


def test_without_poses_every_clip_says_what_to_run(source, tmp_path, capsys):
    listed(source, {"filename": "a", "label_proc": "asl"})
    said = error_of(capsys, "chicago_fswild", f"--source={source}", f"--out={tmp_path}/data")
    assert "no clip to write" in said
    assert "run signbind extract and give what it wrote as --poses=DIR: 1 (a)" in said


def test_frames_and_pose_are_compared_with_the_csv(source, tmp_path):
    names = ("even", "short", "pose", "none", "linked")
    listed(source, *({"filename": name, "label_proc": "asl"} for name in names))
    frames, poses = source / "ChicagoFSWild-Frames", tmp_path / "poses"
    for name, n_frames, n_pose in (
        ("even", 12, 12),
        ("short", 9, 9),
        ("pose", 12, 11),
        ("none", 0, 12),
    ):
        write_pose(poses / f"{name}.npz", n_pose)
        if n_frames:
            chicago_frames(frames, name, n_frames)
    (frames / "even" / "Thumbs.db").write_bytes(b"")
    (frames / "even" / "._0001.jpg").write_bytes(b"")
    chicago_frames(tmp_path / "elsewhere", "linked", 12)
    (frames / "linked").symlink_to(tmp_path / "elsewhere" / "linked")
    write_pose(poses / "linked.npz", 12)
    corpus = chicago_fswild.open_corpus(source, poses=poses, fps=24.0)
    clips, report = clips_of(corpus)
    assert len(clips["train"]) == 5
    assert report.repaired == {
        "frames: another number on disk than annotated": 1,
        "pose: another number of frames than the recording": 1,
        "frames: not in the corpus directory, not counted": 2,
    }
    recordings = {row.id: corpus.recording(row) for row in corpus.splits["train"]}
    assert recordings["short"] == Recording(frames / "short", fps=24.0)
    assert recordings["none"] is None and recordings["linked"] is None


@pytest.mark.parametrize("place", ["ChicagoFSWild-Frames", "frames", ".", "ChicagoFSWild"])
def test_frames_are_found_where_the_archive_may_have_put_them(source, place):
    listed(
        source,
        {"filename": "a/unpacked_not", "label_proc": "i"},
        {"filename": "a/b", "label_proc": "i"},
    )
    chicago_frames(source / place, "a/b", 2)
    corpus = chicago_fswild.open_corpus(source)
    row = corpus.splits["train"][1]
    assert corpus.recording(row) == Recording((source / place / "a/b").resolve(), fps=29.97)


def test_frames_may_lie_on_another_disk(source, tmp_path):
    listed(source, {"filename": "a/b", "label_proc": "i"})
    chicago_frames(tmp_path / "disk", "a/b", 2)
    corpus = chicago_fswild.open_corpus(source, frames=tmp_path / "disk")
    assert corpus.recording(corpus.splits["train"][0]).path == tmp_path / "disk" / "a" / "b"


def test_boxes_tell_where_the_pose_lost_the_signing_hand(source, tmp_path):
    listed(
        source,
        {"filename": "a", "label_proc": "asl", "number_of_frames": 5},
        {"filename": "unboxed", "label_proc": "asl", "number_of_frames": 5},
    )
    boxes = source / "BBox"
    chicago_boxes(
        boxes,
        "a",
        {
            1: "10,10,50,50,1\n60,10,90,50,2\n",  # both hands
            2: "10,10,50,50,1\n",
            3: "60,10,90,50,2\n",  # the other hand alone
            4: "10,10,50,50,1\n60,10,9",  # cut short
            5: "",
            6: "10,10,50,50,1\n",  # the pose has five frames
        },
    )
    (boxes / "a" / "README.txt").write_text("boxes")
    (boxes / "a" / "0007.txt").write_bytes(b"\xff\xfe")
    os.mkfifo(boxes / "a" / "0008.txt")
    (boxes / "a" / "0009.txt").write_text("\u0661,\u0661,50,50,1\n")
    for name in ("a", "unboxed"):
        write_pose(tmp_path / "poses" / f"{name}.npz", 5, without_hands=(1, 2))
    _, report = built(
        tmp_path / "data",
        "chicago_fswild",
        f"--source={source}",
        f"--poses={tmp_path}/poses",
        f"--boxes={boxes}",
    )
    assert report.repaired == {
        "frames: not in the corpus directory, not counted": 2,
        "boxes: frames with the signing hand boxed": 3,
        "boxes: signing hand boxed, no hand in the pose": 1,
        "boxes: files with a line that is no box": 4,
        "boxes: frames that the pose does not have": 1,
    }


def test_rows_and_their_reader_travel_to_other_processes(source, tmp_path):
    listed(source, {"filename": "a", "label_proc": "asl"})
    write_pose(tmp_path / "poses" / "a.npz", 12)
    corpus = chicago_fswild.open_corpus(source, poses=tmp_path / "poses")
    row, read, recording = pickle.loads(
        pickle.dumps((corpus.splits["train"][0], corpus.read, corpus.recording))
    )
    assert read(row).clip.text == "asl" and recording(row) is None


@pytest.mark.parametrize("where", ["..", "BBox"])
def test_a_directory_on_the_wrong_level_is_told_the_right_one(source, tmp_path, capsys, where):
    listed(source, {"filename": "a", "label_proc": "asl"})
    (source / "BBox").mkdir()
    said = error_of(capsys, "chicago_fswild", f"--source={source / where}", f"--out={tmp_path}/x")
    assert "found no ChicagoFSWild.csv in it: the corpus seems to be in" in said
    assert said.endswith("ChicagoFSWild")


def test_a_directory_without_the_corpus_is_told(tmp_path, capsys):
    said = error_of(capsys, "chicago_fswild", f"--source={tmp_path}", f"--out={tmp_path}/x")
    assert f"{tmp_path}: found no ChicagoFSWild.csv in it: give the corpus directory" in said
    said = error_of(capsys, "chicago_fswild", f"--source={tmp_path}/no", f"--out={tmp_path}/x")
    assert "found no such directory" in said


@pytest.mark.parametrize("option", ["poses", "frames", "boxes"])
def test_an_option_that_names_no_directory_is_told(source, tmp_path, option):
    listed(source, {"filename": "a", "label_proc": "asl"})
    with pytest.raises(SignBindError, match=f"--{option}: .*no: found no such directory"):
        chicago_fswild.open_corpus(source, **{option: tmp_path / "no"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ChicagoFSWild.csv: empty, wanted a header row"),
        (b"filename,number_of_frames,label,partition,signer\n", "column 'label_proc': missing"),
        (
            b"filename,number_of_frames,label_proc,label_proc,partition,signer\n",
            "column 'label_proc': found twice",
        ),
        (b"filename,number_of_frames,label_proc,partition,signer\n", "no rows below the header"),
        (
            b"filename,number_of_frames,label_proc,partition,signer\na,1,\xe9,train,b\n",
            "is not UTF-8",
        ),
        (
            b'filename,number_of_frames,label_proc,partition,signer\na,1,"asl,train,b\n',
            "ChicagoFSWild.csv:2: quotes: unexpected end of data",
        ),
        (
            b'filename,number_of_frames,label_proc,partition,signer\na,1,asl,train,"'
            + b"x" * 200_000,
            "field larger than field limit",
        ),
    ],
)
def test_a_broken_csv_is_told_in_one_line(source, tmp_path, capsys, content, said):
    source.mkdir()
    (source / "ChicagoFSWild.csv").write_bytes(content)
    assert said in error_of(capsys, "chicago_fswild", f"--source={source}", f"--out={tmp_path}/x")


def test_an_odd_but_honest_csv_is_read(source):
    listed(
        source,
        {"filename": "a", "label_proc": "o'neil", "label_notes": 'two\nlines, "q"'},
        {"filename": "b", "label_proc": "asl"},
        quoting=csv.QUOTE_ALL,
    )
    path = source / "ChicagoFSWild.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    rows = chicago_fswild.open_corpus(source).splits["train"]
    assert [(row.id, row.label) for row in rows] == [("a", "o'neil"), ("b", "asl")]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300"])
def test_a_frame_rate_is_a_number_above_zero(text):
    assert frames_a_second("23.976") == 23.976
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        frames_a_second(text)
