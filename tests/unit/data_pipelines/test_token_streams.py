"""Token streams in files: what is read, what is told in one line, and what a dataset keeps."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.data.clip import TimedToken
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines.readers import token_streams
from signbind_jax.errors import SignBindError
from signbind_jax.streams import NOT_EXPERTS
from tests import frame_corpora

LINE = {
    "id": "a/1",
    "text": "Hello Anna.",
    "signer": "kim",
    "gloss": ["HELLO", "ANNA"],
    "fps": 25,
    "n_frames": 50,
    "streams": {"gloss": [["HELLO", 2, 18], ["ANNA", 18, 50, 0.8]], "mouth": []},
}
SECONDS = {"id": "b", "text": "Yes.", "seconds": 1.5, "streams": {"mouth": [["m1", 0.1, 1.5]]}}


def without(*names, **more) -> dict:
    return {name: value for name, value in LINE.items() if name not in names} | more


def tokens(*rows) -> dict:
    return LINE | {"streams": {"mouth": list(rows)}}


def write(path: Path, *lines) -> Path:
    data = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())
    return path


def read(path: Path) -> list:
    return [token_streams.clip_of(line) for line in token_streams.read_lines(path)]


def build(source, out, *more) -> int:
    options = [f"--source={source}", f"--out={out}", "--workers=1"]
    return cli.main(["data", "build", "streams", *options, *more])


@pytest.mark.parametrize("name", ["clips.jsonl", "clips.jsonl.gz"])
def test_frames_and_seconds_are_read_as_seconds_of_float32(tmp_path, name):
    first, second = read(write(tmp_path / name, LINE, "", SECONDS))
    assert first.streams == {
        "gloss": (TimedToken("HELLO", 0.08, 0.72), TimedToken("ANNA", 0.72, 2.0, 0.8)),
        "mouth": (),
    }
    assert (first.seconds, second.seconds) == (2.0, 1.5)
    assert first.gloss == ("HELLO", "ANNA") and (first.signer, first.text_language) == ("kim", "")
    assert second.streams == {"mouth": (TimedToken("m1", 0.1, 1.5),)}


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    times = np.sort(np.random.default_rng(0).uniform(0, 9, 40).astype(np.float32))
    rows = [["x", float(start), 9.5, float(start) / 9.5] for start in times]
    (clip,) = read(write(tmp_path / "a.jsonl", SECONDS | {"seconds": 9.5, "streams": {"s": rows}}))
    token_streams.write_clips(tmp_path / "b.jsonl.gz", [clip], "dev")
    (again,) = read(tmp_path / "b.jsonl.gz")
    assert again == clip
    assert (np.array([t.start for t in again.streams["s"]], np.float32) == times).all()
    assert token_streams.read_lines(tmp_path / "b.jsonl.gz")[0].split == "dev"


# What is wrong, and whether the schema says so too.
BAD = {
    "[1]: wanted an object": ([1], True),
    "not readable as JSON": ("{", None),
    "id: found nothing": (without("id"), True),
    "id: found 3": (LINE | {"id": 3}, True),
    "id: found nothing, wanted a name": (LINE | {"id": ""}, True),
    "leaves the directory": (LINE | {"id": "../x"}, False),
    "unknown name 'stream'; did you mean 'streams'": (LINE | {"stream": {}}, True),
    "text: found 5": (LINE | {"text": 5}, True),
    "gloss: found ['A', '']": (LINE | {"gloss": ["A", ""]}, True),
    "no duration, wanted fps and n_frames": (without("fps", "n_frames"), True),
    "found fps and n_frames and seconds": (LINE | {"seconds": 2}, True),
    "n_frames: found nothing": (without("n_frames"), True),
    "n_frames: found 50.5": (LINE | {"n_frames": 50.5}, True),
    "n_frames: found 0, wanted above 0, at most 50,000": (LINE | {"n_frames": 0}, True),
    "fps: found 0, wanted 1 to 1,000": (LINE | {"fps": 0}, True),
    "fps: found nan": ('{"id": "a", "fps": NaN, "n_frames": 5, "streams": {"s": []}}', None),
    "seconds: found -1": (SECONDS | {"id": "c", "seconds": -1}, True),
    "streams: found nothing": (without("streams"), True),
    "streams: found none": (LINE | {"streams": {}}, True),
    "streams: found [], wanted dict": (LINE | {"streams": []}, True),
    "stream 'Mouth': wanted a name of lower-case": (LINE | {"streams": {"Mouth": []}}, True),
    "stream 'fusion': wanted a name": (LINE | {"streams": {"fusion": []}}, True),
    "stream 'mouth': found 'x', wanted a list": (LINE | {"streams": {"mouth": "x"}}, True),
    "token 0: found ['x', 1], wanted [token, start, end]": (tokens(["x", 1]), True),
    "token 0: found ['x', 1, 2, 0.5, 3]": (tokens(["x", 1, 2, 0.5, 3]), True),
    "token 0: found ''": (tokens(["", 1, 2]), True),
    "token 0: found ' x'": (tokens([" x", 1, 2]), True),
    "token 0: found 7": (tokens([7, 1, 2]), True),
    "token 1 'y': start: found '2', wanted a number": (tokens(["x", 1, 2], ["y", "2", 3]), True),
    "token 0 'x': start: found True": (tokens(["x", True, 2]), True),
    "token 0 'x': start: found -1, wanted a number from 0 to 50": (tokens(["x", -1, 2]), True),
    "token 0 'x': end: found nan": (
        json.dumps(tokens(["x", 1, float("nan")])),
        None,
    ),
    "token 0 'x': end: found inf": (json.dumps(tokens(["x", 1, float("inf")])), None),
    "token 0 'x': end: found 1, wanted a number from 2 to 50": (tokens(["x", 2, 1]), False),
    "token 0 'x': end: found 51": (tokens(["x", 2, 51]), False),
    "token 1 'y': start: found 1, wanted a number from 2": (
        tokens(["x", 2, 3], ["y", 1, 3]),
        False,
    ),
    "token 0 'x': confidence: found 1.5, wanted a number from 0 to 1": (
        tokens(["x", 2, 3, 1.5]),
        True,
    ),
}


@pytest.mark.parametrize("told", BAD, ids=list(BAD))
def test_a_bad_line_is_told_with_its_file_and_line(tmp_path, told):
    path = write(tmp_path / "bad.jsonl", SECONDS, BAD[told][0])
    with pytest.raises(SignBindError) as caught:
        read(path)
    error = str(caught.value)
    assert error.startswith(f"{path}:2: ") and "\n" not in error
    assert told.split(": ", 1)[-1] in error and told.split(":")[0] in error


def matches(value, schema: dict, root: dict) -> bool:
    """Whether a value is as a JSON Schema says, by the words that ours uses."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    known = {
        "$ref": lambda x: matches(value, root["$defs"][x.rsplit("/", 1)[1]], root),
        "type": lambda x: isinstance(value, kinds[x]) and not isinstance(value, bool),
        "required": lambda x: all(name in value for name in x),
        "properties": lambda x: all(
            matches(value[name], sub, root) for name, sub in x.items() if name in value
        ),
        "propertyNames": lambda x: all(matches(name, x, root) for name in value),
        "additionalProperties": lambda x: all(
            x and matches(item, x, root)
            for name, item in value.items()
            if name not in schema.get("properties", ())
        ),
        "minProperties": lambda x: len(value) >= x,
        "items": lambda x: all(
            x and matches(item, x, root) for item in value[len(schema.get("prefixItems", ())) :]
        ),
        "prefixItems": lambda x: all(
            matches(item, sub, root) for item, sub in zip(value, x, strict=False)
        ),
        "minItems": lambda x: len(value) >= x,
        "minLength": lambda x: len(value) >= x,
        "pattern": lambda x: re.search(x, value) is not None,
        "enum": lambda x: value in x,
        "minimum": lambda x: value >= x,
        "maximum": lambda x: value <= x,
        "exclusiveMinimum": lambda x: value > x,
        "not": lambda x: not matches(value, x, root),
        "anyOf": lambda x: any(matches(value, sub, root) for sub in x),
        "oneOf": lambda x: sum(matches(value, sub, root) for sub in x) == 1,
    }
    words = {"$schema", "$defs", "title", "description"}
    assert schema.keys() <= known.keys() | words, "a word the schema did not use before"
    # `type` first: what else is said holds for that type alone.
    names = sorted(schema.keys() - words, key=lambda name: name != "type")
    return all(known[name](schema[name]) for name in names)


