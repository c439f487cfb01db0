import pytest

from signbind_jax.data_pipelines.readers.subtitles import Cue, read_subtitles
from signbind_jax.errors import SignBindError
from tests.timed_corpora import write_vtt


def test_what_files_in_use_hold_is_read(tmp_path):
    path = tmp_path / "a.vtt"
    write_vtt(
        path,
        "STYLE\n::cue { color: red }",
        "NOTE 00:00:01.000 is a time in a note",
        "later\n01:00:02.250 --> 01:00:04.000 line:90% align:middle\n<v Anna>Good\n evening</v>",
        "00:02.500 --> 00:00:03.000\n<00:00:02.600><c>5 < 6</c> &lt;b&gt; &amp;amp;\u200b&nbsp;x",
        "00:00:01.000 --> 00:00:03.100\nOverlaps",
        "00:00:09.000 --> 00:00:08.000\n",
        head="\ufeffWEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0",
        line_end="\r\n",
    )
    cues, n_unreadable, n_rolled = read_subtitles(path)
    assert cues == [
        Cue(1000, 3100, "Overlaps"),
        Cue(2500, 3000, "5 < 6 <b> &amp; x"),
        Cue(9000, 8000, ""),
        Cue(3_602_250, 3_604_000, "Good evening"),
    ]
    assert n_unreadable == n_rolled == 0


def test_cues_whose_times_cannot_be_read_are_counted(tmp_path):
    write_vtt(
        tmp_path / "a.vtt",
        "00:00:01,000 --> 00:00:02,000\ncommas",
        "00:00:61.000 --> 00:01:02.000\nsixty-one seconds",
        "00:00:03.000 -> 00:00:04.000\nshort arrow",
        "00:00:05.000 --> later\nno end",
        (6, 7, "From 1:2 on --> it is fine"),
    )
    cues, n_unreadable, _ = read_subtitles(tmp_path / "a.vtt")
    assert [cue.start_ms for cue in cues] == [6000] and n_unreadable == 4


def test_rolling_captions_give_every_line_once(tmp_path):
    # As YouTube writes them: a line grows word by word, stays, and moves up.
    write_vtt(
        tmp_path / "a.vtt",
        "00:00:15.281 --> 00:00:17.483 align:start\n \nAm<00:00:15.314><c>ong</c> others",
        "00:00:17.483 --> 00:00:17.550 align:start\nAmong others\n ",
        "00:00:17.550 --> 00:00:20.586\nAmong others\nth<00:00:17.583><c>is</c> one",
        "00:00:20.586 --> 00:00:20.653\nthis one\n ",
        "00:00:30.000 --> 00:00:32.000\nthis one",
    )
    cues, _, n_rolled = read_subtitles(tmp_path / "a.vtt")
    assert cues == [
        Cue(15281, 17483, "Among others"),
        Cue(17550, 20586, "this one"),
        Cue(30000, 32000, "this one"),
    ]
    assert n_rolled == 2


def test_captions_that_do_not_roll_may_repeat_themselves(tmp_path):
    write_vtt(tmp_path / "a.vtt", (1, 2, "No."), (2, 3, "No."))
    assert [cue.text for cue in read_subtitles(tmp_path / "a.vtt").cues] == ["No.", "No."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1\n00:00:01,000 --> 00:00:02,000\nSubRip\n", "wanted WEBVTT"),
        (b"", "wanted WEBVTT"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\ncaf\u00e9".encode("latin-1"), "byte 35 is not UTF-8"),
        ("WEBVTT\n".encode("utf-16"), "byte 0 is not UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_webvtt_is_one_line(tmp_path, content, said):
    path = tmp_path / "a.vtt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SignBindError, match=said) as error:
        read_subtitles(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_reference_to_no_character_does_not_end_a_build(tmp_path):
    digits = "9" * 5000
    write_vtt(tmp_path / "a.vtt", (1, 2, f"a &#{digits}; b &#x{digits} &#65;&#xD800;"))
    (cue,) = read_subtitles(tmp_path / "a.vtt").cues
    assert cue.text == "a \ufffd b \ufffd A\ufffd"


def test_subtitles_of_days_are_refused_by_their_size(tmp_path):
    (tmp_path / "a.vtt").write_text("WEBVTT\n" + "\n" * 2**23)
    with pytest.raises(SignBindError, match=r"a\.vtt: found 8,388,615 bytes, wanted at most"):
        read_subtitles(tmp_path / "a.vtt")
