"""Recordings that are translated: what they hold reaches the experts, and what lacks is told."""

import argparse
import functools
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from signbind_jax import cli, streams
from signbind_jax.config import load_config
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.data.vocabulary import BLANK, Vocabulary
from signbind_jax.data_pipelines import clip_inputs
from signbind_jax.data_pipelines.readers.clip_file import Kind, read_clip_file
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.generation.config import GenerationConfig
from signbind_jax.stages.read_streams import StreamReader
from signbind_jax.use import translate as translate_module
from signbind_jax.use.translation import Translation
from tests import drawn_faces
from tests.unit.models.test_expert import make


def write(path, **more):
    steps = np.random.default_rng(0).normal(0, 4, (40, 133, 2)).cumsum(0)
    np.savez(path, **{"keypoints": 500 + steps, "fps": 25.0, **more})
    return path


def crops(n_frames: int = 30, size: int = 24) -> np.ndarray:
    rows = np.arange(size)[:, None] * np.ones(size)
    return np.stack([(4 * rows + 3 * i) % 256 for i in range(n_frames)]).astype(np.uint8)


def reader(**frontends) -> StreamReader:
    """Of random experts, stream -> frontend."""
    experts = {}
    for stream, frontend in frontends.items():
        expert = make(frontend)
        name = streams.get(stream).vocabulary
        experts[stream] = SimpleNamespace(
            stage=stream,
            model_config=expert.config,
            vocabularies={name: Vocabulary(name, (BLANK, *"abcdefgh"))},
            config=load_config(stream),
            digest="",
            workdir=Path(stream),
            manifest=SimpleNamespace(extra={}),
            load_params=functools.partial(nnx.split, expert),
        )
    return StreamReader(load_config("fusion"), experts)


def test_mouth_crops_beside_the_landmarks_become_a_lip_stream(tmp_path):
    with_crops = write(tmp_path / "crops.npz", lips=crops(), lip_fps=20.0)
    without = write(tmp_path / "pose.npz")
    made = reader(lipreading="lips")
    clips = ClipList(
        [read_clip_file(path, Kind.LANDMARKS, made.lip_size).clip for path in (with_crops, without)]
    )
    assert clips.lengths("lips").tolist() == [30, 0] and clips[0].modalities["lips"].fps == 20
    assert decode_mosaic(clips[0].modalities["lips"].data, 30).shape == (
        30,
        16,
        16,
    )  # as the expert reads them
    lipreading = made.read(clips).experts["lipreading"]
    assert np.diff(lipreading.first)[0] > 0 and np.diff(lipreading.first)[1] == 0
    assert 0 < lipreading.end.max() <= 1.6  # seconds: 30 frames at 20 a second
    assert made.without_input(clips) == {"lipreading": {1}}


def test_crops_stay_unread_where_no_expert_reads_them(tmp_path):
    made = reader(signing="pose", lipreading="mouth_landmarks")
    assert made.lip_size is None
    path = write(tmp_path / "a.npz", lips=np.zeros(3))
    clip = read_clip_file(path, Kind.LANDMARKS, made.lip_size).clip
    assert clip.modalities.keys() == {"pose"} and clip.n_frames("pose") == 40


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lips": crops().astype(float)}, "lips: found float64"),
        ({"lips": crops()[0]}, r"lips: found uint8 \(24, 24\)"),
        ({"lips": crops()[:, :0]}, r"lips: found uint8 \(30, 0, 24\)"),
        ({"lips": crops(), "lip_fps": float("nan")}, "lip_fps: found nan"),
        ({"lips": crops(), "lip_fps": -25.0}, "lip_fps: found -25"),
        ({"lips": crops(), "lip_fps": np.ones(2)}, r"lip_fps: found float64 \(2,\)"),
        ({"lips": crops(), "lip_state": np.array("x")}, "lip_state: found <U1"),
        ({"fps": 1e300}, "fps: found 1e.300"),
        ({"fps": 0.01}, "fps: found 0.01"),
    ],
)
def test_one_bad_file_is_named_and_costs_no_other(tmp_path, fields, said):
    bad, good = write(tmp_path / "bad.npz", **fields), write(tmp_path / "good.npz")
    with pytest.raises(SignBindError, match=f"bad.npz: .*{said}"):
        read_clip_file(bad, Kind.LANDMARKS, 32)
    read = read_inputs(bad, good)
    assert read.names == ["good.npz"] and len(read.faults) == 1


def test_what_was_repaired_is_told_by_clip(tmp_path):
    body = write(tmp_path / "body.npz")
    hands = [tmp_path / f"hand{i}.npz" for i in range(2)]
    for hand in hands:
        points = np.random.default_rng(0).uniform(200, 300, (9, 21, 2))
        np.savez(hand, keypoints=points, fps=25.0, scheme="left_hand_21")
    read = read_inputs(body, *hands)
    told = "pose: no shoulders: normalised by the hands: 2 clips (hand0.npz, hand1.npz)"
    assert read.notes == [told] and len(read.clips) == 3


