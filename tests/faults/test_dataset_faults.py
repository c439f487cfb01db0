"""Damage to datasets on disk, and a writer that dies."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from signbind_jax.cli import main
from signbind_jax.config import load_config
from signbind_jax.data.clip import Clip, Frames, pose_frames
from signbind_jax.data.dataset import DATASET_FILE, digest_of_json, open_dataset
from signbind_jax.data.dataset_description import index_file
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing import shard
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source


def clips(n=8):
    chance = np.random.default_rng(0)
    for i in range(n):
        pose = chance.normal(size=(30, 91, 3)).astype(np.float16)
        yield Clip(id=f"c{i}", text="x", modalities={"pose": pose_frames(pose, 25.0)})


@pytest.fixture
def dataset(tmp_path):
    corpus = corpus_of_clips({"train": clips()}, {})
    write_dataset(tmp_path / "d", corpus, clips_per_shard=4, progress=False)
    return tmp_path / "d"


def last_shard(dataset):
    return sorted(dataset.glob("*.array_record-*"))[-1]


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["shard", "index"])
def test_a_truncated_file_is_named_with_its_bytes(dataset, file):
    path = last_shard(dataset) if file == "shard" else dataset / index_file("train")
    size = path.stat().st_size
    os.truncate(path, size - 100)
    with pytest.raises(SignBindError) as caught:
        open_dataset(dataset).split("train")
    message = str(caught.value)
    assert path.name in message and f"found {size - 100} bytes, wanted {size}" in message
    assert "\n" not in message


def test_a_missing_shard_is_named(dataset):
    last_shard(dataset).unlink()
    with pytest.raises(SignBindError, match="signbind-train.array_record-00001"):
        open_dataset(dataset).split("train")


def test_a_flipped_byte_is_found_by_verify_and_by_reading(dataset):
    path = last_shard(dataset)
    flip(path, path.stat().st_size // 2)
    info = open_dataset(dataset)
    with pytest.raises(SignBindError, match=f"{path.name}: sha256: found"):
        info.verify()
    train = info.split("train")
    with pytest.raises(SignBindError) as caught:
        list(train)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json", "index-train.npz"])
def test_a_flipped_byte_beside_the_shards_never_gives_a_traceback(dataset, name):
    flip(dataset / name, (dataset / name).stat().st_size // 2)
    with pytest.raises(SignBindError, match=name):
        open_dataset(dataset).verify()


def test_a_changed_description_is_found_when_opened(dataset):
    path = dataset / "dataset.json"
    path.write_text(path.read_text().replace('"clips": 8', '"clips": 9'))
    with pytest.raises(SignBindError, match="dataset.json: digest"):
        open_dataset(dataset)


def forge(dataset, change):
    """Describes a dataset anew, with a digest that fits, as a hostile author would."""
    description = json.loads((dataset / DATASET_FILE).read_text())
    del description["digest"]
    for name, file in description["files"].items():
        file["bytes"] = (dataset / name).stat().st_size
    change(description)
    description["digest"] = digest_of_json(description)
    (dataset / DATASET_FILE).write_text(json.dumps(description))


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module in the current directory and on the path; gives the mark that its import leaves."""
    cwd, mark = tmp_path / "cwd", tmp_path / "imported"
    cwd.mkdir()
    (cwd / "hostile.py").write_text(f"open({str(mark)!r}, 'w')\nclass Features: pass\n")
    monkeypatch.chdir(cwd)
    monkeypatch.syspath_prepend(str(cwd))
    return mark


def test_a_class_that_features_json_names_is_not_imported(dataset, hostile_module):
    path = dataset / "features.json"
    named = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
    text = path.read_text()
    assert named in text
    path.write_text(text.replace(named, "hostile.Features"))
    forge(dataset, lambda description: None)
    main(["data", "audit", str(dataset), "--workers=1"])
    settings = {"data.directory": str(dataset), "data.validation": ""}
    stage = open_source(load_config("language_model:size=tiny", settings))  # as train and sweep do
    assert len(list(stage.dataset.split("train"))) == 8  # as evaluate and translate do
    assert not hostile_module.exists()


def renamed(record, old, new):
    record[new] = record.pop(old)


