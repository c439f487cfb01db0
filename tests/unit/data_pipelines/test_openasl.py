import pickle

import pytest

from signbind_jax.data_pipelines import openasl
from signbind_jax.data_pipelines.corpus import Recording
from tests.timed_corpora import (
    OPENASL_HEADER,
    assert_is,
    build,
    error_of,
    write_openasl,
    write_pose,
)

YID = "-0Tk_x-yZ12"
LANGUAGES = {"text_language": "en", "signed_language": "ase"}


def row(
    start: str, end: str, text: str, split: str = "train", yid: str = YID, vid: str = ""
) -> str:
    """A line of the table, fields separated by "|"."""
    return f"{vid or f'{yid}-{start}-{end}'}|{yid}|{start}|{end}|{text}|{text.lower()}|A B|{split}"


ROWS = (
    row("00:00:05.333", "00:00:11.166", 'She said ""hi"".'.join('""')),
    row("00:01:00.000", "00:01:02.000", '"Quoted" in part'),
    row("00:02:00.000", "00:02:02.000", '"An open quote'),
    row("01:00:00.000", "01:00:02.000", "Held out.", "valid"),
    row("00:03:00.000", "00:03:02.000", "Tested.", "test"),
)
TEXTS = ('She said "hi".', '"Quoted" in part', '"An open quote', "Held out.", "Tested.")
SPANS_S = (5.833, 2.0, 2.0, 2.0, 2.0)
BROKEN = {
    "row given twice": row("00:01:00.000", "00:01:02.000", '"Quoted" in part'),
    "sentence that does not end after it starts": row("00:00:09.000", "00:00:09.000", "x"),
    "times that cannot be read": row("0h09", "00:00:10.000", "x"),
    "sentence without a word": row("00:00:20.000", "00:00:21.000", "..."),
    "split that is no name": row("00:00:22.000", "00:00:23.000", "x", ""),
    "vid that is no name": row("00:00:24.000", "00:00:25.000", "x", vid="../x"),
    "yid that is no name": row("00:00:26.000", "00:00:27.000", "x", yid="a/b", vid="c"),
}


def id_of(line: str) -> str:
    return line.split("|")[0]


@pytest.fixture
def source(tmp_path):
    other = (
        row("00:00:30.000", "00:00:31.000", "One."),
        row("00:00:30.000", "00:00:31.000", "Two."),
    )
    write_openasl(
        tmp_path / "openasl" / "data" / "openasl-v1.0.tsv",
        *ROWS,
        *BROKEN.values(),
        *other,
        "cut|off",
        "",
        lead="\ufeff",
    )
    return tmp_path / "openasl"


def test_the_table_becomes_a_dataset(tmp_path, source):
    poses = tmp_path / "poses"
    wanted = {}
    for line, seconds, mark in zip(ROWS, SPANS_S, ":-_::"):
        wanted[id_of(line)] = write_pose(poses / f"{id_of(line).replace(':', mark)}.npz", seconds)
    clips, report, info = build(
        tmp_path / "out", "openasl", f"--source={source}", f"--poses={poses}"
    )
    assert {split: len(found) for split, found in clips.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    found = [clip for split in ("train", "validation", "test") for clip in clips[split]]
    for clip, line, text in zip(found, ROWS, TEXTS):
        assert_is(clip, wanted[id_of(line)], id=id_of(line), text=text, **LANGUAGES)
    assert report.left_out == {
        **{reason: [id_of(line)] for reason, line in BROKEN.items()},
        "several rows of that vid, which differ": [f"{YID}-00:00:30.000-00:00:31.000"] * 2,
        "line with another number of fields than the header": ["line 16"],
    }
    assert info.description["source"]["licence"] == "CC BY-NC-ND 4.0"


def test_columns_are_found_by_name_and_other_line_ends_are_read(tmp_path):
    header = "split end start yid vid en"
    line = f"train|11.5|5|{YID}|clip|A\u2028text.\r"
    write_openasl(tmp_path / "openasl-v1.0.tsv", line, header=header + "\r")
    (found,) = openasl.open_corpus(tmp_path, text_column="en").splits["train"]
    assert found == ("clip", YID, 5000, 11_500, "A text.", (), ())


def test_recordings_are_cut_clips_or_spans_of_whole_videos(tmp_path, source):
    first, second, third = openasl.open_corpus(source).splits["train"]
    cut = source / "clips" / f"{first.id.replace(':', '-')}.mp4"
    cut.parent.mkdir()
    cut.write_bytes(b"")
    whole = source / "raw-video" / f"{YID}.mp4"
    whole.parent.mkdir()
    assert openasl.open_corpus(source).recording(second) is None
    whole.write_bytes(b"")
    corpus = openasl.open_corpus(source)
    assert corpus.recording(first) == Recording(cut.resolve())
    assert corpus.recording(second) == Recording(whole.resolve(), 60.0, 62.0)
    assert pickle.loads(pickle.dumps(corpus.read))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("00:00:99.000", "times that cannot be read"),
        ("00:99:09.000", "times that cannot be read"),
        ("00:00:\u0669.000", "times that cannot be read"),
        ("1e400", "times that cannot be read"),
        ("nan", "times that cannot be read"),
    ],
)
def test_times_that_no_clock_shows_leave_the_row_out(tmp_path, end, reason):
    line = row("00:00:01.000", end, "x", vid="a")
    write_openasl(tmp_path / "openasl-v1.0.tsv", line)
    assert openasl.open_corpus(tmp_path).left_out == {reason: ["a"]}


@pytest.mark.parametrize("vid", ["a\x1b[31m", "a\0b", "x" * 2000, "..", ".", "a/b", "/a"])
def test_a_name_that_no_file_can_have_is_reported_escaped(tmp_path, vid):
    write_openasl(tmp_path / "openasl-v1.0.tsv", row("00:01.000", "00:02.000", "x", vid=vid))
    ((reason, names),) = openasl.open_corpus(tmp_path).left_out.items()
    assert reason == "vid that is no name" and names[0].isprintable() and len(names[0]) < 100


@pytest.mark.parametrize(
    ("header", "options", "said"),
    [
        (OPENASL_HEADER.replace("raw-text", "en"), [], "column 'raw-text': missing, wanted one"),
        (OPENASL_HEADER.replace("gloss", "split"), [], "column 'split': found twice, wanted one"),
        (OPENASL_HEADER, ["--text_column=english"], "column 'english': missing"),
        (OPENASL_HEADER, ["--source={source}/.."], "the corpus seems to be in {source}"),
        (OPENASL_HEADER, ["--source={source}/raw"], "the corpus seems to be in {source}"),
        (OPENASL_HEADER, ["--clips=nowhere"], "--clips: nowhere: found no such directory"),
        (OPENASL_HEADER, [], "no clip to write"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, capsys, header, options, said):
    source = tmp_path / "openasl"
    write_openasl(source / "openasl-v1.0.tsv", *ROWS, header=header)
    (source / "raw").mkdir()
    options = [text.format(source=source) for text in (f"--source={source}", *options)]
    error = error_of(capsys, tmp_path, "openasl", *options)
    assert said.format(source=source.resolve()) in error


def test_a_table_that_is_not_utf_8_is_one_line(tmp_path, capsys):
    (tmp_path / "openasl-v1.0.tsv").write_bytes(OPENASL_HEADER.encode("utf-16"))
    assert "is not UTF-8" in error_of(capsys, tmp_path, "openasl", f"--source={tmp_path}")
