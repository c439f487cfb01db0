"""Files that carry a digest of themselves: any changed byte is noticed, or changes nothing."""

import json

import pytest

from signbind_jax import sealed
from signbind_jax.errors import SignBindError
from signbind_jax.train.metric_lines import line_of, record_of

RECORD = {"step": 4, "scores": {"bleu4": 12.5, "é": None}, 2: [1, "x"], "10": float("nan")}


def test_what_was_sealed_is_read_back(tmp_path):
    sealed.write(tmp_path / "a.json", RECORD)
    assert repr(sealed.read(tmp_path / "a.json")) == repr(json.loads(json.dumps(RECORD)))


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    sealed.write(path, RECORD)
    wanted, content = repr(sealed.read(path)), path.read_bytes()
    found = 0
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert repr(sealed.read(path, frozenset(RECORD))) == wanted
        except SignBindError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            found += 1
    assert found > 7 * len(content)


def test_only_the_keys_of_before_are_taken_without_a_digest(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"step": 4}')
    assert sealed.read(path, frozenset({"step", "scores"})) == {"step": 4}
    for content in ('{"step": 4, "more": 1}', "{}", "[]", "3"):
        path.write_text(content)
        with pytest.raises(SignBindError, match="a.json"):
            sealed.read(path, frozenset({"step", "scores"}))


def test_a_changed_line_of_metrics_is_noticed():
    line = line_of({"step": 4, "kind": "train", "seconds": 1.5, "loss": 2.25, "x": float("inf")})
    assert record_of(line.encode())["loss"] == 2.25
    assert record_of(b'{"step": 4, "loss": 2.5}') == {
        "step": 4,
        "loss": 2.5,
        "kind": "train",
        "seconds": 0.0,
    }
    for changed in (
        line.replace("2.25", "2.35"),
        line[:20],
        "",
        "[]",
        '{"step": "x"}',
        "\x80",
        '{"step": 1, "seconds": null}',
    ):
        assert record_of(changed.encode("latin-1")) is None
