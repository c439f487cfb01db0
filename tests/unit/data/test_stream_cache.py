"""Cached streams are those that were read, or are read again."""

from types import SimpleNamespace

import numpy as np
import pytest

from signbind_jax.data.stream_cache import ExpertTokens, cached

TOKENS = ExpertTokens(
    first=np.array([0, 2, 3]),
    ids=np.array([1, 2, 3], np.int32),
    hidden=np.arange(6, dtype=np.float16).reshape(3, 2),
    start=np.arange(3, dtype=np.float32),
    end=np.arange(3, dtype=np.float32) + 1,
    confidence=np.ones(3, np.float32),
)


def same(found: ExpertTokens) -> bool:
    return all(np.array_equal(x, getattr(found, name)) for name, x in vars(TOKENS).items())


def read_again(directory, split: str = "split") -> bool:
    """Whether the streams came from the expert and not from the file; they have to be right."""
    calls = []
    assert same(cached(directory, split, "expert", lambda: calls.append(1) or TOKENS))
    return bool(calls)


def test_streams_are_read_once(tmp_path):
    assert read_again(tmp_path)
    assert not read_again(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_of_before_is_read(tmp_path):
    of_before = SimpleNamespace(**vars(TOKENS), overflow=np.zeros(2, np.int32))
    cached(tmp_path, "split", "expert", lambda: of_before)
    assert not read_again(tmp_path)


@pytest.mark.parametrize("damage", ["", "cut", "swapped", "without a digest", "other arrays"])
def test_a_damaged_file_is_told_and_made_again(tmp_path, caplog, damage):
    assert read_again(tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == "swapped":
        assert read_again(tmp_path, "another split")
        (other,) = {*tmp_path.iterdir()} - {path}
        path.write_bytes(other.read_bytes())
    elif damage == "without a digest":
        np.savez(path, **vars(TOKENS))
    elif damage == "other arrays":
        np.savez(path, ids=np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[: 300 if damage else 0])
    assert read_again(tmp_path)
    assert str(path) in caplog.messages[0]
    assert not read_again(tmp_path)


def test_a_flipped_bit_changes_no_stream(tmp_path):
    assert read_again(tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    again = 0
    for place in rng.choice(8 * len(content), 150, replace=False):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        again += read_again(tmp_path)
    assert again > 75
