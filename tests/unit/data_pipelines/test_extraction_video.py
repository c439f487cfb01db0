"""Which frames of a recording are a clip: cutting, frame rates, orientation, broken files."""

import os
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signbind_jax.data_pipelines.extraction.worker import opening, video
from tests import drawn_faces

BITS, BLOCK = 8, 16  # a frame's number is written in black and white blocks


def numbered(n: int) -> list[np.ndarray]:
    """Frames that tell their number."""
    bits = (np.arange(n)[:, None] >> np.arange(BITS)) & 1
    rows = np.repeat(255 * bits, BLOCK, axis=1).astype(np.uint8)
    return [np.broadcast_to(row[None, :, None], (2 * BLOCK, BITS * BLOCK, 3)) for row in rows]


def number(picture: np.ndarray) -> int:
    """What `numbered` wrote."""
    picture_hw = picture.reshape(*picture.shape[:2], -1).mean(-1)
    return sum(
        int(picture_hw[:, BLOCK * i : BLOCK * (i + 1)].mean() > 128) << i for i in range(BITS)
    )


def clip(path: Path, *span, **options) -> tuple[list[int], video.Frames]:
    """The numbers of a clip's frames, repeated ones repeated."""
    frames = video.Frames(video.Span(path, *span), **options)
    read = []
    for picture, places in frames.frames():
        read += [number(picture)] * places
    return read, frames


@pytest.fixture(scope="module")
def steady(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "steady.mp4"
    return drawn_faces.write_video(path, numbered(100))


@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        ((0.0, None), 0, 99),
        ((1.0, 2.0), 25, 49),
        ((1.0, 1.04), 25, 25),
        ((1.01, 1.97), 26, 49),
        ((0.9996, 2.0004), 25, 49),  # rounded to milliseconds
        ((3.2, None), 80, 99),  # behind a seek
        ((2.6, 3.0), 65, 74),
        ((3.5, 99.0), 88, 99),
    ],
)
def test_a_clip_is_cut_to_the_frame(steady, span, first, last):
    read, frames = clip(steady, *span)
    assert read == list(range(first, last + 1))
    assert frames.fps == 25
    late = {"clips that end behind the video's end": 1} if span[1] == 99.0 else {}
    assert frames.notes == late


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "libx264"), ("mpg", "mpeg1video"), ("avi", "mpeg4"), ("ts", "mpeg2video")],
)
def test_containers_without_exact_times_lose_no_frame(tmp_path, suffix, codec):
    path = drawn_faces.write_video(tmp_path / f"v.{suffix}", numbered(90), 30, codec)
    assert clip(path)[0] == list(range(90))
    assert clip(path, 2.5, 2.8)[0] == list(range(75, 84))


def test_grey_frames_are_the_same_frames(steady):
    frames = video.Frames(video.Span(steady, 1.0, 2.0))
    grey = [picture for picture, _ in frames.frames(grey=True)]
    assert [number(picture) for picture in grey] == list(range(25, 50))
    assert grey[0].shape == (2 * BLOCK, BITS * BLOCK)


def test_a_variable_rate_becomes_steady_in_time(tmp_path):
    # A second at 30 frames a second, then a second at 10: 20 a second on average.
    times = [round(1000 * i / 30) for i in range(30)] + [1000 + 100 * i for i in range(10)]
    path = drawn_faces.write_video(tmp_path / "v.mp4", numbered(40), 30, times_ms=times)
    read, frames = clip(path)
    assert 19 < frames.fps < 23
    assert abs(len(read) / frames.fps - 2.0) < 0.1
    shown = [times[number] / 1000 for number in read]
    places = np.arange(len(read)) / frames.fps
    assert np.abs(shown - places).max() <= 0.051  # half of the longest step
    left_out = frames.notes["frames left out (faster than the stated rate)"]
    repeated = frames.notes["frames repeated (slower than the stated rate)"]
    assert repeated >= 8 and left_out >= 8
    assert len(read) == 40 - left_out + repeated


