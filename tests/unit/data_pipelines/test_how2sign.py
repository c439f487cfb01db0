"""How2Sign from its (synthetic) files to a dataset, with the real command."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from signbind_jax.cli import main
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.dataset import DatasetInfo, open_dataset
from signbind_jax.data_pipelines import how2sign
from signbind_jax.data_pipelines.readers.clip_file import Kind, read_clip_file
from signbind_jax.errors import SignBindError
from tests import how2sign_files as files
from tests.corpora import clips_of

HI, MERGED, LATE = (
    "-fZc293MpJk_0-1-rgb_front",
    "00dWJ4YRRSI_0_1-5-rgb_front",
    "--7E2sU6zP4_10-5-rgb_front",
)
TINY, GONE = "--7E2sU6zP4_11-5-rgb_front", "00dWJ4YRRSI_2-5-rgb_front"
PAIR, HOLES = "G0MZFLIHa0x_3-8-rgb_front", "fZM3IcM2Xs4_10_11_12-10-rgb_front"


@pytest.fixture
def source(tmp_path) -> Path:
    """The lists as they are released."""
    source = tmp_path / "how2sign"
    files.realigned(
        source / "how2sign_realigned_train.csv",
        (HI, 0.26, 1.26, "Hi!"),
        (MERGED, 1.5, 2.5, 'She said "a\tb"\nand "left".'),
        (LATE, 0.5, 9.75, "It's “over” – naïve?"),
        (TINY, 1.0, 1.11, "So."),
        (GONE, 3.0, 4.0, "Nobody made keypoints of this."),
    )
    files.realigned(source / "how2sign_realigned_val.csv", (PAIR, 0.0, 1.0, '"Oops, not me".'))
    files.realigned(source / "how2sign_realigned_test.csv", (HOLES, 0.0, 1.0, "Holes"))
    return source


@pytest.fixture
def openpose(tmp_path) -> Path:
    """Keypoints in the tree that the release's archives unpack to."""
    poses = tmp_path / "keypoints"
    train, val, test = (
        poses / f"{split}_2D_keypoints" / "openpose_output" for split in ("train", "val", "test")
    )
    for name, fps in ((HI, "30000/1001"), (MERGED, "24"), (LATE, "50")):
        files.openpose(train / "json", name, files.signing(24))
        files.video(train / "video" / f"{name}.mp4", 3, fps)
    files.openpose(train / "json", TINY, files.signing(3))
    bystander = files.person(0, centre=(1180.0, 300.0), width=90.0)
    ghost = files.person(5, centre=(660.0, 410.0), confidence=0.2)
    signer = [files.person(t, confidence=0.9) for t in range(24)]
    pair = [files.frame([person]) for person in signer]
    pair[0] = files.frame([bystander, signer[0]])
    pair[7] = files.frame([ghost, signer[7], bystander])
    pair[8] = files.frame([bystander])
    files.openpose(val / "json", PAIR, pair)
    holes: list[str | None] = list(files.signing(24))
    holes[0] = holes[9] = None
    holes[3] = files.frame([])
    holes[4] = files.signing(5)[4][:1000]
    holes[5] = holes[5].replace("[", "[NaN", 1) if holes[5] else None
    nose = f'"pose_keypoints_2d":[{",".join(map(str, files.person(6)["nose"]))}'
    assert nose in holes[6]
    holes[6] = holes[6].replace(nose, '"pose_keypoints_2d":[NaN,1e999,1.0')
    files.openpose(test / "json", HOLES, holes)
    return poses


def build(out: Path, *options: object) -> DatasetInfo:
    code = main(["data", "build", "how2sign", f"--out={out}", "--workers=1", *map(str, options)])
    assert code == 0
    return open_dataset(out)


def the_pose(n_frames: int, confidence: float = 1.0, gone: tuple[int, ...] = ()) -> np.ndarray:
    """What is to be read of the synthetic signer."""
    pose = np.stack([files.canonical(t, confidence) for t in range(n_frames)])
    pose[list(gone)] = 0
    return pose


def check(clip: Clip, text: str, signer: str, pose: np.ndarray, fps: float) -> None:
    """Every field of a clip, the pose within what float16 keeps."""
    np.testing.assert_allclose(clip.modalities["pose"].data.astype(float), pose, atol=2e-3)
    assert clip == Clip(
        id=clip.id,
        text=text,
        text_language="en",
        signed_language="ase",
        signer=signer,
        modalities={"pose": pose_frames(clip.modalities["pose"].data, fps)},
    )


