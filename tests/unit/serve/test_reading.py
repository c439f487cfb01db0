"""Videos as people send them, read by the process that reads uploads: a clip or one line each."""

import struct
import uuid
from pathlib import Path

import pytest

from signbind_jax.serve.reading import Reader, Reading, ReadUpload
from tests import drawn_faces

DURATION = bytes.fromhex("448988")  # of a Matroska file: an element of eight bytes


@pytest.fixture(scope="module")
def read(environment):
    """What reads a video of at most two seconds."""
    reader = Reader(Reading(lip_size=32, most_seconds=2, read_s=120, environment=environment))

    def read(path: Path) -> ReadUpload:
        return reader.read(path.rename(path.with_stem(uuid.uuid4().hex)), path.name)

    yield read
    reader.end()


def write(path: Path, n_frames: int, fps: int = 25, dots=drawn_faces.DOTS) -> Path:
    return drawn_faces.write_video(path, [drawn_faces.face(dots=dots)] * n_frames, fps)


def declare(path: Path, seconds: float) -> Path:
    """Makes a Matroska file say that it lasts so long."""
    data = bytearray(path.read_bytes())
    at = data.index(DURATION) + len(DURATION)
    data[at : at + 8] = struct.pack(">d", 1000 * seconds)
    path.write_bytes(data)
    return path


def fault(found: ReadUpload) -> str:
    assert found.clip is None and found.fault.isprintable()
    return found.fault


def test_a_duration_that_is_not_true_is_found_out(read, tmp_path):
    long = declare(write(tmp_path / "long.mkv", 10), 36_000)
    assert fault(read(long)) == "long.mkv: found 36000.0 seconds, wanted at most 2"
    short = declare(write(tmp_path / "short.mkv", 75), 0.04)
    assert fault(read(short)) == "short.mkv: found 3.0 seconds, wanted at most 2"


def test_odd_but_honest_videos_become_clips(read, tmp_path):
    one = read(write(tmp_path / "one.mp4", 1))
    assert one.clip.n_frames("pose") == one.clip.n_frames("lips") == 1
    slow_motion = read(write(tmp_path / "fast.mp4", 100, fps=241)).clip.modalities["pose"]
    assert (slow_motion.n, slow_motion.fps) == (100, 241)
    faceless = read(write(tmp_path / "faceless.mp4", 10, dots=()))
    assert "lips" not in faceless.clip.modalities and faceless.clip.n_frames("pose") == 10
    assert any("no face in any frame" in note for note in faceless.notes)


def test_what_shows_nobody_or_is_cut_off_is_told(read, tmp_path):
    cut = write(tmp_path / "cut.mp4", 25)
    cut.write_bytes(cut.read_bytes()[:-500])
    assert fault(read(cut)).startswith("cut.mp4: ")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert fault(read(empty)) == "empty.mp4: the video is empty (0 bytes)"
    crash = drawn_faces.write_video(
        tmp_path / "crash.mp4", [drawn_faces.plain(drawn_faces.CRASH)] * 5
    )
    assert fault(read(crash)) == "crash.mp4: the process died (SIGSEGV): dying now"
    assert read(write(tmp_path / "whole.mp4", 5)).clip
