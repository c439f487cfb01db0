import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signbind_jax.data.lips import decode_mosaic
from signbind_jax.data_pipelines import corpus, folder
from signbind_jax.errors import SignBindError
from tests.corpora import clips_of

HEADER = "id split text text_language signed_language signer pose lips video gloss spelled"


def write_pose(path: Path, n_frames: int, fps: float = 25.0) -> None:
    points = np.random.default_rng(0).uniform(0, 500, (n_frames, 133, 2))
    np.savez(path, keypoints=points, scores=np.ones((n_frames, 133)), fps=fps)


def write_crops(directory: Path, n_frames: int) -> None:
    directory.mkdir()
    for i in range(n_frames):
        Image.new("L", (32, 32), i).save(directory / f"{i}.png")


def write_manifest(source: Path, *rows: str, header: str = HEADER) -> None:
    """Rows whose fields are separated by "|"; the header's by spaces."""
    lines = [header.replace(" ", "\t"), *(row.replace("|", "\t") for row in rows)]
    (source / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def source(tmp_path) -> Path:
    source = tmp_path / "corpus"
    source.mkdir()
    write_pose(source / "a.npz", 20)
    write_crops(source / "mouth", 20)
    (source / "a.mp4").write_bytes(b"")
    return source


def read(source: Path, strict: bool = False, **options):
    return clips_of(folder.open_corpus(source, **options), strict)


def test_a_row_becomes_a_clip(source):
    write_manifest(
        source,
        'c1|train|Anna said "hi".|en|ase|kim|a.npz|mouth||ICH1* $GEST^|Anna Li',
        "c2|dev|Two.||||a.npz",
    )
    clips, report = read(source)
    assert list(clips) == ["train", "dev"]
    (clip,) = clips["train"]
    assert clip.text == 'Anna said "hi".' and clip.signer == "kim"
    assert clip.gloss == ("ICH1*", "$GEST^") and clip.spelled == ("anna", "li")
    assert clip.n_frames("pose") == clip.n_frames("lips") == 20
    assert clip.modalities["pose"].fps == clip.modalities["lips"].fps == 25
    crops = decode_mosaic(clip.modalities["lips"].data, 20)
    assert crops.shape == (20, 96, 96) and abs(int(crops[19].mean()) - 19) <= 2
    (other,) = clips["dev"]
    assert "lips" not in other.modalities and other.gloss == ()
    assert not report.left_out and not report.repaired


@pytest.mark.parametrize("column", ["fusion_targets", "senses"])
def test_labels_of_phonemes_and_fusion_targets_may_be_given(source, column):
    header = f"id split text pose phonemes {column}"
    write_manifest(source, "c|train|Hi.|a.npz|HH AY|hi fs-anna", header=header)
    (clip,) = read(source)[0]["train"]
    assert clip.phonemes == ("HH", "AY") and clip.fusion_targets == ("hi", "fs-anna")


def test_crops_without_a_pose_run_at_25_frames_a_second(source):
    write_manifest(source, "c|train|Hi.|mouth", header="id split text lips")
    clips, _ = read(source, lip_size=48)
    ((modality, lips),) = clips["train"][0].modalities.items()
    assert modality == "lips" and lips.fps == 25
    assert decode_mosaic(lips.data, 20).shape == (20, 48, 48)


def test_a_clip_that_cannot_be_used_is_left_out_with_its_reason(source):
    write_crops(source / "long", 22)
    write_pose(source / "none.npz", 0)
    (source / "torn.npz").write_bytes((source / "a.npz").read_bytes()[:500])
    (source / "empty").mkdir()
    write_manifest(
        source,
        "good|train|One.||||a.npz",
        "silent|train| ||||a.npz",
        "drift|train|Two.||||a.npz|long",
        "zero|train|Three.||||none.npz",
        "torn|train|Four.||||torn.npz",
        "nomouth|train|Five.|||||empty",
        "raw|train|Six.||||||a.mp4",
    )
    clips, report = read(source)
    assert [clip.id for clip in clips["train"]] == ["good"]
    reasons = {ids[0]: reason for reason, ids in report.left_out.items()}
    assert reasons["silent"] == "empty text"
    assert "0.80 s" in reasons["drift"] and "0.88 s" in reasons["drift"]
    assert "pose: found 0 frames" in reasons["zero"]
    assert "cannot be read as .npz" in reasons["torn"]
    assert "0 frames" in reasons["nomouth"]
    assert "extract" in reasons["raw"]


def test_crops_beside_the_landmarks_are_read_where_the_row_names_no_others(source):
    with np.load(source / "a.npz") as archive:
        fields = dict(archive)
    np.savez(source / "a.npz", **fields, lips=np.full((20, 40, 40), 200, np.uint8))
    write_manifest(source, "beside|train|Hi.||||a.npz", "own|train|Hi.||||a.npz|mouth")
    beside, own = read(source)[0]["train"]
    beside, own = beside.modalities["lips"], own.modalities["lips"]
    assert beside.n == own.n == 20 and beside.fps == 25
    assert decode_mosaic(beside.data, 20).mean() > 190 > 50 > decode_mosaic(own.data, 20).mean()


def test_a_file_named_by_its_video_is_told(source, tmp_path):
    poses = tmp_path / "poses"
    poses.mkdir()
    write_pose(poses / "a.npz", 20)
    write_pose(poses / "clip_7.npz", 20)
    header = "id split text video"
    rows = ("day/1|train|Hi.|a.mp4", "clip_8|train|Hi.|b.mp4")
    (source / "b.mp4").write_bytes(b"")
    write_manifest(source, *rows, header=header)
    _, report = read(source, poses=poses)
    assert report.left_out == {
        "no pose file of this id, and the one named by the video is not known to be of it: "
        "extract with --list, which gives clips their ids (signbind data clips)": ["day/1"],
        "no pose file: extract it first (signbind extract)": ["clip_8"],
    }
    for row, said in zip(
        rows,
        (
            r"poses/day/1.npz or .pose .nearest are a.: no pose file of this",
            r"clip_8.npz or .pose .nearest are clip_7, a.: no pose",
        ),
        strict=True,
    ):
        write_manifest(source, row, header=header)
        with pytest.raises(SignBindError, match=said):
            read(source, strict=True, poses=poses)


def test_what_was_extracted_under_the_video_s_name_is_found(source, tmp_path):
    poses = tmp_path / "poses"
    poses.mkdir()
    for name, n_bytes in (("talk", 4), ("walk", 5)):
        (source / f"{name}.mp4").write_bytes(b"mpeg")
        write_pose(poses / f"{name}.npz", 20)
        with np.load(poses / f"{name}.npz") as archive:
            fields = dict(archive)
        about = {"frames": 20, "found": {}, "video": f"{name}.mp4", "video_bytes": n_bytes}
        np.savez(poses / f"{name}.npz", **fields, about=json.dumps(about))
    rows = ("s1_talk|train|Hi.|talk.mp4", "s1_walk|train|Hi.|walk.mp4")
    write_manifest(source, *rows, header="id split text video")
    clips, report = read(source, poses=poses)
    assert [clip.id for clip in clips["train"]] == ["s1_talk"]
    (reason,) = report.left_out  # a file of another video of that name
    assert "not known to be of it" in reason and report.left_out[reason] == ["s1_walk"]


def test_fusion_reads_every_word_where_it_is_asked_to(source):
    rows = ("lips|train|Bin blue at F, now.|a.npz|", "own|train|Bin blue.|a.npz|BIN")
    write_manifest(source, *rows, header="id split text pose fusion_targets")
    content, every = (read(source, every_word=asked)[0]["train"] for asked in (False, True))
    assert [clip.fusion_targets for clip in content] == [(), ("BIN",)]
    words = ("bin", "blue", "at", "f", "now")
    assert [clip.fusion_targets for clip in every] == [words, ("BIN",)]


def test_strict_makes_such_a_clip_an_error(source):
    write_manifest(source, "c1|train|One.||||a.npz", "c2|train| ||||a.npz")
    with pytest.raises(SignBindError, match="clip c2: empty text"):
        read(source, strict=True)


def test_what_was_repaired_is_counted(source):
    with np.load(source / "a.npz") as archive:
        fields = dict(archive)
    fields["keypoints"][3:5, 0] = np.nan
    np.savez(source / "a.npz", **fields)
    write_manifest(source, "c1|train|One.||||a.npz")
    _, report = read(source)
    assert report.repaired == {"keypoints not finite, now missing": 2}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id split pose", "column 'text' is missing"),
        ("id split text", "none of the columns pose, lips, video"),
        ("id split text pose glosses", "'glosses' is unknown: did you mean 'gloss'"),
        ("ID split text pose", "'ID' is unknown: did you mean 'id'"),
        ("id split text pose pose", "'pose' stands there twice"),
    ],
)
def test_a_wrong_header_is_named(source, header, said):
    write_manifest(source, "c|train|Hi.|a.npz", header=header)
    with pytest.raises(SignBindError, match=said):
        folder.open_corpus(source)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c|train|Hi.||||b.npz", "manifest.tsv:3: pose: found no file 'b.npz'"),
        ("c|train|Hi.||||../b.npz", "leaves the corpus directory"),
        ("c|train|Hi.||||/etc/hostname", "leaves the corpus directory"),
        ("c|train|Hi.||||link.npz", "leaves the corpus directory"),
        ("c|train|Hi.|||||linked_mouth", "leaves the corpus directory"),
        ("c|train|Hi.||||mouth", "pose: found no file 'mouth'"),
        ("c|train|Hi.", "none of pose, lips, video"),
        ("first|train|Hi.||||a.npz", "'first' stands on line 2 too"),
        ("|train|Hi.||||a.npz", "id: found nothing"),
        ("c||Hi.||||a.npz", "split: found ''"),
        ("c|all|Hi.||||a.npz", "split: found 'all'"),
        ("c|train[0]|Hi.||||a.npz", r"split: found 'train\[0\]'"),
        ("c|../x|Hi.||||a.npz", "split: found '../x'"),
        (f"c|{'x' * 61}|Hi.||||a.npz", "split: found 'xxx"),
        ("c|Train|Hi.||||a.npz", "found 'train' and 'Train'"),
        ("../c|train|Hi.||||a.npz", "id: '../c' leaves the directory"),
        ("/c|train|Hi.||||a.npz", "id: '/c' leaves the directory"),
        ("a/./c|train|Hi.||||a.npz", "id: 'a/./c' cannot be a file's name"),
        ("c\0|train|Hi.||||a.npz", r"id: 'c\\x00' cannot be"),
        ("\x1b[2J|train|Hi.||||a.npz", r"id: '\\x1b\[2J' cannot be"),
        (f"{'x' * 10**7}|train|Hi.||||a.npz", r"id: 'x{57}\.\.\.' cannot be"),
        ("First|train|Hi.||||a.npz", "'First' is 'first' on line 2 but for case"),
        ("c|train|Hi.||||pipe.npz", "pose: found no file 'pipe.npz'"),
        ("c|train|Hi.|||||pipe.npz", "lips: found no file 'pipe.npz'"),
        ("c|train|Hi.||||\0", r"pose: '\\x00' is no usable path"),
        (f"c|train|Hi.||||{'x' * 10**6}", "is no usable path .File name too long"),
        ("c|train|Hi.||||a.npz|||||x", "found 12 fields, wanted 11"),
    ],
)
def test_a_faulty_row_stops_the_build_before_anything_is_read(source, row, said):
    write_pose(source.parent / "b.npz", 5)
    (source / "link.npz").symlink_to(source.parent / "b.npz")
    os.mkfifo(source / "pipe.npz")
    (source / "linked_mouth").mkdir()
    (source / "linked_mouth" / "1.png").symlink_to(source.parent / "b.npz")
    write_manifest(source, "first|train|One.||||a.npz", row)
    with pytest.raises(SignBindError, match=said) as caught:
        corpus.check_rows(folder.open_corpus(source))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_ids_that_differ_in_unicode_form_alone_are_told_apart_in_the_error(source):
    write_manifest(source, "e\u0301|train|One.||||a.npz", "\xe9|train|Two.||||a.npz")
    with pytest.raises(SignBindError) as caught:
        folder.open_corpus(source)
    assert r"manifest.tsv:3: id: '\xe9' is 'e\u0301' on line 2" in str(caught.value)