def test_released_keypoints_become_a_dataset(source, openpose, tmp_path, capsys):
    files.video(tmp_path / "videos" / "--7E2sU6zP4-5-rgb_front.mp4", 48)
    info = build(
        tmp_path / "out",
        f"--source={source}",
        f"--poses={openpose}",
        f"--videos={tmp_path / 'videos'}",
    )
    assert info.splits == {"train": 4, "validation": 1, "test": 1}
    hi, merged, late, tiny = info.split("train")
    (pair,), (holes,) = info.split("validation"), info.split("test")
    assert [clip.id for clip in (hi, merged, late, tiny, pair, holes)] == [
        HI,
        MERGED,
        LATE,
        TINY,
        PAIR,
        HOLES,
    ]
    check(hi, "Hi!", "1", the_pose(24), 30000 / 1001)
    check(merged, 'She said "a b" and "left".', "5", the_pose(24), 24)
    check(late, "It's “over” – naïve?", "5", the_pose(24), 50)
    check(tiny, "So.", "5", the_pose(3), 24)
    check(pair, '"Oops, not me".', "8", the_pose(24, 0.9, gone=(8,)), 24)
    expected = the_pose(24, gone=(0, 3, 4, 5, 9))
    expected[6, 0] = 0  # the nose that is NaN
    check(holes, "Holes", "10", expected, 24)
    starts = {clip.id: (clip.recording, clip.start_s) for clip in info.split("train").labels}
    assert starts[HI] == ("-fZc293MpJk-1-rgb_front", 0.26)
    report = info.description["report"]
    assert report["left_out"] == {"no openpose keypoints of this clip": [GONE]}
    assert report["repaired"] == {
        "text: line breaks or tabs, now spaces": 1,
        "END_REALIGNED: past the end of the video": 1,
        "START_REALIGNED to END_REALIGNED: under 0.2 s": 1,
        "pose: over 0.5 s longer or shorter than START_REALIGNED to END_REALIGNED": 1,
        "pose: no frame rate beside it, 24 taken": 3,
        "frames: several people, the signer taken": 2,
        "frames: only somebody else found, keypoints now missing": 1,
        "frames: no file, keypoints now missing": 2,
        "frames: nobody found, keypoints missing": 1,
        "frames: broken JSON, keypoints now missing": 2,
        "keypoints not finite, now missing": 1,
    }
    made = info.description["source"]
    assert made["pose_form"] == "openpose" and made["licence"] == "CC BY-NC 4.0"
    assert "repaired: frames: no file" in capsys.readouterr().out


def test_any_number_of_workers_writes_the_same_dataset(source, openpose, tmp_path):
    options = (f"--source={source}", f"--poses={openpose}")
    one = build(tmp_path / "one", *options)
    two = build(tmp_path / "two", *options, "--workers=2")
    for split in one.splits:
        assert one.split(split).digest == two.split(split).digest


def test_the_tree_of_the_download_script_needs_no_other_option(source, openpose, tmp_path):
    tree = tmp_path / "How2Sign" / "sentence_level"
    for split in ("train", "val", "test"):
        texts = tree / split / "text" / "en" / "raw_text" / "re_aligned"
        texts.mkdir(parents=True)
        shutil.move(source / f"how2sign_realigned_{split}.csv", texts)
        features = tree / split / "rgb_front" / "features"
        features.mkdir(parents=True)
        shutil.move(openpose / f"{split}_2D_keypoints" / "openpose_output", features)
    clips, report = clips_of(how2sign.open_corpus(tree.parent))
    assert {split: len(found) for split, found in clips.items()} == {
        "train": 4,
        "validation": 1,
        "test": 1,
    }
    assert report.left_out == {"no openpose keypoints of this clip": [GONE]}


