"""Subtitle files: read back, they say what was written, in legal cues."""

import io
from xml.etree import ElementTree

import pytest
import webvtt
from pympi.Elan import Eaf

from signbind_jax.data.clip import TimedToken
from signbind_jax.data_pipelines.readers.subtitles import read_subtitles
from signbind_jax.use.subtitles import (
    CUE_LINES,
    LINE_CHARACTERS,
    TimedSentence,
    cues,
    timestamp,
    to_elan,
    to_srt,
    to_webvtt,
)
from signbind_jax.use.translation import Translation


def sentence(start_s: float, end_s: float, text: str, **streams) -> TimedSentence:
    return TimedSentence(start_s, end_s, Translation("a", text, streams, [], []))


LONG = "The quick brown fox jumps over the lazy dog and does it again. " * 4
SENTENCES = [
    sentence(0.5, 2.25, "Tom & <b>Ann</b> --> here\nand\x1b there"),
    sentence(2.25, 9.0, LONG),
    sentence(9.0, 9.5, ""),
    sentence(3600.0, 3601.2, "猫" * 100),
]


def test_webvtt_says_every_sentence_in_order(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text(to_webvtt(SENTENCES))
    found = read_subtitles(path)
    assert not found.n_unreadable
    assert found.cues[0].text == "Tom & <b>Ann</b> --> here and there"
    assert found.cues[0][:2] == (500, 2250)
    long = [cue for cue in found.cues if 2250 <= cue.start_ms < 9000]
    assert len(long) > 1 and " ".join(cue.text for cue in long) == LONG.strip()
    assert long[0].start_ms == 2250 and long[-1].end_ms == 9000
    assert "".join(c.text.replace(" ", "") for c in found.cues if c.start_ms >= 3.6e6) == "猫" * 100


@pytest.mark.parametrize(("write", "kind"), [(to_webvtt, "vtt"), (to_srt, "srt")])
def test_cues_are_short_and_one_after_the_other(write, kind):
    captions = webvtt.from_buffer(io.StringIO(write(SENTENCES)), kind).captions
    times = [t for c in captions for t in (c.start_time, c.end_time)]
    ms = [t.in_milliseconds() for t in times]
    assert ms == sorted(ms) and all(a < b for a, b in zip(ms[::2], ms[1::2], strict=True))
    assert len(captions) == len(cues(SENTENCES)) > 5
    lines = [caption.text.split("\n") for caption in captions]
    assert max(map(len, lines)) == CUE_LINES
    shown = [cue.lines for cue in cues(SENTENCES)]
    assert max(len(line) for cue in shown for line in cue) <= LINE_CHARACTERS


def test_srt_keeps_text_that_players_would_take_for_tags():
    text = to_srt(SENTENCES[:1])
    assert text == "1\n00:00:00,500 --> 00:00:02,250\nTom & ‹b›Ann‹/b› --› here and there\n"


def test_time_is_shared_by_characters_and_every_cue_has_some():
    found = cues([sentence(0, 10, LONG)])
    n = [sum(map(len, cue.lines)) for cue in found]
    for cue, own in zip(found, n, strict=True):
        assert abs((cue.end_ms - cue.start_ms) - 10_000 * own / sum(n)) <= 2
    crowded = cues([sentence(0, 0.001, LONG), sentence(0.001, 0.002, LONG)])
    assert all(cue.end_ms > cue.start_ms for cue in crowded)
    assert all(a.end_ms <= b.start_ms for a, b in zip(crowded, crowded[1:], strict=False))


def test_elan_has_a_tier_of_sentences_and_one_a_stream(tmp_path):
    tokens = [
        TimedToken("HOUSE", 0.5, 0.9, 0.8),
        TimedToken("BIG", 0.8, 0.8),
        TimedToken("A<B", 1, 2),
    ]
    written = [sentence(0.5, 2.25, "A big & old house", signing=tokens), *SENTENCES[1:]]
    path = tmp_path / "a.eaf"
    path.write_text(to_elan(written, tmp_path / "talk & more.mp4"))
    found = Eaf(str(path))
    assert list(found.get_tier_names()) == ["sentence", "signing"]
    rows = found.get_annotation_data_for_tier("sentence")
    assert rows[0] == (500, 2250, "A big & old house") and rows[1][2] == LONG.strip()
    signing = found.get_annotation_data_for_tier("signing")
    assert [row[2] for row in signing] == ["HOUSE", "BIG", "A<B"]
    assert signing[:2] == [(500, 900, "HOUSE"), (900, 901, "BIG")]  # those of a tier do not overlap
    media = ElementTree.parse(path).find(".//MEDIA_DESCRIPTOR").attrib
    assert media["MIME_TYPE"] == "video/mp4" and media["MEDIA_URL"].endswith(
        "talk%20%26%20more.mp4"
    )


def test_timestamps_have_hours():
    assert timestamp(0.0004) == "00:00:00.000" and timestamp(36_061.2345) == "10:01:01.234"
    assert timestamp(59.9996) == "00:01:00.000"