TRAIN_0 = "signbind-train.array_record-00000"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: renamed(d["files"], TRAIN_0, "../a"), "files: found '../a'"),
        (lambda d: renamed(d["files"], TRAIN_0, "/a"), "files: found '/a'"),
        (lambda d: renamed(d["splits"]["train"]["shards"], TRAIN_0, "../a"), "found '../a'"),
        (lambda d: renamed(d["splits"], "train", "../train"), "split: found '../train'"),
        (lambda d: renamed(d["splits"], "train", "all"), "split: found 'all'"),
        (lambda d: d["splits"]["train"].update(clips=-4), "train: clips: found -4"),
        (lambda d: d["splits"]["train"]["shards"].update({TRAIN_0: 2.5}), "found '2.5'"),
        (lambda d: d["files"][TRAIN_0].update(sha256="\x1b[2J"), r"sha256: found '\\x1b\[2J'"),
        (lambda d: d.update(splits={}), "splits: found none"),
        (lambda d: d.update(splits=[]), "splits: found \\[\\], wanted dict"),
        (lambda d: d.pop("report"), "report: found nothing"),
        (lambda d: d["report"].update(left_out={"why": "c1"}), "left_out: found 'c1'"),
        (lambda d: d["source"].update(x=float("nan")), "source: Out of range"),
        (lambda d: d.update(format="1"), "format: found '1', wanted int"),
    ],
)
def test_a_description_is_believed_in_nothing_that_it_could_do_harm_with(dataset, change, said):
    forge(dataset, change)
    with pytest.raises(SignBindError, match=f"dataset.json: .*{said}") as caught:
        open_dataset(dataset)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("pipe", TRAIN_0),
        ("pipe", index_file("train")),
        ("pipe", DATASET_FILE),
        ("link", TRAIN_0),
        ("loop", TRAIN_0),
        ("link", index_file("train")),
    ],
)
def test_pipes_and_links_out_of_a_dataset_are_not_opened(dataset, tmp_path, kind, name):
    path = dataset / name
    path.rename(tmp_path / "elsewhere")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "elsewhere" if kind == "link" else path)
    with pytest.raises(SignBindError, match=f"{name}: .*(a named pipe|a link out|Too many levels)"):
        open_dataset(dataset).split("train")


def relabelled(**fields):
    """Changes labels of the second clip."""

    def change(arrays):
        lines = arrays["labels"].tobytes().decode().split("\n")
        lines[1] = json.dumps(json.loads(lines[1]) | fields)
        arrays["labels"] = np.frombuffer("\n".join(lines).encode(), np.uint8)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("pose_lengths"), "pose_lengths: found nothing"),
        (lambda a: a.update(pose_lengths=a["pose_lengths"] * 1.0), "found float64"),
        (lambda a: a.update(pose_lengths=-a["pose_lengths"]), "found -30 to -30"),
        (lambda a: a.update(pose_lengths=a["pose_lengths"][:3]), r"found int32 \(3,\)"),
        (lambda a: a.pop("labels"), "labels.npy"),
        (lambda a: a.update(labels=a["labels"][:300]), "labels of clip"),
        (lambda a: a.update(labels=np.full(2**24, 91, np.uint8)), "clip 0: maximum recursion"),
        (lambda a: a.update(labels=np.tile(a["labels"], 2)), "clip 7: "),
        (relabelled(pose_fps=float("nan")), "clip 1: pose_fps: found nan"),
        (relabelled(pose_fps=1e300), "clip 1: pose_fps: found 1e.300"),
        (relabelled(pose_fps="25"), "clip 1: 'pose_fps': found a value of type str"),
        (relabelled(n_lip_frames=-1), "clip 1: lips: found -1 frames"),
        (relabelled(id=1), "clip 1: 'id': found a value of type int"),
        (relabelled(text="x" * 200_000), "clip 1: text: found 200,000 characters"),
        (relabelled(text="\ud800"), "clip 1: .*surrogates"),
        (relabelled(gloss="ab"), "clip 1: 'gloss': found a value of type str"),
        (relabelled(gloss=["a", 1]), "clip 1: 'gloss': found other tokens"),
        (relabelled(surprise=1), "clip 1: 'surprise'"),
    ],
)
def test_an_index_that_is_none_is_told_in_one_line(dataset, change, said):
    path = dataset / index_file("train")
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez_compressed(path, **arrays)
    forge(dataset, lambda description: None)
    with pytest.raises(SignBindError, match=f"index-train.npz: .*{said}") as caught:
        _ = open_dataset(dataset).split("train").labels
    assert str(caught.value).isprintable()


NO_POSE = np.zeros((0, 91, 3), np.float16)


def forged_frames(**modalities):
    return {"modalities": {**next(clips(1)).modalities, **modalities}}


FORGED = {
    "pose_fps: found 1e.300": forged_frames(pose=Frames(NO_POSE, 1e300, 0)),
    "lip_fps: found nan": forged_frames(lips=Frames(b"", float("nan"), 0)),
    "lips: found -1 frames": forged_frames(lips=Frames(b"", 0.0, -1)),
    "text: found 200,000 characters": {"text": "x" * 200_000},
    "its lengths differ": forged_frames(lips=Frames(b"", 0.0, 7)),
}


