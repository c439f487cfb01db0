"""`signbind extract` with a worker that finds drawn faces (tests/drawn_face_worker.py)."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from signbind_jax import keypoints
from signbind_jax.cli import main
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.extraction.environment import ready_environment, worker_command
from signbind_jax.data_pipelines.extraction.extract import Workers
from signbind_jax.data_pipelines.extraction.pool import Failure
from signbind_jax.data_pipelines.extraction.report import write_failures
from signbind_jax.data_pipelines.readers.extracted import read_extracted
from signbind_jax.errors import SignBindError
from signbind_jax.use.clip_files import one_clip_each
from tests import drawn_faces
from tests.conftest import ROOT

NO_EYES = [dot for dot in drawn_faces.DOTS if dot != drawn_faces.LEFT_EYE]


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """`talk.mp4`, `short.mp4`, and videos in which something is wrong."""
    directory = tmp_path_factory.mktemp("videos")

    def write(name: str, frames) -> None:
        drawn_faces.write_video(directory / f"{name}.mp4", frames)

    write("talk", [drawn_faces.face(centre=(70 + i / 2, 45)) for i in range(40)])
    write("short", [drawn_faces.face()] * 5)
    write(
        "lost",
        [drawn_faces.face(dots=NO_EYES if 10 <= i < 25 else drawn_faces.DOTS) for i in range(40)],
    )
    write("faceless", [drawn_faces.plain((90, 90, 90))] * 6)
    write("crash", [drawn_faces.plain(drawn_faces.CRASH)] * 3)
    write("hang", [drawn_faces.plain(drawn_faces.HANG)] * 3)
    (directory / "empty.mp4").write_bytes(b"")
    (directory / "list.mp4").write_text("ffconcat version 1.0\nfile short.mp4\n")
    os.mkfifo(directory / "pipe.mp4")
    return directory


def extract(environment: Path, *arguments, workers: int = 1) -> int:
    return main(
        ["extract", f"--environment={environment}", f"--workers={workers}", *map(str, arguments)]
    )


def write_list(path: Path, *rows: tuple, header: str = "id video start_s end_s fps") -> Path:
    lines = [header.split(), *rows]
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


def read_failures(out: Path) -> dict[str, str]:
    with open(out / "failures.tsv", encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file, dialect="excel-tab")}


def test_a_video_becomes_landmarks_and_crops_that_the_corpora_read(
    environment, videos, tmp_path, capsys
):
    assert extract(environment, videos / "talk.mp4", f"--out={tmp_path}") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["talk.npz"]
    with np.load(tmp_path / "talk.npz", allow_pickle=False) as archive:
        fields = dict(archive)
    assert fields["keypoints"].shape == (40, 543, 2) and fields["keypoints"].dtype == np.float32
    assert fields["scores"].shape == (40, 543) and fields["scores"].dtype == np.float32
    assert (fields["fps"], fields["width"], fields["height"]) == (25, 160, 120)
    assert fields["lips"].shape == (40, 96, 96) and fields["lips"].dtype == np.uint8
    assert fields["found"].tolist() == [1, 1, 0, 1]  # body, face, left and right hand
    eyes_t2 = fields["keypoints"][:, [33 + 33, 33 + 263]].mean(1)
    wanted_t2 = np.stack([70 + np.arange(40) / 2, np.full(40, 45)], 1)
    assert np.abs(eyes_t2 - wanted_t2).max() < 1
    still_hw = fields["lips"].astype(float).mean(0)
    assert np.abs(fields["lips"] - still_hw).mean() < 4 and still_hw.std() > 15

    clip, repaired = read_extracted(tmp_path / "talk.npz", lip_size=32)
    assert clip["pose"].data.shape == (40, keypoints.K, 3)
    assert clip["pose"].fps == clip["lips"].fps == 25
    assert decode_mosaic(clip["lips"].data, 40).shape == (40, 32, 32)
    assert repaired == {}
    assert "1 of 1 clips" in capsys.readouterr().out


def test_from_a_corpus_of_videos_to_a_dataset(environment, videos, tmp_path, capsys):
    source = tmp_path / "corpus"
    source.mkdir()
    for name in ("talk", "lost"):
        (source / f"{name}.mp4").write_bytes((videos / f"{name}.mp4").read_bytes())
    rows = [("a/1", "train", "One.", "talk.mp4"), ("b", "train", "Two.", "lost.mp4")]
    lines = [["id", "split", "text", "video"], *rows]
    (source / "manifest.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    clips, poses, data = tmp_path / "clips.tsv", tmp_path / "poses", tmp_path / "data"
    assert main(["data", "clips", "folder", f"--source={source}", f"--out={clips}"]) == 0
    assert clips.read_text().splitlines()[1] == f"a/1\t{source / 'talk.mp4'}\t0.0\t\t"
    assert extract(environment, f"--list={clips}", f"--out={poses}", workers=2) == 0
    build = ["data", "build", "folder", f"--source={source}", f"--out={data}", "--workers=1"]
    assert main([*build, f"--poses={poses}"]) == 0
    info = open_dataset(data)
    assert info.splits == {"train": 2}
    assert info.split("train").lip_size == (96, 96)  # as they were cut, unless it is asked for
    by_id = {clip.id: clip for clip in info.split("train")}
    assert by_id["a/1"].n_frames("pose") == by_id["a/1"].n_frames("lips") == 40
    repaired = info.description["report"]["repaired"]
    assert repaired == {"mouth crops without a face, now the clip's mean": 15}
    assert "crops that are the clip's mean" in capsys.readouterr().out


def test_rows_without_a_recording_are_counted(videos, tmp_path, capsys):
    out = tmp_path / "clips.tsv"
    np.savez(tmp_path / "a.npz")
    (tmp_path / "v.mp4").write_bytes((videos / "short.mp4").read_bytes())
    (tmp_path / "manifest.tsv").write_text(
        "id\tsplit\ttext\tpose\tvideo\na\ttrain\tOne.\ta.npz\t\nv\ttest\tTwo.\t\tv.mp4\n"
    )
    assert main(["data", "clips", "folder", f"--source={tmp_path}", f"--out={out}"]) == 0
    assert "no recording: 1 (a)\n1 clips listed" in capsys.readouterr().out
    (tmp_path / "manifest.tsv").write_text("id\tsplit\ttext\tpose\na\ttrain\tOne.\ta.npz\n")
    out.unlink()
    assert main(["data", "clips", "folder", f"--source={tmp_path}", f"--out={out}"]) == 1
    error = capsys.readouterr().err
    assert "found no recording of any of 1 rows" in error and error.count("\n") == 1
    assert not out.exists()


def test_a_list_cuts_clips_out_of_videos_and_directories(environment, videos, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(12):
        Image.fromarray(drawn_faces.face(centre=(60 + 2 * i, 45))).save(pictures / f"{i}.png")
    rows = [
        ("x_0-1", videos / "talk.mp4", 0.4, 0.8, ""),
        ("x/2", videos / "talk.mp4", 1.2, "", ""),
        ("p", "pictures", 0.2, 0.5, 10),
    ]
    clips = write_list(tmp_path / "clips.tsv", *rows)
    assert extract(environment, f"--list={clips}", f"--out={tmp_path / 'o'}", workers=2) == 0

    def eye_x(name: str) -> np.ndarray:
        with np.load(tmp_path / "o" / f"{name}.npz") as archive:
            return archive["keypoints"][:, [33 + 33, 33 + 263], 0].mean(1)

    assert np.allclose(eye_x("x_0-1"), 70 + np.arange(10, 20) / 2, atol=1)
    assert np.allclose(eye_x("x/2"), 70 + np.arange(30, 40) / 2, atol=1)
    assert np.allclose(eye_x("p"), 60 + 2 * np.arange(2, 5), atol=1)


def test_what_fails_costs_one_clip_and_is_listed(environment, videos, tmp_path, capsys):
    names = ["crash", "short", "hang", "empty", "faceless", "gone", "pipe", "list", "talk"]
    paths = [videos / f"{name}.mp4" for name in names]
    assert extract(environment, *paths, f"--out={tmp_path}", "--timeout=20") == 1
    assert {path.stem for path in tmp_path.glob("*.npz")} == {"short", "faceless", "talk"}
    reasons = read_failures(tmp_path)
    assert reasons.keys() == {"crash", "hang", "empty", "gone", "pipe", "list"}
    assert reasons["crash"] == "the process died (SIGSEGV): dying now"
    assert reasons["hang"] == "no sign of life for 20 s (--timeout)"
    assert reasons["empty"] == "the video is empty (0 bytes)"
    assert reasons["gone"] == "no such video"
    assert reasons["pipe"] == "no regular file, wanted a video"
    assert reasons["list"].startswith("cannot be read as a video")
    printed = capsys.readouterr().out
    assert "no face in any frame, so no mouth crops: 1 clips (faceless)" in printed
    assert "failed: no such video: 1 clips (gone)" in printed and "3 of 9 clips" in printed
    assert not list(tmp_path.glob(".*"))


def test_a_failure_is_listed_under_whatever_name_its_video_has(tmp_path):
    video = tmp_path / os.fsdecode(b"\xff.mp4")
    failures = {"a": Failure("torn")}
    write_failures(tmp_path / "f.tsv", failures, {"a": Recording(video)})
    assert (tmp_path / "f.tsv").read_bytes().endswith(b"/\xff.mp4\ttorn\n")
    write_failures(tmp_path / "f.tsv", {}, {})
    assert not (tmp_path / "f.tsv").exists()


def test_the_same_command_goes_on_and_forgets_failures_that_are_mended(
    environment, videos, tmp_path, capsys
):
    late = tmp_path / "late.mp4"
    out = tmp_path / "out"
    arguments = (videos / "short.mp4", videos / "talk.mp4", late, f"--out={out}")
    assert extract(environment, *arguments) == 1
    done = (out / "short.npz").stat().st_mtime_ns
    (out / "talk.npz").write_bytes((out / "talk.npz").read_bytes()[:1000])  # torn by its disk
    late.write_bytes((videos / "short.mp4").read_bytes())
    capsys.readouterr()
    assert extract(environment, *arguments) == 0
    assert "3 of 3 clips" in (printed := capsys.readouterr().out) and "1 before" in printed
    assert (out / "short.npz").stat().st_mtime_ns == done
    assert read_extracted(out / "talk.npz", 32)[0]["pose"].n == 40
    assert not (out / "failures.tsv").exists()
    # Nothing is left to do, so no environment is needed.
    assert extract(tmp_path / "none", *arguments) == 0


def test_files_of_other_clips_are_not_taken_for_these(environment, videos, tmp_path, capsys):
    out = f"--out={tmp_path / 'o'}"
    first = write_list(tmp_path / "1.tsv", ("a", videos / "talk.mp4", 0, 1, ""))
    other = write_list(tmp_path / "2.tsv", ("a", videos / "talk.mp4", 0.2, 1, ""))
    assert extract(environment, f"--list={first}", out) == 0
    assert extract(environment, f"--list={other}", out) == 1
    error = capsys.readouterr().err
    assert "comes of talk.mp4 from 0 s to 1 s, wanted talk.mp4 from 0.2 s to 1 s" in error
    assert extract(environment, f"--list={other}", out, "--overwrite") == 0
    np.savez(tmp_path / "o" / "a.npz", keypoints=np.zeros((3, 543, 2)))
    assert extract(environment, f"--list={other}", out) == 1
    assert "did not write" in capsys.readouterr().err


def test_any_number_of_workers_writes_the_same_files(environment, videos, tmp_path):
    paths = [videos / f"{name}.mp4" for name in ("talk", "short", "lost", "faceless")]
    for name, workers in (("alone", 1), ("together", 3)):
        assert extract(environment, *paths, f"--out={tmp_path / name}", workers=workers) == 0
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(environment, videos, tmp_path, number, code):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "signbind_jax.cli",
            "extract",
            videos / "short.mp4",
            videos / "hang.mp4",
            videos / "talk.mp4",
            f"--out={out}",
            "--workers=2",
            f"--environment={environment}",
        ],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not (out / "talk.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code
    assert errors.splitlines()[-1] == (
        f"interrupted ({signal.Signals(number).name}): the same command goes on"
    )
    assert not any(
        child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children
    )
    assert sorted(path.name for path in out.iterdir()) == ["short.npz", "talk.npz"]


def workers_of(process: psutil.Process) -> set[int]:
    found = set()
    for child in process.children():
        # What other tests started may end meanwhile, or be a zombie.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "drawn_face_worker.py" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def test_in_python_a_process_that_extracts_is_kept_and_replaced_when_it_died(environment, videos):
    workers = Workers(environment, keep=True)
    here = psutil.Process()
    before = workers_of(here)

    def n_frames(name: str) -> int:
        (clip,) = one_clip_each([videos / f"{name}.mp4"], None, workers=workers)
        return clip.n_frames("pose")

    assert n_frames("talk") == 40
    (kept,) = workers_of(here) - before
    assert n_frames("short") == 5
    assert workers_of(here) - before == {kept}
    psutil.Process(kept).kill()
    assert n_frames("talk") == 40
    (other,) = workers_of(here) - before
    assert other != kept
    with pytest.raises(SignBindError, match="the process died .SIGSEGV.: dying now"):
        n_frames("crash")
    assert n_frames("talk") == 40


def test_kept_processes_work_where_a_loop_runs_and_end_with_the_program(environment, videos):
    """In a notebook a loop runs where cells do."""
    script = f"""