def test_a_file_that_another_process_cannot_read_is_left_out_here_too(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{name}.npz") for name in "ab"]
    there = {"1": "b.npz: torn"}
    monkeypatch.setattr(hosts, "all_gather", lambda what, here: [here, there])
    read = read_inputs(*paths)
    assert read.paths == paths[:1] and read.faults == ["b.npz: torn"]


def read_inputs(*arguments, lip_size: int | None = 32) -> clip_inputs.ClipInputs:
    parser = argparse.ArgumentParser()
    clip_inputs.add_arguments(parser)
    return clip_inputs.read_inputs(parser.parse_args(list(map(str, arguments))), lip_size)


def write_crops(directory, n_frames: int = 10, size=(32, 32)):
    directory.mkdir(parents=True)
    for i in range(n_frames):
        Image.new("L", size, 8 * i).save(directory / f"{i}.png")
    return directory


class DigestingTranslator:
    """Writes a digest of all that a clip holds in place of a sentence."""

    generation = GenerationConfig()
    reader = SimpleNamespace(
        lip_size=32,
        readers={
            "lipreading": SimpleNamespace(
                name="lipreading", lengths=lambda clips: clips.lengths("lips")
            )
        },
    )
    reader.without_input = functools.partial(StreamReader.without_input, reader)

    def __init__(self, *_, **__):
        pass

    def without_hidden(self, clips):
        return ""

    def translate_clips(self, clips, one_recording):
        return [Translation(clip.id, self.digest(clip), {}, [], []) for clip in clips]

    def digest(self, clip):
        return hashlib.sha256(
            b"".join(
                repr((name, frames.fps, frames.n)).encode() + bytes(frames.data)
                for name, frames in clip.modalities.items()
            )
        ).hexdigest()


@pytest.fixture
def translate(monkeypatch, environment, capsys):
    """Runs `signbind translate`: exit code, sentence by clip, lines on standard error."""
    monkeypatch.setattr(translate_module, "Translator", DigestingTranslator)

    def run(*arguments) -> tuple[int, dict[str, str], list[str]]:
        code = cli.main(
            [
                "translate",
                "--checkpoint=run",
                f"--environment={environment}",
                "--workers=1",
                *map(str, arguments),
            ]
        )
        out, err = capsys.readouterr()
        lines = [line.split("\t") for line in out.splitlines()]
        assert len({name for name, _ in lines}) == len(lines)
        return code, dict(lines), err.splitlines()

    return run


def test_a_video_gives_what_extracting_and_translating_gives(
    translate, environment, tmp_path, capsys, monkeypatch
):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name, x in (("a", 70), ("b", 80)):
        drawn_faces.write_video(
            videos / f"{name}.mp4", [drawn_faces.face(centre=(x + i, 45)) for i in range(8)]
        )
    out, kept = tmp_path / "out", tmp_path / "kept"
    given = [str(videos / "a.mp4"), str(videos / "b.mp4")]
    extract = ["extract", *given, f"--out={out}", f"--environment={environment}", "--workers=1"]
    assert cli.main(extract) == 0
    capsys.readouterr()
    _, wanted, _ = translate(out / "a.npz", out / "b.npz")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    code, found, err = translate(videos)
    assert code == 0 and list(found.items()) == [
        ("a.mp4", wanted["a.npz"]),
        ("b.mp4", wanted["b.npz"]),
    ]
    assert not any((tmp_path / "temporary").iterdir()), "what was extracted is left behind"
    assert not err
    # Kept, it is the same file, and the next call does not extract again.
    assert translate(f"--extracted={kept}", *given)[:2] == (code, found)
    assert (kept / "a.npz").read_bytes() == (out / "a.npz").read_bytes()
    (environment_gone := tmp_path / "none").mkdir()
    again = translate(f"--extracted={kept}", f"--environment={environment_gone}", *given)
    assert again[:2] == (code, found)
    # Another video of that name is not taken for it.
    (videos / "a.mp4").write_bytes((videos / "b.mp4").read_bytes() + b"\0")
    code, found, err = translate(f"--extracted={kept}", *given)
    assert code == 1 and not found and "comes of another a.mp4" in err[0]


def test_videos_of_one_name_stay_apart_and_one_that_fails_costs_no_other(translate, tmp_path):
    for place, x in (("1", 60), ("2", 80)):
        (tmp_path / place).mkdir()
        frames = [drawn_faces.face(centre=(x + i, 45)) for i in range(6)]
        drawn_faces.write_video(tmp_path / place / "x.mp4", frames)
    (tmp_path / "1" / "torn.mp4").write_bytes(b"no video")
    drawn_faces.write_video(tmp_path / "2" / "crash.mp4", [drawn_faces.plain(drawn_faces.CRASH)])
    code, found, err = translate(tmp_path / "1", tmp_path / "2")
    first, second = tmp_path / "1" / "x.mp4", tmp_path / "2" / "x.mp4"
    assert code == 1 and list(found) == [str(first), str(second)]
    assert found[str(first)] != found[str(second)]
    assert any(f"error: {tmp_path}/1/torn.mp4: cannot be read as a video" in line for line in err)
    assert any(f"error: {tmp_path}/2/crash.mp4: the process died" in line for line in err)


def test_what_cannot_be_read_of_an_extracted_video_is_told_under_the_video(translate, tmp_path):
    video = drawn_faces.write_video(tmp_path / "x.mp4", [drawn_faces.face()] * 4)
    about = json.dumps({"video": "x.mp4", "frames": 4, "found": {}})
    points = np.zeros((4, 133, 2))  # nobody
    np.savez(tmp_path / "x.npz", keypoints=points, fps=25.0, about=about)
    code, found, err = translate(video, f"--extracted={tmp_path}")
    assert code == 1 and not found
    assert any(line.startswith(f"signbind: error: {video}: pose: ") for line in err)


def test_files_directories_and_patterns_keep_their_order(translate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    day = tmp_path / "day"
    (day / "more").mkdir(parents=True)
    for name in ("clip10.npz", "clip2.npz", "more/clip2.npz"):
        write(day / name)
    write_crops(day / "lips")
    (day / "notes.txt").write_text("")
    (day / ".hidden.npz").write_text("")
    (day / "more" / "round").symlink_to(day)
    write(tmp_path / "last.npz")
    write(tmp_path / "a[1].npz")
    code, found, err = translate("last.npz", "day", "day/clip2.npz", "a[1].npz")
    assert code == 0 and list(found) == [
        "last.npz",
        "day/clip2.npz",
        "clip10.npz",
        "lips",
        "day/more/clip2.npz",
        "a[1].npz",
    ]
    assert "signbind: named twice, read once: 1 files (day/clip2.npz)" in err
    assert "signbind: skipped, of no known kind: 1 files (day/notes.txt)" in err
    assert "signbind: lipreading: no input in 5 of 6 clips" in err[-1]
    code, found, err = translate("day/clip*.npz")
    assert code == 0 and list(found) == ["clip2.npz", "clip10.npz"]
    _, found, _ = translate("day/**/clip2.npz")
    assert list(found) == ["day/clip2.npz", "day/more/clip2.npz"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("none.npz", "none.npz: no such file or directory"),
        ("*.pose", "*.pose: found nothing that matches"),
        ("empty", "empty: found no clip in it, wanted .pose, .npz, .jsonl, a video"),
        ("notes.txt", "notes.txt: found a '.txt' file, wanted .pose, .npz, .jsonl, a video"),
        ("notes.*", "notes.*: found no clip that matches"),
        ("frames", "frames: found pictures of 210x260, wanted mouth crops of at most 128 pixels"),
        ("torn.npz", "torn.npz: cannot be read as .npz"),
        ("pipe.npz", "pipe.npz: found a named pipe"),
        ("gone.mp4", "gone.mp4: no such video"),
        ("\udcff.txt", "\\udcff.txt: no such file"),
    ],
)
def test_what_is_no_clip_is_named_and_costs_no_other(
    translate, tmp_path, monkeypatch, argument, said
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good.npz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    write_crops(tmp_path / "frames", 2, size=(210, 260))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    code, found, err = translate(argument, "good.npz")
    assert code == 1 and list(found) == ["good.npz"]
    (told,) = [line for line in err if line.startswith("signbind: error: ")]
    assert told.startswith(f"signbind: error: {said}") and told.isprintable()


def test_crops_alone_are_a_clip_with_lips_only(tmp_path):
    directory = write_crops(tmp_path / "mouth")
    frames = [np.full((48, 96, 3), 8 * i, np.uint8) for i in range(10)]
    small = drawn_faces.write_video(tmp_path / "small.mp4", frames, fps=20)
    read = read_inputs(directory, small)
    assert not read.faults
    assert [clip.n_frames("lips") for clip in read.clips] == [10, 10]
    assert [clip.modalities["lips"].fps for clip in read.clips] == [25, 20]
    assert all(clip.modalities.keys() == {"lips"} for clip in read.clips)
    large = write_crops(tmp_path / "large", size=(200, 160))
    assert "--crops for larger ones" in read_inputs(large).faults[0]
    assert read_inputs("--crops", large).clips[0].n_frames("lips") == 10
    assert reader(signing="pose", lipreading="lips").without_input(ClipList(read.clips)) == {
        "signing": {0, 1}
    }


def test_json_names_the_clip_as_it_was_given(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(translate_module, "Translator", DigestingTranslator)
    path = write(tmp_path / "a.npz", lips=crops())
    assert cli.main(["translate", "--checkpoint=run", "--format=json", str(path)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["clip"] == str(path) and record["no_input"] == []


def test_videos_on_several_processes_are_told_before_anything_is_extracted(tmp_path, monkeypatch):
    video = drawn_faces.write_video(tmp_path / "a.mp4", [drawn_faces.face()] * 2)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr(hosts, "broadcast", lambda what, make: make())
    with pytest.raises(SignBindError, match="a.mp4: found a video on 2 processes"):
        read_inputs(video)