@pytest.mark.parametrize("packed", [False, True])
def test_pickles_of_uni_sign_become_clips(source, tmp_path, packed):
    poses = tmp_path / "pose_format"
    for name in (HI, MERGED, TINY):
        files.rtmpose(poses / f"{name}.pkl", [[files.person(t)] for t in range(24)], packed=packed)
    part = [[files.person(t - 4)] for t in range(40)]
    files.rtmpose(poses / f"{LATE}.pkl", part, packed=packed, start=4, end=28)
    bystander = files.person(0, centre=(1180.0, 300.0), width=90.0)
    people = [[files.person(t)] + [bystander] * (t == 3) for t in range(24)]
    files.rtmpose(poses / "dev" / f"{PAIR}.pkl", people, packed=packed, protocol=5)
    (poses / f"{HOLES}.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    info = build(tmp_path / "out", f"--source={source}", f"--poses={poses}", "--fps=25")
    assert info.splits == {"train": 4, "validation": 1}
    for clip in (*info.split("train"), *info.split("validation")):
        np.testing.assert_allclose(
            clip.modalities["pose"].data.astype(float), the_pose(24), atol=2e-3
        )
        assert clip.modalities["pose"].fps == 25 and clip.signed_language == "ase"
    left_out = info.description["report"]["left_out"]
    assert left_out.pop("no rtmpose keypoints of this clip") == [GONE]
    ((reason, ids),) = left_out.items()
    assert ids == [HOLES] and reason.startswith("pickle: found os.system, wanted only")


def test_labels_of_uni_sign_stand_in_for_the_lists(tmp_path):
    source = tmp_path / "labels"
    source.mkdir()
    files.labels(source / "labels.train", {HI: "Hi!", MERGED: "Two."})
    files.labels(source / "labels.dev", {PAIR: "Oops", "../up-1-rgb_front": "Out of here."})
    for name in (HI, MERGED, PAIR):
        files.rtmpose(tmp_path / "poses" / f"{name}.pkl", [[files.person(t)] for t in range(9)])
    info = build(tmp_path / "out", f"--source={source}", f"--poses={tmp_path / 'poses'}")
    hi, merged = info.split("train")
    (pair,) = info.split("validation")
    assert (hi.id, merged.id, pair.id) == (HI, MERGED, PAIR)
    for clip, text, signer in ((hi, "Hi!", "1"), (merged, "Two.", "5"), (pair, "Oops", "8")):
        check(clip, text, signer, the_pose(9), 24)
    report = info.description["report"]
    assert report["left_out"] == {
        "its name is not of letters, digits, - and _ (labels.dev)": ["'../up-1-rgb_front.mp4'"],
        "split test: its list of sentences is not there": [],
    }
    assert info.description["source"]["sentences"] == "labels"


def test_extracted_poses_bring_their_mouth_crops(source, tmp_path):
    poses = tmp_path / "poses"
    poses.mkdir()
    points = [[files.person(t).get(name, (0, 0, 0)) for name in files.WHOLEBODY] for t in range(24)]
    np.savez(
        poses / f"{HI}.npz",
        keypoints=np.array(points),
        fps=30.0,
        lips=np.full((24, 40, 40), 99, np.uint8),
    )
    clips, report = clips_of(how2sign.open_corpus(source, poses=poses, lip_size=16))
    (clip,) = clips["train"]
    np.testing.assert_allclose(clip.modalities["pose"].data.astype(float), the_pose(24), atol=2e-3)
    lips = clip.modalities["lips"]
    assert clip.modalities["pose"].fps == lips.fps == 30 and lips.n == 24
    (ids,) = report.left_out.values()
    assert ids == [MERGED, LATE, TINY, GONE, PAIR, HOLES]


def test_recordings_are_full_videos_with_the_realigned_times(source, tmp_path):
    home = tmp_path / "How2Sign" / "video_level" / "train" / "rgb_front" / "raw_videos"
    files.video(home / "-fZc293MpJk-1-rgb_front.mp4", 2)
    corpus = how2sign.open_corpus(source, videos=tmp_path / "How2Sign")
    found = {row.id: corpus.recording(row) for rows in corpus.splits.values() for row in rows}
    wanted = (home / "-fZc293MpJk-1-rgb_front.mp4", 0.26, 1.26, 0.0)
    assert {name: tuple(recording) for name, recording in found.items() if recording} == {
        HI: wanted
    }
    with pytest.raises(SignBindError, match="no poses: give --poses"):
        clips_of(corpus, strict=True)


def test_lists_of_windows_and_rows_that_hold_nothing(tmp_path):
    file = tmp_path / "how2sign_realigned_test.csv"
    rows = [
        ("a_0-1-rgb_front", 0, 1, "A."),
        ("a_1-1-rgb_front", 0, 1, " "),
        ("a_0-1-rgb_front", 0, 1, "A again."),
        ("../a-1-rgb_front", 0, 1, "Out."),
        ("a_2-1-rgb_front", "nan", 1, "B."),
        ("a_3-1-rgb_front", "x", 1, "C."),
        ("a_4-1-rgb_front", 5, 4, "D."),
        ("a_5", 0, 1e9, "E."),
    ]
    files.realigned(file, *rows, end="\r\n", start="\ufeff")
    with open(file, "a", newline="") as opened:
        opened.write("\r\na_6\ta_6-1-rgb_front\ta_6\ta_6-1-rg")
    corpus = how2sign.open_corpus(tmp_path)
    read, backwards, endless = corpus.splits["test"]
    assert (read.id, read.text, read.signer) == ("a_0-1-rgb_front", "A.", "1")
    assert (backwards.id, backwards.seconds) == ("a_4-1-rgb_front", -1)
    assert (endless.id, endless.signer, endless.end_s) == ("a_5", "", 1e9)
    name = "(how2sign_realigned_test.csv)"
    assert {reason: ids for reason, ids in corpus.left_out.items() if name in reason} == {
        f"empty SENTENCE {name}": ["a_1-1-rgb_front"],
        f"SENTENCE_NAME stands in split test already {name}": ["a_0-1-rgb_front"],
        f"SENTENCE_NAME is no name of letters, digits, - and _ {name}": ["line 5"],
        f"START_REALIGNED or END_REALIGNED is no time in the video {name}": ["a_2-1-rgb_front"],
        f"START_REALIGNED or END_REALIGNED is no number {name}": ["a_3-1-rgb_front"],
        f"a row of 4 fields, wanted 7 {name}": ["a_6-1-rg"],
    }
    assert all(corpus.recording(row) is None for row in corpus.splits["test"])


HEADER = "\t".join(files.HEADER)
ROW = "a\ta-1-rgb_front\ta_0\ta_0-1-rgb_front\t0\t1\t"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER.replace("_REALIGNED", ""), "column 5: found 'START', wanted START_REALIGNED"),
        (HEADER.replace("\tSENTENCE_NAME", ""), "column 4: found 'START_.*wanted SENTENCE_NAME"),
        (HEADER.removesuffix("\tSENTENCE"), "column 'SENTENCE' is missing"),
        (HEADER + "\tfps", "column 'fps' is unknown"),
        (HEADER.replace("\t", ","), "found commas, wanted tabs"),
        ("", "column 'VIDEO_ID' is missing"),
        (f'{HEADER}\n{ROW}"Never closed\n{ROW}B.\n', "csv:3: quotes: unexpected end of data"),
        (f'{HEADER}\n{ROW}"Twice" over\n{ROW}B.\n', "csv:2: quotes: "),
        (f"{HEADER}\n{ROW}gr\udcfcn\n", "is not UTF-8"),
    ],
)
def test_a_changed_list_is_one_line(tmp_path, text, said):
    file = tmp_path / "how2sign_realigned_train.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SignBindError, match=said) as raised:
        how2sign.open_corpus(tmp_path)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_a_wrong_directory_is_told_where_the_corpus_is(source, openpose, tmp_path):
    (tmp_path / "else").mkdir()
    (source / "below").mkdir()
    json = openpose / "train_2D_keypoints" / "openpose_output" / "json"
    told = [
        ({"source": source.parent}, f"seems to lie in {source}"),
        ({"source": source / "below"}, f"seems to lie in {source}"),
        ({"source": tmp_path / "else"}, "wanted at least one$"),
        ({"source": tmp_path / "nowhere"}, "found no such directory"),
        ({"source": source, "poses": tmp_path}, "some seem to lie in .*_2D_keypoints"),
        ({"source": source, "poses": json / HI}, f"it is a clip itself, give {json}"),
        ({"source": source, "poses": source}, "found no poses, wanted openpose_output/json"),
        ({"source": source, "poses": openpose, "pose_form": "rtmpose"}, "found no rtmpose poses"),
        ({"source": source, "videos": openpose}, "wanted the full videos such as -fZc293MpJk-1-"),
        ({"source": source, "videos": json.parent / "video"}, "only clips, which are cut at"),
    ]
    for options, said in told:
        with pytest.raises(SignBindError, match=said):
            how2sign.open_corpus(**options)