import asyncio, psutil
from signbind_jax.data_pipelines.extraction.extract import Workers
from signbind_jax.use.clip_files import one_clip_each

async def cell():
    workers = Workers({str(environment)!r}, keep=True)
    (clip,) = one_clip_each([{str(videos / "short.mp4")!r}], None, workers=workers)
    print(clip.n_frames("pose"), *(p.pid for p in psutil.Process().children()))

asyncio.run(cell())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    n_frames, pid = map(int, done.stdout.split())
    assert n_frames == 5 and not psutil.pid_exists(pid)


def test_a_contact_sheet_shows_the_crops(environment, videos, tmp_path):
    sheet = tmp_path / "sheets" / "sheet.png"
    paths = [videos / f"{name}.mp4" for name in ("talk", "lost", "faceless")]
    assert extract(environment, *paths, f"--out={tmp_path / 'o'}", f"--contact_sheet={sheet}") == 0
    with Image.open(sheet) as image:
        assert image.width > 10 * 96 and image.height > 3 * 96
        rows = np.array_split(np.asarray(image.convert("L"), float), 3)
    assert rows[0].std() > 20 and rows[2][20:].std() < 5  # no face, no crop


def test_a_worker_that_cannot_start_is_one_line(tmp_path, videos, capsys):
    python = tmp_path / "broken" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'no module named x' >&2\nexit 3\n")
    python.chmod(0o755)
    assert extract(tmp_path / "broken", videos / "short.mp4", f"--out={tmp_path / 'o'}") == 1
    error = capsys.readouterr().err
    assert "the process died (exit code 3): no module named x" in error and error.count("\n") == 1


