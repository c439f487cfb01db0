"""Damage to datasets on disk, and a writer that dies."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_pipelines.build_report import BuildReport
from data_pipelines.writer import write_dataset
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
    write_dataset(tmp_path / "d", {"train": clips}, BuildReport(), source={}, clips_per_shard=4,
                  progress=False)  # fmt: skip
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
import sys, time
from pathlib import Path
from data_pipelines.build_report import BuildReport
from data_pipelines.writer import write_dataset
from tests.faults.test_dataset_faults import clips

def endless():
    yield from clips(6)
    print("ready", flush=True)
    time.sleep(60)

write_dataset(Path(sys.argv[1]), {"train": endless}, BuildReport(), source={},
              clips_per_shard=2, progress=False)
"""


def test_a_killed_writer_leaves_no_dataset_and_the_next_one_cleans_up(tmp_path):
    out = tmp_path / "d"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline().strip() == b"ready"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    assert not out.exists()
    assert [path.name.startswith(".d.partial-") for path in tmp_path.iterdir()] == [True]
    write_dataset(out, {"train": clips}, BuildReport(), source={}, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert len(open_dataset(out).split("train")) == 8


def test_a_full_disk_ends_in_one_line_and_leaves_nothing(tmp_path):
    code = WRITER.replace("import sys, time", "import sys, time, resource, signal").replace(
        "write_dataset(Path", "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\nwrite_dataset(Path"
    ).replace("time.sleep(60)", "pass")  # fmt: skip
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1, time.monotonic() - started
    assert "SignBindError" in done.stderr.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
