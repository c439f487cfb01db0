"""Recordings shown to the camera of a real browser: the word error rate of what the page answers.

    python -m benchmarks.real.camera --checkpoint=RUN --data=DATASET --source=grid_s1 [--split=dev]

RUN is a translator, DATASET what it was evaluated on, built by `signbind data build folder` of the
corpus of videos --source. Of the split --clips recordings, evenly spread, are scored in three
ways: as `signbind evaluate` writes them, uploaded to the page of `signbind serve`, and recorded by
the page with a camera that shows them. That camera is Chromium's own, which plays a file: the
recording, with its first frame held before it and its last after it. It is recorded from
--margin_s seconds before the first frame moves to as long after the last.

Chromium is found on the PATH, or named by $SIGNBIND_CHROMIUM. It takes the extra `test`. The last
line is JSON: the word error rates in percent, and what was wrong in which recordings.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av

from benchmarks.harness import ROOT, describe_machine, make_parser
from benchmarks.real.grid import rows_of
from benchmarks.serve_load import Server
from signbind_jax.data.dataset import open_dataset
from signbind_jax.metrics.sequence import error_counts

_BEFORE_S, _AFTER_S = 4.0, 30.0  # that the camera holds the first and the last frame
_WAIT_MS = 300_000
_SINCE_FIRST_FRAME = "seconds => document.getElementById('preview').currentTime >= seconds"


def main() -> None:
    """Scores and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, help="a translator: a run or a bundle")
    parser.add_argument("--data", type=Path, required=True, help="a dataset")
    parser.add_argument("--source", type=Path, required=True, help="the folder corpus it is of")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--margin_s", type=float, default=0.1)
    arguments = parser.parse_args()
    rows = [
        row for row in rows_of(arguments.source / "manifest.tsv") if row["split"] == arguments.split
    ]
    rows = rows[:: max(1, len(rows) // arguments.clips)][: arguments.clips]
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        evaluated = evaluate(arguments, tree)
        read: dict[str, list[str]] = {"evaluate": [evaluated[row["id"]] for row in rows]}
        server_options = [f"--checkpoint={arguments.checkpoint}", f"--workdir={tree / 'serve'}"]
        with Server([*server_options, "--warm_up_s=0"]) as server:
            address = str(server.client.base_url)
            read["upload"], read["camera"] = [], []
            for row in rows:
                video = arguments.source / row["video"]
                uploaded, seen = show(address, video, tree / "camera.y4m", arguments.margin_s)
                read["upload"].append(uploaded)
                read["camera"].append(seen)
                print(f"{row['id']}: {row['text']!r}: {uploaded!r}, camera {seen!r}", flush=True)
    said = [row["text"].split() for row in rows]
    found: dict = {
        f"{way}_wer": round(error_counts(said, [text.split() for text in texts]).rate, 2)
        for way, texts in read.items()
    }
    found["clips"] = len(rows)
    found["differing"] = {
        row["id"]: dict(zip(read, texts, strict=True))
        for row, *texts in zip(rows, *read.values(), strict=True)
        if len(set(texts)) > 1
    }
    print(describe_machine())
    print(json.dumps(found))


def evaluate(arguments: argparse.Namespace, tree: Path) -> dict[str, str]:
    """What `signbind evaluate` writes of each clip of the split."""
    hypotheses = tree / "hypotheses.txt"
    command = [sys.executable, "-m", "signbind_jax.cli", "evaluate", f"--data={arguments.data}"]
    command += [f"--checkpoint={arguments.checkpoint}", f"--split={arguments.split}"]
    subprocess.run([*command, "--variants=all", f"--hypotheses={hypotheses}"], cwd=ROOT, check=True)
    ids = open_dataset(arguments.data).split(arguments.split).ids
    lines = hypotheses.read_text(encoding="utf-8").splitlines()
    return dict(zip(ids, lines, strict=True))


def show(address: str, video: Path, camera: Path, margin_s: float) -> tuple[str, str]:
    """What the page answers to a video that is uploaded, and to one that its camera sees."""
    from playwright.sync_api import sync_playwright

    seconds = write_camera(video, camera)
    options = [
        "--use-fake-ui-for-media-stream",  # whoever sits there allows the camera
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ]
    program = os.environ.get("SIGNBIND_CHROMIUM") or shutil.which("chromium")
    if program is None:
        raise SystemExit("benchmark: found no chromium on the PATH, wanted one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        page = browser.new_page()
        page.set_default_timeout(_WAIT_MS)
        page.goto(address)
        page.locator("#file").set_input_files(video)
        uploaded = answer(page)
        page.get_by_role("button", name="Another recording").click()
        page.get_by_role("button", name="Use the camera").click()
        page.wait_for_function(_SINCE_FIRST_FRAME, arg=_BEFORE_S - margin_s)
        page.get_by_role("button", name="Record").click()
        page.wait_for_function(_SINCE_FIRST_FRAME, arg=_BEFORE_S + seconds + margin_s)
        page.get_by_role("button", name="Stop and translate").click()
        seen = answer(page)
        browser.close()
    return uploaded, seen


def answer(page) -> str:
    """The sentence of the recording under way."""
    page.locator("#result").wait_for()
    return page.locator("#sentence").inner_text()


def write_camera(video: Path, path: Path) -> float:
    """Writes what the camera shows; gives the seconds that the video lasts."""
    frames, fps = read_frames(video)
    pictures = [frame.to_ndarray().tobytes() for frame in frames]
    before, after = pictures[:1] * round(_BEFORE_S * fps), pictures[-1:] * round(_AFTER_S * fps)
    with path.open("wb") as file:
        width, height = frames[0].width, frames[0].height
        file.write(f"YUV4MPEG2 W{width} H{height} F{fps.numerator}:{fps.denominator} ".encode())
        file.write(b"Ip A1:1 C420jpeg\n")
        for picture in (*before, *pictures, *after):
            file.write(b"FRAME\n" + picture)
    return len(frames) / float(fps)


def read_frames(video: Path):
    """Its frames, as yuv420p, and their rate."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        frames = [frame.reformat(format="yuv420p") for frame in container.decode(stream)]
        return frames, stream.average_rate


if __name__ == "__main__":
    main()