def test_what_no_recording_can_be_is_left_out_and_counted(source):
    for name, fps in (("fast", 1e300), ("slow", 1e-300), ("never", float("nan"))):
        write_pose(source / f"{name}.npz", 20, fps)
    names = ("fast", "slow", "never")
    rows = [f"{name}|train|One.||||{name}.npz" for name in names]
    write_manifest(
        source,
        "good|train|One.||||a.npz",
        *rows,
        f"long|train|{'x' * 10**7}||||a.npz",
        f"many|train|Hi.||||a.npz|||{'A ' * 10**5}",
    )
    clips, report = read(source)
    assert [clip.id for clip in clips["train"]] == ["good"]
    reasons = {ids[0]: reason for reason, ids in report.left_out.items()}
    assert all("fps: found" in reasons[name] for name in names)
    assert "text: found 10,000,000 characters" in reasons["long"]
    assert "gloss: found 200,000 characters" in reasons["many"]


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_a_manifest_that_is_no_file_is_not_opened(tmp_path, kind):
    (os.mkfifo if kind == "pipe" else os.mkdir)(tmp_path / "manifest.tsv")
    with pytest.raises(SignBindError, match="manifest.tsv: found a .*, wanted a file"):
        folder.open_corpus(tmp_path)


def test_several_faults_are_counted(source):
    write_manifest(source, *(f"c{i}|train|Hi.||||no{i}.npz" for i in range(4)))
    with pytest.raises(SignBindError, match="no0.npz.*and 3 more faults"):
        folder.open_corpus(source)


def test_an_odd_but_honest_manifest_is_read(source):
    text = f"\ufeff{HEADER}\r\nc|train|Za\u0308hne\u2028neu||||a.npz\r\n\r\n".replace(" ", "\t")
    (source / "manifest.tsv").write_bytes(text.replace("|", "\t").encode())
    clips, _ = read(source)
    assert clips["train"][0].text == "Za\u0308hne\u2028neu"


def test_a_directory_that_is_no_corpus_is_told(tmp_path):
    with pytest.raises(SignBindError, match="found no manifest.tsv"):
        folder.open_corpus(tmp_path)
    manifest = "id\tsplit\ttext\tpose\nc\ttrain\tgrün".encode("latin-1")
    (tmp_path / "manifest.tsv").write_bytes(manifest)
    with pytest.raises(SignBindError, match="not UTF-8"):
        folder.open_corpus(tmp_path)
