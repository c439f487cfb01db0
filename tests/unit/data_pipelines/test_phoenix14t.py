import numpy as np
import pytest

from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines import phoenix14t
from signbind_jax.data_pipelines.corpus import Recording
from tests.corpora import clips_of
from tests.frame_corpora import (
    PHOENIX_HEADER,
    built,
    error_of,
    phoenix,
    phoenix_frames,
    phoenix_line,
    write_pose,
)

FRAMES = "features/fullFrame-210x260px"
MONDAY, TUESDAY, WEDNESDAY = (
    "25October_2010_Monday_tagesschau-22",
    "01April_2010_Thursday_heute-6694",
    "11August_2010_Wednesday_tagesschau-2",
)


@pytest.fixture
def source(tmp_path):
    return tmp_path / "PHOENIX-2014-T-release-v3" / "PHOENIX-2014-T"


def test_the_corpus_is_built_and_read_back(source, tmp_path):
    phoenix(
        source,
        {
            "train": [
                phoenix_line(MONDAY, "ES-BEDEUTET VIEL WOLKE __OFF__", "viele wolken und föhn")
            ],
            "dev": [phoenix_line(TUESDAY, "NULL GRAD", 'null grad " nan', signer="Signer08")],
            "test": [phoenix_line(WEDNESDAY, "", "guten abend")],
        },
    )
    poses = tmp_path / "poses"
    wanted = {}
    for part, name, n in (("train", MONDAY, 6), ("dev", TUESDAY, 7), ("test", WEDNESDAY, 8)):
        phoenix_frames(source / FRAMES / part / name, n)
        wanted[name] = write_pose(poses / f"{name}.npz", n, fps=25)
    clips, report = built(tmp_path / "data", "phoenix14t", f"--source={source}", f"--poses={poses}")
    assert list(clips) == ["train", "validation", "test"]
    for clip in sum(clips.values(), []):
        assert clip.text_language == "de" and clip.signed_language == "gsg"
        assert clip.spelled == clip.phonemes == clip.fusion_targets == ()
        assert clip.modalities["pose"].fps == 25 and "lips" not in clip.modalities
        np.testing.assert_allclose(clip.modalities["pose"].data, wanted[clip.id], atol=2e-3)
    (train,), (validation,), (test,) = clips.values()
    assert train.id == MONDAY and train.signer == "Signer04"
    assert train.text == "viele wolken und föhn"
    assert train.gloss == ("ES-BEDEUTET", "VIEL", "WOLKE", "__OFF__")
    assert validation.signer == "Signer08" and validation.gloss == ("NULL", "GRAD")
    assert validation.text == 'null grad " nan'
    assert test.gloss == () and report.repaired == {"orth: no gloss": 1}
    info = open_dataset(tmp_path / "data")
    assert info.split("test").targets[0]["gloss"] == ()  # never guessed from the text
    assert info.description["source"]["corpus"] == "phoenix14t"


def test_poses_may_lie_in_a_directory_for_each_split(source, tmp_path):
    phoenix(source, {"dev": [phoenix_line(MONDAY, "REGEN", "regen")]})
    for part in ("train", "test"):
        with open(source / f"annotations/manual/PHOENIX-2014-T.{part}.corpus.csv", "a") as file:
            file.write(phoenix_line(part, "REGEN", "regen") + "\n")
    write_pose(tmp_path / "poses" / "dev" / f"{MONDAY}.npz", 4)
    clips, report = clips_of(phoenix14t.open_corpus(source, poses=tmp_path / "poses"))
    assert [clip.id for clip in clips["validation"]] == [MONDAY]
    assert report.left_out == {
        "no pose file: extract it first (signbind extract)": ["train", "test"]
    }


def test_recordings_are_the_frames_or_the_directory_1_below(source, tmp_path):
    lines = {part: [phoenix_line(f"{part}_a", "A", "a")] for part in ("train", "dev", "test")}
    phoenix(source, lines)
    phoenix_frames(source / FRAMES / "train" / "train_a", 3)
    phoenix_frames(source / FRAMES / "dev" / "dev_a" / "1", 3)
    phoenix_frames(tmp_path / "elsewhere", 3)
    (source / FRAMES / "test").mkdir()
    (source / FRAMES / "test" / "test_a").symlink_to(tmp_path / "elsewhere")
    corpus = phoenix14t.open_corpus(source)
    found = [corpus.recording(row) for rows in corpus.splits.values() for row in rows]
    assert found == [
        Recording(source / FRAMES / "train" / "train_a", fps=25.0),
        Recording(source / FRAMES / "dev" / "dev_a" / "1", fps=25.0),
        None,
    ]
    assert corpus.published == {"train": 7096, "validation": 519, "test": 642}


