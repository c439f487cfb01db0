import gzip
import pickle

import numpy as np
import pytest

from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines import csl_daily
from signbind_jax.data_pipelines.corpus import Recording
from tests.corpora import clips_of
from tests.frame_corpora import built, csl, csl_entry, error_of, write_frames, write_pose

FRAMES = "sentence/frames_512x512"
ONE, TWO, THREE = "S000007_P0003_T00", "S000048_P0000_T00", "S005870_P0006_T00"


class Trap:
    """Runs when an ordinary reader loads it."""

    def __reduce__(self):
        return print, ("the trap ran",)


@pytest.fixture
def source(tmp_path):
    return tmp_path / "CSL-Daily"


def write_csl_frames(source, name: str, n_frames: int) -> None:
    write_frames(source / FRAMES / name, [f"{i:06d}.jpg" for i in range(n_frames)])


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_corpus_is_built_and_read_back(source, tmp_path, protocol):
    csl(
        source,
        [
            csl_entry(ONE, "你 小 张 什么 时间 认识", "你和小张什么时候认识的？", 6, signer=3),
            csl_entry(TWO, "今天 天气 好", "今天天气很好。", 7, signer=np.int64(0)),
            csl_entry(THREE, "", "谢谢。", 8),
        ],
        f"name|split\n{THREE}|test\n{TWO}|dev\n{ONE}|train\n",
        protocol,
    )
    wanted = {}
    for name, n in ((ONE, 6), (TWO, 7), (THREE, 8)):
        write_csl_frames(source, name, n)
        wanted[name] = write_pose(tmp_path / "poses" / f"{name}.npz", n)
    clips, report = built(
        tmp_path / "data", "csl_daily", f"--source={source}", f"--poses={tmp_path}/poses"
    )
    assert list(clips) == ["train", "validation", "test"]
    for clip in sum(clips.values(), []):
        assert clip.text_language == "zh" and clip.signed_language == "csl"
        assert clip.spelled == clip.phonemes == clip.fusion_targets == ()
        assert clip.modalities["pose"].fps == 30 and "lips" not in clip.modalities
        np.testing.assert_allclose(clip.modalities["pose"].data, wanted[clip.id], atol=2e-3)
    (train,), (validation,), (test,) = clips.values()
    assert train.id == ONE and train.signer == "3"
    assert train.text == "你和小张什么时候认识的？"
    assert train.gloss == ("你", "小", "张", "什么", "时间", "认识")
    assert validation.text == "今天天气很好。" and validation.signer == "0"
    assert test.gloss == () and report.repaired == {"label_gloss: no gloss": 1}
    info = open_dataset(tmp_path / "data")
    assert info.split("test").targets[0]["gloss"] == ()  # never guessed from the text
    assert info.description["source"]["corpus"] == "csl_daily"


def test_labels_and_splits_that_do_not_match_are_left_out(source, tmp_path):
    info = [csl_entry(name, "好", "好") for name in (ONE, TWO, THREE, "twice", "twice", "moved")]
    info += [
        csl_entry("../up", "好", "好"),
        csl_entry("silent", "好", ""),
        {"name": "nogloss", "length": 12, "label_char": ["好"]},
        {**csl_entry("odd", "好", "好"), "label_char": [1, 2]},
        {**csl_entry("length", "好", "好"), "length": "many", "signer": None},
        {"length": 3},
        "not an entry",
        csl_entry("half\ud800", "好", "好"),
        csl_entry("half", "好\udfff", "好"),
    ]
    names = (ONE, "twice", "silent", "nogloss", "odd", "length", "S000005_P0004_T00")
    splits = "".join(f"{name}|train\n" for name in names)
    splits += f"{TWO}|valid\r\nmoved|train\r\nmoved|test\r\n{ONE}|train\n|\n"
    csl(source, info, splits)
    for name in (ONE, TWO, THREE, "twice", "moved", "silent", "length"):
        write_pose(tmp_path / "poses" / f"{name}.npz", 12)
    clips, report = clips_of(csl_daily.open_corpus(source, poses=tmp_path / "poses"))
    assert [clip.id for clip in clips["train"]] == [ONE, "length"]
    assert clips["train"][1].signer == ""
    assert report.left_out == {
        "name: name that leaves the corpus directory": ["../up"],
        "label_gloss: found NoneType, wanted a list of text": ["nogloss"],
        "label_char: found list, wanted a list of text": ["odd"],
        "label_gloss: found list, wanted a list of text": ["half"],
        "name: found no name": ["info 11", "info 12"],
        "name: name with unprintable characters, or too long": ["info 13"],
        "several rows of that name": ["twice", "twice"],
        "split_1.txt: found split 'valid', wanted one of train, dev, test": [TWO],
        "split_1.txt: found split '', wanted one of train, dev, test": ["line 12"],
        "in two splits of split_1.txt": ["moved"],
        "no label in csl2020ct_v2.pkl": ["S000005_P0004_T00"],
        "no split in split_1.txt": [THREE],
        "empty label_char": ["silent"],
    }
    assert report.repaired["length: no number of frames"] == 1


