"""Damage to datasets on disk, and a writer that dies."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.corpus import corpus_of_clips
from data_pipelines.writing.writer import write_dataset
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import index_file, open_dataset
from signbind_jax.errors import SignBindError


def clips(n=8):
    chance = np.random.default_rng(0)
    for i in range(n):
        pose = chance.normal(size=(30, 91, 3)).astype(np.float16)
        yield Clip(id=f"c{i}", text="x", pose=pose, pose_fps=25.0)


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


WRITER = """
import os, sys, time
from pathlib import Path
from data_pipelines.corpus import Reading, corpus_of_clips
from data_pipelines.writing.writer import write_dataset
from tests.faults.test_dataset_faults import clips

class Slow:
    def __call__(self, row):
        print(row.id, flush=True)
        if row.id == "c6":
            time.sleep(60)
        return Reading(row.clip)

corpus = corpus_of_clips({"train": clips()}, {})
object.__setattr__(corpus, "read", Slow())
write_dataset(Path(sys.argv[1]), corpus, clips_per_shard=2, progress=False)
"""


def start_writer(out, code=WRITER):
    return subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip


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
    child.wait(30)
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
    child.wait(30)
    write_dataset(tmp_path / "d", corpus_of_clips({"train": clips(3)}, {}), progress=False)
    assert open_dataset(tmp_path / "d").split("train").ids == ("c0", "c1", "c2")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(tmp_path):
    code = WRITER.replace("import os, sys, time", "import os, sys, time, resource, signal").replace(
        "write_dataset(Path", "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\nwrite_dataset(Path"
    ).replace("clips_per_shard=2", "clips_per_shard=4")  # fmt: skip
    child = start_writer(tmp_path / "d", code)
    error = child.communicate(timeout=60)[1]
    assert child.returncode == 1
    assert "SignBindError" in error.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