SCHEMA = json.loads(Path(token_streams.__file__).with_name("token_streams.schema.json").read_text())


def test_the_schema_takes_what_the_reader_takes(tmp_path):
    every = LINE | {"split": "dev", "text_language": "en", "signed_language": "ase"}
    every |= {"spelled": ["anna"], "phonemes": [], "fusion_targets": ["hello", "fs-anna"]}
    for i, line in enumerate([LINE, SECONDS, every, without("text")]):
        assert matches(line, SCHEMA, SCHEMA)
        assert len(read(write(tmp_path / f"{i}.jsonl", line))) == 1
    assert set(SCHEMA["properties"]) == set(token_streams.FIELDS)
    assert SCHEMA["properties"]["streams"]["propertyNames"]["not"]["enum"] == list(NOT_EXPERTS)


@pytest.mark.parametrize("told", [told for told, (_, seen) in BAD.items() if seen is not None])
def test_the_schema_refuses_what_it_can_say_of_a_bad_line(told):
    line, seen = BAD[told]
    assert matches(line, SCHEMA, SCHEMA) != seen


def test_every_fault_of_a_file_is_counted_and_ids_occur_once(tmp_path):
    path = write(tmp_path / "a.jsonl", LINE, LINE, "{", "nothing")
    with pytest.raises(SignBindError, match=r"a.jsonl:2: id: 'a/1' stands on line 1 too.*2 more"):
        token_streams.read_lines(path)
    with pytest.raises(SignBindError, match="empty.jsonl: found no line"):
        token_streams.read_lines(write(tmp_path / "empty.jsonl", ""))
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    with pytest.raises(SignBindError, match=r"torn.jsonl.gz: cannot be unpacked"):
        token_streams.read_lines(tmp_path / "torn.jsonl.gz")


