"""Files of strangers: what is read, what is refused, and that nothing is half-written."""

import io
import os
import resource
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from signbind_jax import files
from signbind_jax.errors import SignBindError


def npz(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def test_arrays_come_back_as_numpy_wrote_them(tmp_path):
    arrays = {
        "numbers": np.arange(6, dtype=np.float16).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array("mediapipe"),
        "none": np.zeros((0, 4), np.uint8),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = files.read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert files.read_arrays(tmp_path / "a.npz", {"text", "absent"}).keys() == {"text"}


def test_an_archive_that_unpacks_to_much_is_refused_unread(tmp_path):
    path = npz(tmp_path / "bomb.npz", x=npy(np.zeros(2**29, np.uint8)))
    assert path.stat().st_size < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SignBindError, match="bomb.npz: found arrays of 536,871,040 bytes"):
        files.read_arrays(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**10  # KiB


@pytest.mark.parametrize(
    "data",
    [
        npy(np.zeros(4)).replace(b"(4,)", b"(9**9,)"),
        npy(np.zeros(4)).replace(b"}", b" "),
        npy(np.zeros(40)).replace(b"(40,)", b"(99999999999,)"),
        npy(np.zeros(40))[:-8],
        npy(np.zeros(40)) + b"more",
        npy(np.array([{}], object)),
        b"\x93NUMPY\x03\x00",
        b"nothing",
    ],
    ids=["expression", "cut header", "claims", "short", "long", "objects", "version", "no array"],
)
def test_a_broken_array_is_one_line_with_the_file(tmp_path, data):
    path = npz(tmp_path / "a.npz", x=data)
    with pytest.raises(SignBindError, match="a.npz: cannot be read as .npz") as caught:
        files.read_arrays(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": 1', "not readable as JSON"),
        (b"\xff", "not readable as JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "not readable as JSON"),
        (b'["\\ud800"]', "not readable as JSON"),
        (b"[" + b"[]," * 10_000_001 + b"1]", "wanted at most 10,000,000"),
    ],
    ids=["cut off", "not UTF-8", "deep", "long number", "half a pair", "many"],
)
def test_json_that_cannot_be_used_is_one_line_with_the_file(tmp_path, text, told):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(SignBindError, match=f"a.json: .*{told}"):
        files.read_json(tmp_path / "a.json")


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, told in (
        ("pipe", "found a named pipe, wanted a file"),
        ("absent", "No such file"),
        ("a\0b", "null"),
    ):
        with pytest.raises(SignBindError, match=told):
            files.read_text(tmp_path / name)
    with pytest.raises(SignBindError, match="found a directory"):
        files.read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(SignBindError, match="large: found 11 bytes, wanted at most 10"):
        files.read_bytes(tmp_path / "large", 10)


def test_a_field_of_another_type_is_named():
    record = {"n": 3, "x": 0.5, "flag": True, "bad": float("nan"), "huge": 10**400}
    assert files.field(record, "n", int, "f") == 3
    assert files.field(record, "n", float, "f") == 3.0
    assert files.field(record, "flag", bool, "f") is True
    for value, name, kind, told in (
        (record, "flag", int, "f: flag: found True, wanted int"),
        (record, "x", int, "f: x: found 0.5, wanted int"),
        (record, "bad", float, "f: bad: found nan, wanted float"),
        (record, "huge", float, "f: huge: found 1000"),
        (record, "absent", str, "f: absent: found nothing, wanted str"),
        ([1], "n", int, "f: found \\[1\\], wanted an object with 'n'"),
    ):
        with pytest.raises(SignBindError, match=told):
            files.field(value, name, kind, "f")


WRITE = """
import resource, signal, sys
from signbind_jax import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
files.write(sys.argv[1], "x" * 2000)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    done = subprocess.run([sys.executable, "-c", WRITE, path], capture_output=True, text=True)
    assert "a.json: cannot be written: File too large" in done.stderr
    assert files.read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_kill_while_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    files.write(path, "old")
    code = WRITE.replace(
        'files.write(sys.argv[1], "x" * 2000)',
        (
            "import os\nos.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
            'files.write(sys.argv[1], "new")'
        ),
    )
    done = subprocess.run([sys.executable, "-c", code, path])
    assert done.returncode == -signal.SIGKILL
    assert files.read_text(path) == "old"


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "pipe", "folder"])
def test_only_a_file_is_replaced(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = os.lstat(tmp_path / name)
    with pytest.raises(SignBindError, match=f"{name}: found a .*, wanted a file"):
        files.write(tmp_path / name, "scores")
    assert os.path.samestat(os.lstat(tmp_path / name), before)


def test_a_reader_may_expect_more_or_fewer_values_than_is_usual(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    assert files.read_json(tmp_path / "a.json", values=3) == [1, 2, 3]
    with pytest.raises(SignBindError, match="a.json: found 3 values, wanted at most 2"):
        files.read_json(tmp_path / "a.json", values=2)