def test_a_pose_of_another_length_than_the_frames_is_counted(source, tmp_path):
    phoenix(source, {part: [phoenix_line(part, "A", "a")] for part in ("train", "dev", "test")})
    phoenix_frames(source / FRAMES / "train" / "train", 9)
    for part in ("train", "dev", "test"):
        write_pose(tmp_path / "poses" / f"{part}.npz", 8)
    _, report = clips_of(phoenix14t.open_corpus(source, poses=tmp_path / "poses"))
    assert report.repaired == {
        "pose: another number of frames than the recording": 1,
        "frames: not in the corpus directory, not counted": 2,
    }


def test_a_row_that_cannot_be_used_is_left_out_with_its_reason(source, tmp_path):
    phoenix(
        source,
        {
            "train": [
                phoenix_line("good", "A", "a"),
                phoenix_line("twice", "A", "a"),
                phoenix_line("../good", "A", "a"),
                phoenix_line("silent", "A", " "),
                "cut|cut/1/*.png|3|40|Signer01|A|a",
                "pipe|pipe/1/*.png|-1|-1|Signer01|A|a|b",
                "|x|-1|-1|Signer01|A|a",
                "short|short/1",
            ],
            "dev": [phoenix_line("twice", "A", "a")],
            "test": [phoenix_line("nopose", "A", "a")],
        },
    )
    for name in ("good", "twice", "silent", "cut", "pipe"):
        write_pose(tmp_path / "poses" / f"{name}.npz", 8)
    clips, report = clips_of(phoenix14t.open_corpus(source, poses=tmp_path / "poses"))
    assert {split: [clip.id for clip in clips[split]] for split in clips} == {
        "train": ["good"],
        "validation": [],
        "test": [],
    }
    assert report.left_out == {
        "name: name that leaves the corpus directory": ["../good"],
        "start and end: found '3' and '40', wanted -1: all of its frames": ["cut"],
        "found 8 fields, wanted 7": ["pipe"],
        "name: found no name": ["PHOENIX-2014-T.train.corpus.csv line 8"],
        "found 2 fields, wanted 7": ["short"],
        "several rows of that name": ["twice", "twice"],
        "empty translation": ["silent"],
        "no pose file: extract it first (signbind extract)": ["nopose"],
    }


@pytest.mark.parametrize("where", ["..", "../..", "annotations/manual"])
def test_a_directory_on_the_wrong_level_is_told_the_right_one(source, tmp_path, capsys, where):
    phoenix(source, {})
    said = error_of(capsys, "phoenix14t", f"--source={source / where}", f"--out={tmp_path}/x")
    assert "found no annotations/manual/PHOENIX-2014-T.train.corpus.csv in it" in said
    assert said.endswith("release-v3/PHOENIX-2014-T")


def test_a_missing_or_changed_table_is_told_in_one_line(source, tmp_path, capsys):
    arguments = ("phoenix14t", f"--source={source}", f"--out={tmp_path}/x")
    lines = {part: [phoenix_line(part, "A", "a")] for part in ("train", "dev", "test")}
    phoenix(source, lines, header=PHOENIX_HEADER.replace("orth", "gloss"))
    assert "train.corpus.csv: column 'orth': missing" in error_of(capsys, *arguments)
    phoenix(source, lines, header=PHOENIX_HEADER.replace("|", ","))
    assert "column 'name': missing" in error_of(capsys, *arguments)
    phoenix(source, {"train": lines["train"]})
    assert "dev.corpus.csv: found no rows below the header" in error_of(capsys, *arguments)
    (source / "annotations/manual/PHOENIX-2014-T.test.corpus.csv").unlink()
    said = error_of(capsys, *arguments)
    assert "test.corpus.csv: no such file, wanted it with annotations/manual/PHOENIX" in said


def test_line_ends_and_a_byte_order_mark_do_not_matter(source):
    lines = {part: [phoenix_line(part, "A B", "a")] for part in ("train", "dev", "test")}
    phoenix(source, lines)
    path = source / "annotations/manual/PHOENIX-2014-T.train.corpus.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    (row,) = phoenix14t.open_corpus(source).splits["train"]
    assert row.id == "train" and row.gloss == ("A", "B") and row.text == "a"
