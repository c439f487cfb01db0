import collections
import gzip
import os
import pickle
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from signbind_jax.data_pipelines.readers.restricted_pickle import load
from signbind_jax.errors import SignBindError

ARRAYS = {
    "pose": np.random.default_rng(0).random((1, 133, 2)),
    "score": np.ones((1, 133), np.float32),
    "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "turned": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "big-endian": np.arange(3, dtype=">i4"),
    "strings": np.array(["ab", "ç"]),
    "empty": np.zeros((0, 3)),
    "one": np.array(5),
    "scalar": np.float32(3.5),
    "flag": np.bool_(True),
}
PLAIN = {
    "containers": [{"a": (1, 2.5, None)}, {1, 2}, frozenset("x"), collections.OrderedDict(a=1)],
    "strings": ["naïve", "", b"\xff\x00", b"", bytearray(b"12")],
    "numbers": [10**30, -1, 1.5, True, 2 + 1j],
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_data_come_out_as_they_went_in(tmp_path, protocol):
    data = pickle.dumps([PLAIN, ARRAYS], protocol)
    for packed in (data, gzip.compress(data)):
        plain, arrays = load(written(tmp_path / "a.pkl", packed))
        assert plain == PLAIN
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array, name)
            assert arrays[name].dtype.newbyteorder("=") == array.dtype.newbyteorder("="), name


def test_arrays_of_older_numpy_come_out_too(tmp_path):
    data = pickle.dumps(ARRAYS["pose"], 2)
    assert b"numpy._core." in data
    old = load(written(tmp_path / "a.pkl", data.replace(b"numpy._core.", b"numpy.core.")))
    np.testing.assert_array_equal(old, ARRAYS["pose"])


class Calls:
    """Pickled, it asks its reader to call something."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.mkdir, eval, getattr, np.zeros, open])
def test_a_call_is_refused_by_name_and_not_made(tmp_path, function, protocol):
    path = tmp_path / "made"
    data = pickle.dumps({"keypoints": Calls(function, str(path))}, protocol)
    with pytest.raises(SignBindError, match=f"pickle: found \\S*{function.__name__}, wanted") as e:
        load(written(tmp_path / "a.pkl", data))
    assert not path.exists() and "\n" not in str(e.value)


def array_state(shape: object, dtype: bytes, data: bytes) -> bytes:
    """A pickled array with the state that is given."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR(K\x01"
        + pickle.dumps(shape, 2)[2:-1]
        + b"cnumpy\ndtype\n("
        + dtype
        + b"tR(K\x03U\x01<NNNJ\xff"
        b"\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + data + b"tb."
    )


def test_the_state_of_an_array_is_what_the_next_tests_break(tmp_path):
    data = array_state((2,), b"U\x02u1", b"C\x02\x01\x02")
    assert list(load(written(tmp_path / "a.pkl", data))) == [1, 2]


