"""`signbind translate --segment`: a recording's sentences, each as if it had been a clip."""

import argparse
import itertools
import json

import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.data_pipelines.extraction import parts
from signbind_jax.data_pipelines.readers.long_recording import open_recording
from signbind_jax.errors import SignBindError
from signbind_jax.use import recording as recording_module
from signbind_jax.use import translate as translate_module
from signbind_jax.use import translate_recordings
from signbind_jax.use.boundaries import BoundaryReader, open_segmenter
from signbind_jax.use.recording import Told, cut_recording, translate_recording
from signbind_jax.use.translator import load_translator
from tests import drawn_faces, signed_recordings

SENTENCES = [(0.8, 3.0), (3.8, 5.0), (7.0, 8.4), (9.2, 10.4)]
SECONDS, FPS = 11.4, 25


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording of four sentences."""
    path = tmp_path_factory.mktemp("recordings") / "talk.npz"
    return signed_recordings.write(path, SENTENCES, SECONDS, FPS)


@pytest.fixture(scope="module")
def translator(runs):
    """The untrained alignment run, opened once: programs are compiled once."""
    return load_translator(runs / "alignment", max_new_tokens=8)


@pytest.fixture
def translate(translator, capsys):
    """Runs what the command runs; gives exit code, standard output, lines of standard error."""

    def run(*arguments) -> tuple[int, str, list[str]]:
        parser = argparse.ArgumentParser()
        translate_module.add_arguments(parser)
        command = ["--checkpoint=run", "--segment", *map(str, arguments)]
        capsys.readouterr()
        code = translate_recordings.run(parser.parse_args(command), translator)
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def rows(out: str) -> list[dict]:
    return [json.loads(line) for line in out.split("\n") if line]


def test_each_sentence_says_what_its_frames_say_as_a_clip(runs, talk, tmp_path, capsys):
    command = ["translate", f"--checkpoint={runs / 'alignment'}", "--format=json"]
    assert cli.main([*command, "--segment", "--longest=20", str(talk)]) == 0
    found = rows(capsys.readouterr().out)
    times = np.array([(row["start"], row["end"]) for row in found])
    assert np.abs(times - SENTENCES).max() <= 0.2
    with np.load(talk) as file:
        fields = dict(file)
    for i, (start, stop) in enumerate(np.rint(times * FPS).astype(int)):
        own = {k: v[start:stop] if v.ndim else v for k, v in fields.items()}
        np.savez(tmp_path / f"{i}.npz", **own)
    assert cli.main([*command, str(tmp_path)]) == 0
    for alone, row in zip(rows(capsys.readouterr().out), found, strict=True):
        assert alone["sentence"] == row["sentence"] and alone["fused"] == row["fused"]
        (read,), (later,) = alone["streams"].values(), row["streams"].values()
        assert [t["token"] for t in read] == [t["token"] for t in later]
        moved = [t["start"] + row["start"] for t in read]
        np.testing.assert_allclose([t["start"] for t in later], moved, atol=1e-5)


def test_windows_change_nothing(talk, monkeypatch):
    whole = cut_recording(open_recording(talk), 20)
    monkeypatch.setattr(recording_module, "WINDOW_FRAMES", 40)
    in_windows = cut_recording(open_recording(talk), 20)
    # Only the scale is a window's own: a boundary may lie a frame elsewhere.
    np.testing.assert_allclose(in_windows.segments, whole.segments, atol=1.5 / FPS)


def test_a_sentence_longer_than_any_it_was_trained_on_is_cut(translator, translate, talk):
    assert translator.longest_s == pytest.approx(0.8)  # of the clips in `untrained_runs`
    code, out, err = translate(talk)
    spans = [line.split("\t")[1:3] for line in out.splitlines()]
    assert code == 0 and len(spans) > len(SENTENCES)
    assert any(line.startswith("signbind: talk.npz: longer than 0.8 s, cut at") for line in err)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("kind", "ending", "begins"),
    [
        ("text", "txt", "talk.npz\t00:00:0"),
        ("json", "jsonl", '{"recording": "talk.npz", "start": '),
        ("vtt", "vtt", "WEBVTT\n\n00:00:0"),
        ("srt", "srt", "1\n00:00:0"),
        ("elan", "eaf", "<?xml version="),
    ],
)
def test_every_format_goes_to_a_file_a_recording(translate, talk, tmp_path, kind, ending, begins):
    code, out, _ = translate(f"--format={kind}", "--longest=20", f"--out={tmp_path / 'out'}", talk)
    (path,) = (tmp_path / "out").iterdir()
    assert code == 0 and not out and path.name == f"talk.{ending}"
    assert path.read_text().startswith(begins)


def test_what_cannot_be_read_costs_no_other_recording(translate, talk, tmp_path):
    fields = signed_recordings.fields(signed_recordings.pose(SENTENCES, 4, FPS), FPS)
    np.savez(tmp_path / "a_nobody.npz", **(fields | {"scores": 0 * fields["scores"]}))
    np.savez(tmp_path / "b_one.npz", **{k: v[:1] if v.ndim else v for k, v in fields.items()})
    (tmp_path / "c_torn.npz").write_bytes(b"PK")
    two = {k: np.stack([fields[k]] * 2, 1) for k in ("keypoints", "scores")}
    np.savez(tmp_path / "d_two.npz", **(fields | two))
    signed_recordings.write(tmp_path / "e_rest.npz", [], 3)
    (tmp_path / "f.jsonl").write_text("{}")
    code, out, err = translate("--longest=20", tmp_path, "none.mp4", talk)
    assert code == 1 and {line.split("\t")[0] for line in out.splitlines()} == {"talk.npz"}
    told = [line.removeprefix("signbind: ") for line in err]
    wanted = (
        f"error: {tmp_path}/f.jsonl: found token streams, wanted a video or its landmarks",
        "error: none.mp4: no such file or directory",
        f"error: {tmp_path}/a_nobody.npz: found nobody in 100 frames",
        f"error: {tmp_path}/b_one.npz: found 1 frames, wanted at least 2",
        f"error: {tmp_path}/c_torn.npz: cannot be read as .npz",
        f"error: {tmp_path}/d_two.npz: found several people at 0.0 s, wanted one signer",
        "e_rest.npz: no signing found",
    )
    for line in wanted:
        assert sum(found.startswith(line) for found in told) == 1, (line, told)
    assert sum(found.startswith("error: ") for found in told) == 6


def test_usage_that_makes_no_sense_is_one_line(translate, talk, tmp_path, capsys):
    other = signed_recordings.write(tmp_path / "talk.npz", SENTENCES[:1], 4)
    told = "--format=vtt: found 2 recordings, wanted --out=DIR for a file each"
    with pytest.raises(SignBindError, match=told):
        translate("--format=vtt", talk, other)
    code, _, err = translate(f"--out={tmp_path / 'out'}", "--longest=20", talk, other)
    assert code == 1 and [path.name for path in (tmp_path / "out").iterdir()] == ["talk.txt"]
    assert f"{other}: {tmp_path}/out/talk.txt is another recording's: rename one of them" in err[0]
    for option in ("--format=vtt", f"--out={tmp_path}", f"--segmenter={tmp_path}"):
        assert cli.main(["translate", "--checkpoint=run", option, str(talk)]) == 1
        assert "wanted --segment" in capsys.readouterr().err


def test_a_segmenter_cuts_where_no_pause_is(runs, segmenter, talk, tmp_path, capsys, translate):
    command = ["translate", f"--checkpoint={runs / 'alignment'}", "--longest=20", "--segment"]
    out = f"--out={tmp_path}"
    assert cli.main([*command, "--format=vtt", out, f"--segmenter={segmenter}", str(talk)]) == 0
    told = capsys.readouterr().err.splitlines()
    (line,) = (line for line in told if "cut where the segmenter found a boundary" in line)
    n = int(line.removesuffix(" times").rpartition(" ")[2])
    assert n > 0
    code, out, _ = translate("--longest=20", f"--segmenter={segmenter}", talk)
    ends = [line.split("\t")[1:3] for line in out.splitlines()]
    assert code == 0 and len(ends) == len(SENTENCES) + n
    assert sum(a[1] == b[0] for a, b in itertools.pairwise(ends)) == n
    assert (tmp_path / "talk.vtt").read_text().startswith("WEBVTT\n\n00:00:0")
    with pytest.raises(SignBindError, match="--segmenter: .* found alignment, wanted segmentation"):
        translate(f"--segmenter={runs / 'alignment'}", talk)


def test_windows_change_nothing_of_what_a_segmenter_says(segmenter, talk, monkeypatch):
    reader = BoundaryReader.of(open_segmenter(segmenter))
    whole = cut_recording(open_recording(talk), 20, reader)
    monkeypatch.setattr(recording_module, "WINDOW_FRAMES", 100)
    in_windows = cut_recording(open_recording(talk), 20, reader)
    assert whole.n_learnt == in_windows.n_learnt > 0
    # As without one, only the scale is a window's own.
    np.testing.assert_allclose(in_windows.segments, whole.segments, atol=0.1)


def test_sentences_are_translated_in_groups(translator, talk, monkeypatch):
    monkeypatch.setattr(recording_module, "GROUP", 3)
    told = Told()
    found = list(translate_recording(translator, open_recording(talk), 20, told))
    assert [s.start_s for s in found] == [segment.start_s for segment in told.cut.segments]
    assert len(found) == 4 and not told.lines()


def test_crops_of_a_sentence_without_a_face_are_their_mean(talk):
    recording = open_recording(talk)
    segment = cut_recording(recording, 20).segments[0]
    start, stop = segment.frames(FPS)
    (window,) = recording.windows([(start, stop)])
    crops = np.full((stop - start, 16, 16), 100, np.uint8)
    crops[:4] = 0
    state = np.array([0] * 4 + [1] * (stop - start - 4), np.uint8)
    window |= {"lips": crops, "lip_state": state}
    clip, _ = recording_module.clip_of(window, recording, segment, 16)
    assert clip.modalities["lips"].n == clip.modalities["pose"].n == stop - start
    assert (window["lips"] == 100).all()
    nobody, _ = recording_module.clip_of(window | {"lip_state": 0 * state}, recording, segment, 16)
    assert nobody.modalities.keys() == {"pose"}


def test_a_long_video_is_extracted_in_parts(translate, environment, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_S", 0.35)
    frames = [drawn_faces.face(centre=(70 + i % 8, 45)) for i in range(30)]
    video = drawn_faces.write_video(tmp_path / "talk.mp4", frames)
    worker = f"--environment={environment}", "--workers=1"
    kept = tmp_path / "kept"
    code, out, err = translate(*worker, f"--extracted={kept}", "--format=vtt", video)
    assert code == 0 and out == "WEBVTT\n"
    assert any(line.startswith("signbind: talk.mp4: no signing found") for line in err)
    files = sorted(kept.rglob("*.npz"))
    assert [path.relative_to(kept).as_posix() for path in files] == [
        f"talk/{i:04d}.npz" for i in range(3)
    ]
    recording = open_recording(kept / "talk")
    assert recording.n_frames == 30 and recording.seconds == pytest.approx(1.2)
    # What is kept is read again: as the video, or as the recording that its directory is.
    (nothing := tmp_path / "none").mkdir()
    again = translate(f"--environment={nothing}", f"--extracted={kept}", "--format=vtt", video)
    assert again[:2] == (code, out)
    assert translate("--format=vtt", kept / "talk")[:2] == (code, out)
    code, _, err = translate(kept)  # whatever lies beside it
    assert code == 0 and [line for line in err if "no signing found" in line] == [
        "signbind: talk: no signing found: no hand that moves above the lap"
    ]


def test_a_part_that_fails_is_told_with_its_place(translate, environment, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_S", 0.35)
    frames = [drawn_faces.face()] * 20 + [drawn_faces.plain(drawn_faces.CRASH)] * 10
    video = drawn_faces.write_video(tmp_path / "talk.mp4", frames)
    code, out, err = translate(f"--environment={environment}", "--workers=1", video)
    assert code == 1 and not out
    assert any(
        line.startswith(f"signbind: error: {video}: from 0.7 s: the process died") for line in err
    )