def test_models_that_find_no_known_face_stop_everything(tmp_path, videos, capsys):
    python = tmp_path / "wrong" / "bin" / "python"
    python.parent.mkdir(parents=True)
    stop = json.dumps({"stop": "landmark 33 of a known face: found (0, 0), wanted (104, 78)"})
    python.write_text(f"#!/bin/sh\necho '{stop}'\n")
    python.chmod(0o755)
    assert extract(tmp_path / "wrong", videos / "short.mp4", f"--out={tmp_path / 'o'}") == 1
    error = capsys.readouterr().err
    assert "landmark 33 of a known face" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "found no video"),
        (["a.mp4", "--list=clips.tsv"], "both videos and a --list"),
        (["a/x.mp4", "b/x.mkv"], "x.mkv: id: 'x' stands for "),
        (["."], "states no frame rate: give --fps"),
        (["--list=none.tsv"], "none.tsv: cannot be read: No such file"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert extract(tmp_path / "none", *arguments, f"--out={tmp_path / 'o'}") == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "column 'id' is missing; found an empty file"),
        ("id\tvideo\n", "found no clip below the header"),
        ("id\tstart_s\nx\t1\n", "column 'video' is missing; found id start_s"),
        ("id\tvideo\tend\nx\ta.mp4\t1\n", "unknown name 'end'; did you mean 'end_s'"),
        ("id\tvideo\nx\ta.mp4\t1\n", ":2: found 3 fields, wanted 2"),
        ("id\tvideo\n../x\ta.mp4\n", ":2: id: '../x' leaves the directory"),
        ("id\tvideo\n/x\ta.mp4\n", ":2: id: '/x' leaves the directory"),
        ("id\tvideo\n\ta.mp4\n", ":2: id: found nothing"),
        (f"id\tvideo\n{'x' * 300}\ta.mp4\n", "at most 200 bytes"),
        ("id\tvideo\nx\t\n", ":2: video: found nothing"),
        ("id\tvideo\nx\ta.mp4\nx\tb.mp4\n", ":3: id: 'x' stands on line 2 too"),
        ("id\tvideo\nx\ta.mp4\nX\tb.mp4\n", ":3: id: 'X' is 'x' on line 2 but for case"),
        ("id\tvideo\nx\x1b[2J\ta.mp4\n", r":2: id: 'x\x1b[2J' cannot be a file's name"),
        ("id\tvideo\tstart_s\nx\ta.mp4\t1,5\n", ":2: start_s: found '1,5'"),
        ("id\tvideo\tstart_s\nx\ta.mp4\tnan\n", ":2: start_s: found 'nan'"),
        ("id\tvideo\tstart_s\nx\ta.mp4\t-1\n", ":2: start_s: found '-1'"),
        ("id\tvideo\tstart_s\tend_s\nx\ta.mp4\t2\t1\n", ":2: end_s: found 1, wanted more than"),
        ('id\tvideo\nx\t"a.mp4\n', "no tab-separated list with CSV quoting"),
    ],
)
def test_a_faulty_list_is_told_by_its_line(tmp_path, capsys, text, said):
    (tmp_path / "clips.tsv").write_text(text)
    arguments = [f"--list={tmp_path / 'clips.tsv'}", f"--out={tmp_path / 'o'}"]
    assert extract(tmp_path / "none", *arguments) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_odd_but_honest_lists_are_read_back(tmp_path):
    from signbind_jax.data_pipelines.clips import read_clip_list, write_clip_list
    from signbind_jax.data_pipelines.corpus import Recording

    recordings = {
        "-a b": Recording(tmp_path / 'v\t"1".mp4', 0.1, 2.5),
        "ü/2": Recording(tmp_path / "frames", 0.0, None, 29.97),
    }
    path = tmp_path / "clips.tsv"
    write_clip_list(path, recordings)
    assert read_clip_list(path) == recordings
    path.write_bytes("\ufeffid\tvideo\r\nx\tsub/v.mp4\r\n".encode())
    assert read_clip_list(path) == {"x": Recording(tmp_path / "sub" / "v.mp4")}