HUGE = struct.pack("<I", 2**32 - 1)
HOSTILE = {
    "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "a frame that is not there": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"].",
    "an instance": b"(ios\nsystem\n.",
    "an object": b"(cbuiltins\nset\no.",
    "a new object": b"\x80\x02cbuiltins\nset\n)\x81.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pabc\n.",
    "a buffer from outside": b"\x80\x05\x97.",
    "bytes by number": b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.",
    "a bytearray by number": b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",
    "a huge empty array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    b"(J\xff\xff\xff\x7ftC\x01btR.",
    "an array larger than its data": array_state((2**31, 2**31), b"U\x02u1", b"C\x02\x01\x02"),
    "an array of negative size": array_state((-2, -1), b"U\x02u1", b"C\x02\x01\x02"),
    "an array of objects": array_state((1,), b"U\x02O8", b"]K\x01a"),
    "an array of records": array_state((1,), b"U\x05f4,f4", b"C\x081234567"),
    "attributes of a builder": b"cbuiltins\nset\n}U\x08__code__K\x01sb(tR.",
    "a memo place that is not there": b"\x80\x04j" + HUGE + b".",
    "a frame of 8 GiB": b"\x80\x04\x95" + struct.pack("<Q", 2**33 + 1) + b"].",
    "a whole number without end": b"\x80\x04\x8b\x00\x01\x00\x00" + b"\x7f" * 256 + b".",
    "a name that breaks the line": b"\x80\x04\x8c\x02a\nq\x01h\x01\x93.",
    "text of an unknown encoding": b"U\x02\xc3\xa4.",
    "no pickle": b"PK\x03\x04 not at all",
    "nothing": b"",
    "half a gzip": gzip.compress(b"x" * 100)[:20],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_do_harm_is_one_line(tmp_path, what):
    path = written(tmp_path / "a.pkl", HOSTILE[what])
    with pytest.raises(SignBindError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


def test_what_unpacks_to_more_than_allowed_is_refused(tmp_path):
    bomb = written(tmp_path / "a.pkl", gzip.compress(pickle.dumps(b"0" * 10**6)))
    assert load(bomb, most_bytes=2 * 10**6) == b"0" * 10**6
    for path in (bomb, written(tmp_path / "b.pkl", pickle.dumps(b"0" * 10**6))):
        with pytest.raises(SignBindError, match="more than 500000 bytes unpacked"):
            load(path, most_bytes=500_000)


@pytest.mark.parametrize("copies", [b"c_codecs\nencode\n", b"cbuiltins\nbytearray\n", b"array"])
def test_a_string_is_not_copied_without_end(tmp_path, copies):
    text = b"\x8c\xc8" + b"x" * 200 + b"q\x090"  # into the memo, off the stack
    one = copies + b"(h\x09\x8c\x06latin1tR"
    if copies == b"array":
        text = b"C\xc8" + b"x" * 200 + b"q\x090"
        one = array_state((200,), b"U\x02u1", b"h\x09")[:-1]
    data = b"\x80\x04" + text + b"](" + one * 100 + b"e."
    assert len(load(written(tmp_path / "a.pkl", data))) == 100
    with pytest.raises(SignBindError, match="more memory or time"):
        load(written(tmp_path / "a.pkl", data), most_bytes=len(data))


def doubled(times: int, first: bytes = b"K\x01") -> bytes:
    """A tuple of two tuples of two tuples ..., each a few bytes: 2^times of the first."""
    return b"\x80\x04" + first + b"2\x86" * times


ARRAY_OF_TWO = array_state((2,), b"U\x02u1", b"C\x02\x01\x02")[:-1]
BOMBS = {
    "tuples of tuples": doubled(40) + b".",
    "lists of lists": b"\x80\x04]"
    + b"".join(
        b"q" + bytes([i]) + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(40)
    )
    + b".",
    "a list in itself": b"\x80\x04]q\x01h\x01a.",
    "nested without end": b"\x80\x04K\x01" + b"\x85" * 100_000 + b".",
    "a string again and again": b"\x80\x04\x8c\xc8" + b"x" * 200 + b"2\x86" * 20 + b".",
    "an array again and again": doubled(30, ARRAY_OF_TWO) + b".",
    "a key that takes for ever to hash": b"\x80\x04}" + doubled(40)[2:] + b"K\x01s.",
    "a member that takes for ever to hash": b"\x80\x04\x8f(" + doubled(40)[2:] + b"\x90.",
    "a frozen set of it": b"\x80\x04(" + doubled(40)[2:] + b"\x91.",
    "a call of set with it": b"cbuiltins\nset\n(]" + doubled(40)[2:] + b"atR.",
    "a type named by it": b"cnumpy\ndtype\n(" + doubled(40)[2:] + b"tR.",
    "an encoding named by it": b"c_codecs\nencode\n(X\x01\x00\x00\x00a" + doubled(40)[2:] + b"tR.",
    "keys of one hash": b"\x80\x04}("
    + b"".join(
        b"\x8a\x0b" + (k * (2**61 - 1)).to_bytes(11, "little") + b"N" for k in range(2**10, 2**14)
    )
    + b"u.",
    "a shape of huge numbers": array_state((2**4000,) * 30, b"U\x02u1", b"C\x02\x01\x02"),
    "a million empty sets": gzip.compress(b"\x80\x04" + b"\x8f" * 2**20 + b"."),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_few_bytes_cannot_stand_for_endless_data(tmp_path, what):
    with pytest.raises(SignBindError) as raised:
        load(written(tmp_path / "a.pkl", BOMBS[what]), most_bytes=2**25)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pkl")
    with pytest.raises(SignBindError, match="a.pkl: found a named pipe, wanted a file"):
        load(tmp_path / "a.pkl")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(SignBindError, match="none.pkl: cannot be read: No such file"):
        load(tmp_path / "none.pkl")


def test_damage_never_does_more_than_fail(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "a.pkl"
    for protocol in (2, 4, 5):
        data = pickle.dumps([PLAIN, ARRAYS["score"][:, :5]], protocol)
        for end in range(0, len(data), 2):
            with pytest.raises(SignBindError):
                load(written(path, data[:end]))
        for _ in range(300):
            broken = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            try:
                load(written(path, bytes(broken)))
            except SignBindError as error:
                assert "\n" not in str(error)