def test_forged_records_are_told_by_shard_and_clip(dataset):
    path = dataset / TRAIN_0
    writer = ArrayRecordWriter(str(path), "group_size:1")
    (clip,) = clips(1)
    records = [shard._serialised(dataclasses.replace(clip, **made)) for made in FORGED.values()]
    for record in (*records, b"", b"no record", b"\xff" * 100):
        writer.write(record)
    writer.close()
    forge(dataset, lambda d: lengthen(d, dataset, len(records) + 3))
    train = open_dataset(dataset).split("train")
    for i, said in enumerate((*FORGED, "", "", "")):
        with pytest.raises(SignBindError, match=f"{TRAIN_0}: clip {i} .*{said}") as caught:
            train[i]
        assert str(caught.value).isprintable()
    assert train[len(records) + 3].id == "c4"


def lengthen(description, dataset, n):
    """Makes the first shard one of `n` clips."""
    split = description["splits"]["train"]
    split["shards"][TRAIN_0] = n
    split["clips"] = n + 4
    with np.load(dataset / index_file("train")) as file:
        arrays = dict(file)
    for name in ("pose_lengths", "lip_lengths"):
        arrays[name] = np.resize(arrays[name], n + 4)
    np.savez(dataset / index_file("train"), **arrays)
    description["files"][index_file("train")]["bytes"] = (
        (dataset / index_file("train")).stat().st_size
    )


def test_fewer_labels_than_clips_are_told(dataset):
    path = dataset / index_file("train")
    with np.load(path) as file:
        arrays = dict(file)
    lines = arrays["labels"].tobytes().split(b"\n")
    for n in (5, 9):
        wrong = np.frombuffer(b"\n".join([*lines, *lines][:n]), np.uint8)
        np.savez_compressed(path, **arrays | {"labels": wrong})
        forge(dataset, lambda description: None)
        with pytest.raises(SignBindError, match="npz: .*labels of (5|more) clips, wanted 8"):
            _ = open_dataset(dataset).split("train").ids


WRITER = """
import os, sys, time
from pathlib import Path
from signbind_jax.data_pipelines.corpus import ReadResult, corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from tests.faults.test_dataset_faults import clips

class Slow:
    def __call__(self, row):
        print(row.id, flush=True)
        if row.id == "c6":
            time.sleep(60)
        return ReadResult(row.clip)

corpus = corpus_of_clips({"train": clips()}, {})
object.__setattr__(corpus, "read", Slow())
write_dataset(Path(sys.argv[1]), corpus, clips_per_shard=2, progress=False)
"""


def start_writer(out, code=WRITER):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_clip(child, name):
    while (line := child.stdout.readline().strip()) != name:
        assert line, child.stderr.read()


def test_a_killed_build_leaves_no_dataset_and_goes_on_with_what_was_finished(tmp_path):
    out, undisturbed = tmp_path / "d", tmp_path / "undisturbed"
    child = start_writer(out)
    wait_for_clip(child, "c6")
    with pytest.raises(SignBindError, match="another build of it is under way"):
        write_dataset(out, corpus_of_clips({"train": clips()}, {}), progress=False)
    child.kill()
    child.wait(300)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".d.building"]

    corpus = corpus_of_clips({"train": clips()}, {})
    read = []
    counting = dataclasses.replace(corpus, read=lambda row: read.append(row) or corpus.read(row))
    write_dataset(out, counting, clips_per_shard=2, progress=False)
    assert [row.id for row in read] == ["c6", "c7"]
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    write_dataset(undisturbed, corpus, clips_per_shard=2, progress=False)
    assert bytes_of(out) == bytes_of(undisturbed)


def bytes_of(dataset):
    """Contents by name; TFDS notes the directory in its own description."""
    names = {path.name for path in dataset.iterdir()}
    return {name: (dataset / name).read_bytes() for name in names - {"dataset_info.json"}}


def test_other_rows_begin_anew_in_what_a_killed_build_left(tmp_path):
    child = start_writer(tmp_path / "d")
    wait_for_clip(child, "c6")
    child.kill()
    child.wait(300)
    write_dataset(tmp_path / "d", corpus_of_clips({"train": clips(3)}, {}), progress=False)
    assert open_dataset(tmp_path / "d").split("train").ids == ("c0", "c1", "c2")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("most", [2_000, 20_000])
def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(tmp_path, most):
    code = (
        WRITER.replace("import os, sys, time", "import os, sys, time, resource, signal")
        .replace(
            "write_dataset(Path",
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\nwrite_dataset(Path",
        )
        .replace("clips_per_shard=2", "clips_per_shard=4")
    )
    child = start_writer(tmp_path / "d", code)
    error = child.communicate(timeout=300)[1]
    assert child.returncode == 1
    last = error.strip().splitlines()[-1]
    assert "SignBindError" in last and str(tmp_path) in last and "is the disk full?" in last
    assert list(tmp_path.iterdir()) == []