def test_a_frame_that_is_still_shown_when_the_clip_begins_belongs_to_it(tmp_path):
    times = [0, 100, 200, 300, 400, 1400, 1500, 1600, 1700, 1800, 1900, 2000]
    path = drawn_faces.write_video(tmp_path / "v.mp4", numbered(12), 10, times_ms=times)
    read, frames = clip(path, 0.9, 1.65)
    assert read[0] == 4 and read[-1] == 7
    assert abs(len(read) / frames.fps - 0.75) < 1 / frames.fps


def test_a_hole_in_time_is_told(tmp_path):
    path = drawn_faces.write_video(tmp_path / "v.mkv", numbered(3), times_ms=[0, 40, 60_000])
    with pytest.raises(video.Unreadable, match="no frame between 0.04 s and 60.00 s"):
        clip(path)


def rotated(path: Path, matrix: tuple[int, ...]) -> Path:
    """The MP4 with another display matrix in its track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def test_a_phone_held_upright_is_read_upright(tmp_path):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 255  # the upper left corner is white
    path = drawn_faces.write_video(tmp_path / "v.mp4", [picture] * 3)
    one = 1 << 16
    # As phones write it: shown after a quarter turn clockwise.
    rotated(path, (0, one, 0, -one, 0, 0, 0, 0, 1 << 30))
    ((turned, _), *_) = list(video.Frames(video.Span(path)).frames())
    assert turned.shape == (64, 48, 3)
    assert turned[:30, 26:].min() > 200 and turned[:30, :22].max() < 50


def test_pixels_become_square(tmp_path):
    path = drawn_faces.write_video(tmp_path / "v.mp4", numbered(3), ratio=Fraction(3, 2))
    ((picture, _), *_) = list(video.Frames(video.Span(path)).frames())
    assert picture.shape == (2 * BLOCK, 1.5 * BITS * BLOCK, 3)


def test_what_cannot_be_decoded_in_between_is_counted_and_time_is_kept(tmp_path):
    path = drawn_faces.write_video(tmp_path / "v.mov", numbered(50), codec="png")
    data = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(b"\x89PNG", data)]
    data[starts[20] : starts[20] + 30] = bytes(30)
    path.write_bytes(data)
    read, frames = clip(path)
    assert read == [*range(20), read[20], *range(21, 50)] and read[20] in (19, 21)
    assert frames.notes.pop("packets that cannot be decoded") == 1
    assert list(frames.notes.values()) == [1]  # the frame beside it stands in


def test_a_clip_behind_the_end_has_no_frames(steady):
    with pytest.raises(video.Unreadable, match="no frame from 9 s on, the last one is at 3.96 s"):
        clip(steady, 9.0, 10.0)


def test_an_endless_recording_is_no_clip(steady, monkeypatch):
    monkeypatch.setattr(video, "MOST_FRAMES", 50)
    with pytest.raises(video.Unreadable, match="more than 50 frames"):
        clip(steady)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"this is no video" * 99, "cannot be read as a video"),
        (None, "no such video"),
    ],
)
def test_what_is_no_video_says_why(tmp_path, content, said):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(video.Unreadable, match=said):
        video.Frames(video.Span(path))


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsteady.ts\n#EXT-X-ENDLIST\n"
DASH = """<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"
profiles="urn:mpeg:dash:profile:isoff-main:2011" type="static"
mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1"><BaseURL>steady.ts</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""
LEADING_ELSEWHERE = {
    "v.m3u8": PLAYLIST,
    "v.mp4": PLAYLIST,
    "concat.mp4": "ffconcat version 1.0\nfile steady.ts\n",
    "v.mpd": DASH,
    "frame%d.png": "a pattern of names",
    "v.sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
def test_a_video_opens_no_other_file(tmp_path, steady, name):
    drawn_faces.write_video(tmp_path / "steady.ts", numbered(3), 25, "mpeg2video")
    for i in range(3):
        Image.new("RGB", (32, 32)).save(tmp_path / f"frame{i}.png")
    (tmp_path / name).write_text(LEADING_ELSEWHERE[name])
    with pytest.raises(video.Unreadable, match="cannot be read as a video"):
        video.Frames(video.Span(tmp_path / name))


def test_a_name_is_never_an_address(tmp_path, steady, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(steady.read_bytes())
    odd = Path("concat:a.mp4|a.mp4")
    odd.write_bytes(steady.read_bytes())
    assert len(clip(odd)[0]) == 100
    odd.unlink()
    with pytest.raises(video.Unreadable, match="no such video"):
        clip(odd)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "v.mp4")
    with pytest.raises(video.Unreadable, match="no regular file"):
        video.Frames(video.Span(tmp_path / "v.mp4"))


def test_frames_that_are_too_large_are_refused_as_declared(steady, monkeypatch):
    monkeypatch.setattr(opening, "MOST_PIXELS", 100 * 32)
    with pytest.raises(video.Unreadable, match="found frames of 128x32, wanted"):
        video.Frames(video.Span(steady))


def test_a_frame_that_claims_more_on_the_way_is_counted_and_never_decoded(tmp_path):
    path = drawn_faces.write_video(tmp_path / "v.mov", numbered(9), codec="png")
    data = bytearray(path.read_bytes())
    at = [match.end() for match in re.finditer(b"IHDR", data)][4]
    data[at : at + 8] = struct.pack(">II", 30_000, 30_000)
    path.write_bytes(data)
    read, frames = clip(path)
    assert len(read) == 9 and frames.notes["packets that cannot be decoded"] == 1


def test_frames_that_are_left_out_count_too(tmp_path, monkeypatch):
    times = [*range(0, 90, 1), 4000]  # far more frames than the mean rate has places
    path = drawn_faces.write_video(tmp_path / "v.mkv", numbered(91), times_ms=times)
    monkeypatch.setattr(video, "MOST_FRAMES", 95)
    with pytest.raises(video.Unreadable, match="more than 95 frames"):
        clip(path)


def test_half_a_file_gives_the_frames_that_are_there_or_a_reason(tmp_path, steady):
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(steady.read_bytes()[:2000])
    with pytest.raises(video.Unreadable, match="cannot be read as a video"):
        video.Frames(video.Span(torn))
    whole = drawn_faces.write_video(tmp_path / "v.mpg", numbered(90), 25, "mpeg1video")
    torn.with_suffix(".mpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    read, _ = clip(torn.with_suffix(".mpg"))
    assert 0 < len(read) < 90 and read[:10] == list(range(10))


def test_sound_alone_is_no_video(tmp_path):
    import av

    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(video.Unreadable, match="no video stream"):
        video.Frames(video.Span(tmp_path / "v.mp4"))


def write_pictures(directory: Path, pictures) -> Path:
    directory.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(directory / f"frame{i}.png")
    return directory


def test_pictures_come_in_their_natural_order_at_the_rate_given(tmp_path):
    directory = write_pictures(tmp_path / "d", numbered(12))
    (directory / "notes.txt").write_text("no picture")
    (directory / "._frame3.png").write_bytes(b"left by another system")
    read, frames = clip(directory, 0.0, None, 12.5)
    assert read == list(range(12)) and frames.fps == 12.5
    assert clip(directory, 0.16, 0.48, 12.5)[0] == [2, 3, 4, 5]


def test_pictures_that_are_no_clip_say_why(tmp_path):
    directory = write_pictures(tmp_path / "d", numbered(3))
    with pytest.raises(video.Unreadable, match="fps: found 0"):
        clip(directory)
    (directory / "frame1.png").write_bytes(b"torn")
    with pytest.raises(video.Unreadable, match="frame1.png: cannot be read as a picture"):
        clip(directory, 0.0, None, 25.0)
    Image.new("RGB", (32, 32)).save(directory / "frame1.png")
    with pytest.raises(video.Unreadable, match="frames of 128x32 and 32x32"):
        clip(directory, 0.0, None, 25.0)
    (tmp_path / "none").mkdir()
    with pytest.raises(video.Unreadable, match="0 frames"):
        clip(tmp_path / "none", 0.0, None, 25.0)