def python_that_makes(tmp_path: Path, pip: str) -> str:
    """Stands in for Python: `-I -m venv DIR` makes a directory whose Python does `pip`."""
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
mkdir -p "$4/bin"
printf '#!/bin/sh\\n{pip}\\n' > "$4/bin/python"
chmod +x "$4/bin/python"
""")
    python.chmod(0o755)
    return str(python)


def test_an_environment_is_made_once(tmp_path):
    python = python_that_makes(tmp_path, "exit 0")
    wanted, told = tmp_path / "cache" / "environment", []
    assert ready_environment(wanted, told.append, python) == wanted
    assert f"in {wanted}: about 500 MB and a minute, once" in told[0]
    assert worker_command(wanted)[0] == str(wanted / "bin" / "python")
    made = (wanted / "bin" / "python").stat().st_mtime_ns
    assert ready_environment(wanted, told.append, "nothing") == wanted
    assert len(told) == 2 and (wanted / "bin" / "python").stat().st_mtime_ns == made


def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path):
    lines = ["Looking at the index", "ERROR: No matching distribution found for av", "Goodbye"]
    fails = "; ".join(f"echo {line}" for line in lines) + "; exit 1"
    wanted = tmp_path / "cache" / "environment"
    with pytest.raises(SignBindError, match="No matching distribution found for av.*index once"):
        ready_environment(wanted, python=python_that_makes(tmp_path, fails))
    assert [path.suffix for path in wanted.parent.iterdir()] == [".lock"]
    with pytest.raises(SignBindError, match="found no bin/python"):
        ready_environment(tmp_path)