def test_frames_are_compared_with_the_stated_length(source, tmp_path):
    csl(
        source,
        [csl_entry(ONE, "好", "好", 5), csl_entry(TWO, "好", "好", 5)],
        f"{ONE}|train\n{TWO}|train\n",
    )
    write_csl_frames(source, ONE, 4)
    write_frames(tmp_path / "elsewhere", ["000000.jpg"])
    (source / FRAMES / TWO).symlink_to(tmp_path / "elsewhere")
    for name in (ONE, TWO):
        write_pose(tmp_path / "poses" / f"{name}.npz", 4)
    corpus = csl_daily.open_corpus(source, poses=tmp_path / "poses")
    _, report = clips_of(corpus)
    assert report.repaired == {
        "frames: another number on disk than annotated": 1,
        "frames: not in the corpus directory, not counted": 1,
        "pose: another number of frames than the recording": 1,
    }
    recordings = [corpus.recording(row) for row in corpus.splits["train"]]
    assert recordings == [Recording(source / FRAMES / ONE, fps=30.0), None]
    assert corpus.published == {"train": 18401, "validation": 1077, "test": 1176}


def test_gzipped_labels_with_arrays_are_read(source):
    entry = {**csl_entry(ONE, "好", "好"), "label_gloss": np.array(["你", "好"])}
    csl(source, [entry], f"{ONE}|dev\n")
    path = source / "sentence_label" / "csl2020ct_v2.pkl"
    path.write_bytes(gzip.compress(path.read_bytes()))
    (row,) = csl_daily.open_corpus(source).splits["validation"]
    assert row.gloss == ("你", "好") and row.text == "好" and row.n_frames == 12


def test_labels_that_would_run_something_are_refused(source, tmp_path, capsys):
    csl(source, [{**csl_entry(ONE, "好", "好"), "signer": Trap()}], f"{ONE}|train\n")
    said = error_of(capsys, "csl_daily", f"--source={source}", f"--out={tmp_path}/x")
    assert "csl2020ct_v2.pkl" in said and "print" in said and "trap ran" not in said


def test_odd_signers_and_names_neither_end_a_build_nor_reach_a_terminal(source):
    entries = [csl_entry(name, "好", "好", signer=[1]) for name in (ONE, TWO)]
    csl(source, entries, f"{ONE}|train\n{TWO}|train\n{TWO}|dev\nS\x1b[31m|dev\n")
    corpus = csl_daily.open_corpus(source)
    (row,) = corpus.splits["train"]
    assert row.signer == ""
    assert corpus.left_out["no label in csl2020ct_v2.pkl"] == ["'S\\x1b[31m'"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (pickle.dumps({"info": [csl_entry(ONE, "好", "好")]})[:-40], "csl2020ct_v2.pkl"),
        (pickle.dumps([1, 2]), "info: found list without such a list"),
        (pickle.dumps({"info": {}}), "info: found dict without such a list"),
        (pickle.dumps({"info": []}), "found no clip that can be used"),
        (b"", "csl2020ct_v2.pkl"),
    ],
)
def test_broken_labels_are_told_in_one_line(source, tmp_path, capsys, labels, said):
    csl(source, [], f"{ONE}|train\n")
    (source / "sentence_label" / "csl2020ct_v2.pkl").write_bytes(labels)
    assert said in error_of(capsys, "csl_daily", f"--source={source}", f"--out={tmp_path}/x")


def test_broken_splits_are_told_in_one_line(source, tmp_path, capsys):
    arguments = ("csl_daily", f"--source={source}", f"--out={tmp_path}/x")
    csl(source, [csl_entry(ONE, "好", "好")], "name|split\n")
    assert "split_1.txt: found no line 'name|split'" in error_of(capsys, *arguments)
    (source / "sentence_label" / "split_1.txt").write_bytes(b"\xff\xfe")
    assert "split_1.txt: byte 0 is not UTF-8" in error_of(capsys, *arguments)
    (source / "sentence_label" / "split_1.txt").unlink()
    assert "split_1.txt: no such file, wanted it with" in error_of(capsys, *arguments)


@pytest.mark.parametrize("where", ["..", "sentence_label", FRAMES])
def test_a_directory_on_the_wrong_level_is_told_the_right_one(source, tmp_path, capsys, where):
    csl(source, [csl_entry(ONE, "好", "好")], f"{ONE}|train\n")
    (source / FRAMES).mkdir(parents=True)
    said = error_of(capsys, "csl_daily", f"--source={source / where}", f"--out={tmp_path}/x")
    assert "found no sentence_label/csl2020ct_v2.pkl in it: the corpus seems to be in" in said
    assert said.endswith("CSL-Daily")