def test_two_forms_of_poses_need_a_choice(source, openpose):
    np.savez(openpose / f"{HI}.npz", keypoints=np.ones((3, 133, 2)), fps=25)
    with pytest.raises(SignBindError, match="openpose and extracted: choose one with --pose_form"):
        how2sign.open_corpus(source, poses=openpose)
    chosen = how2sign.open_corpus(source, poses=openpose, pose_form="openpose")
    assert chosen.source["pose_form"] == "openpose"


@pytest.mark.parametrize(
    "options",
    [
        ["--fps=0"],
        ["--fps=inf"],
        ["--fps=1e300"],
        ["--lip_size=-1"],
        ["--lip_size=99999"],
        ["--pose_form=mediapipe"],
    ],
)
def test_bad_usage_is_refused(tmp_path, options, capsys):
    with pytest.raises(SystemExit):
        main(["data", "build", "how2sign", f"--out={tmp_path / 'o'}", "--source=x", *options])
    assert options[0][2:5] in capsys.readouterr().err


def test_stand_in_of_the_worked_example(tmp_path):
    """docs/use/train_on_how2sign.md: the test sentences are the same, built and as files."""
    files.stand_in(tmp_path, {"train": 1, "val": 1, "test": 2})
    poses = f"--poses={tmp_path / 'keypoints'}"
    info = build(tmp_path / "data", f"--source={tmp_path / 'how2sign'}", poses)
    assert info.splits == {"train": 1, "validation": 1, "test": 2}
    for clip in info.split("test"):
        path = tmp_path / "new" / f"{clip.id}.npz"
        alone = read_clip_file(path, Kind.LANDMARKS, None).clip.modalities["pose"]
        assert np.array_equal(alone.data, clip.modalities["pose"].data)