def test_a_directory_becomes_a_dataset_with_its_streams(tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    bad = tokens(["x", 2, 51]) | {"id": "bad"}
    write(source / "train.jsonl", LINE, SECONDS, bad, without("text", id="mute"))
    write(source / "dev.jsonl.gz", LINE | {"id": "c", "text_language": "nl"})
    assert build(source, tmp_path / "data", "--text_language=de") == 0
    told = capsys.readouterr().out
    assert "train.jsonl:3: clip 'bad': stream 'mouth': token 0 'x': end: found 51" in told
    assert "left out: train.jsonl:4: clip 'mute': empty text: 1 (mute)" in told
    data = open_dataset(tmp_path / "data")
    assert data.splits == {"train": 2, "dev": 1} and data.description["streams"] == [
        "gloss",
        "mouth",
    ]
    clips = data.split("train")
    assert clips.streams == ("gloss", "mouth") and clips[0] == clips.labels[0]
    assert clips[0].streams["gloss"][1] == TimedToken("ANNA", 0.72, 2.0, 0.8)
    assert clips[0].streams["mouth"] == () and "gloss" not in clips[1].streams
    languages = [clip.text_language for clip in (*clips.labels, *data.split("dev").labels)]
    assert languages == ["de", "de", "nl"]


def test_lines_of_a_file_say_their_split(tmp_path):
    path = write(tmp_path / "mine.jsonl", LINE, SECONDS | {"split": "test"})
    assert build(path, tmp_path / "data") == 0
    assert open_dataset(tmp_path / "data").splits == {"mine": 1, "test": 1}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "found no .jsonl or .jsonl.gz file"),
        ({"a.jsonl": LINE, "a.jsonl.gz": SECONDS}, "found a.jsonl beside it"),
        ({"a.jsonl": LINE | {"split": "b"}}, "a.jsonl:1: split: found 'b', wanted 'a'"),
        ({"a.jsonl": LINE, "b.jsonl": LINE}, "id: 'a/1' stands in split a too"),
    ],
)
def test_what_is_no_corpus_is_told(tmp_path, capsys, files, told):
    source = tmp_path / "source"
    source.mkdir()
    for name, line in files.items():
        write(source / name, line)
    assert build(source, tmp_path / "data") == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_folder_corpus_takes_tokens_and_times_from_a_file(tmp_path, capsys):
    frame_corpora.write_pose(tmp_path / "p.npz", 50, fps=25)
    write(tmp_path / "read.jsonl", LINE, SECONDS)
    rows = [
        "id|split|text|gloss|pose|streams",
        "a/1|train|Bye.|BYE|p.npz|read.jsonl",
        "b|train|No.||read.jsonl",
        "c|train|Maybe.||p.npz|read.jsonl",
        "b2|train|None.||p.npz|",
    ]
    rows[2] = "b|train|No.|||read.jsonl"
    (tmp_path / "manifest.tsv").write_text("\n".join(rows).replace("|", "\t"))
    out = tmp_path / "data"
    folder = ["data", "build", "folder", f"--source={tmp_path}", f"--out={out}", "--workers=1"]
    assert cli.main(folder) == 0
    told = capsys.readouterr().out
    assert "left out: found no clip 'c' among its 2, wanted a line with that id: 1 (c)" in told
    both, alone, pose = open_dataset(out).split("train")
    assert (both.text, both.gloss, both.signer) == ("Bye.", ("BYE",), "")
    assert both.streams["gloss"][0].token == "HELLO" and both.n_frames("pose") == 50
    assert not alone.modalities and alone.seconds == 1.5 and not pose.streams


def test_tokens_of_another_duration_than_the_pose_are_left_out(tmp_path, capsys):
    frame_corpora.write_pose(tmp_path / "p.npz", 60, fps=25)
    write(tmp_path / "read.jsonl", LINE, SECONDS)
    rows = ["id|split|text|pose|streams", "a/1|train|x|p.npz|read.jsonl", "b|train|x||read.jsonl"]
    (tmp_path / "manifest.tsv").write_text("\n".join(rows).replace("|", "\t"))
    folder = ["data", "build", "folder", f"--source={tmp_path}", f"--out={tmp_path / 'data'}"]
    assert cli.main([*folder, "--workers=1"]) == 0
    assert "pose lasts 2.40 s and streams 2.00 s" in capsys.readouterr().out
