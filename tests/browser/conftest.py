"""A real Chromium in front of a real `signbind serve`; skips where there is no Chromium."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from signbind_jax.serve.holistic import HOLISTIC
from tests import drawn_faces
from tests.unit.serve.serving import Server, serving

TOKEN = "a token of tests"
CHROMIUM = "SIGNBIND_CHROMIUM"  # an environment variable: its program
NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 300_000  # for what takes seconds, on a machine with much other work
FPS = 25  # of the camera


@pytest.fixture(scope="package")
def chromium() -> str:
    """The program of a Chromium."""
    found = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(
            f"found none of {', '.join(NAMES)} on the PATH, wanted one to open the page in: "
            f"apt-get install chromium, or name one as ${CHROMIUM}"
        )
    return found


@pytest.fixture(scope="package")
def server(chromium, runs, tmp_path_factory, environment) -> Iterator[Server]:
    """A server that finds drawn faces in videos."""
    options = ("--warm_up_s=0", f"--environment={environment}")
    with serving(runs / "alignment", tmp_path_factory.mktemp("serve"), *options) as server:
        yield server


@pytest.fixture(scope="package")
def private(chromium, runs, tmp_path_factory) -> Iterator[Server]:
    """A server that asks for a token and leaves videos in the browser, which finds drawn faces."""
    holistic = tmp_path_factory.mktemp("holistic")
    for name in HOLISTIC.files:
        (holistic / name).touch()
    shutil.copy(Path(__file__).with_name("drawn_holistic.js"), holistic / "holistic.js")
    options = ("--warm_up_s=0", "--landmarks=browser", f"--holistic={holistic}")
    workdir = tmp_path_factory.mktemp("private")
    with serving(runs / "alignment", workdir, *options, token=TOKEN) as server:
        yield server


@pytest.fixture(scope="package")
def browser(chromium, tmp_path_factory):
    """A browser whose camera shows a drawn face that nods."""
    from playwright.sync_api import sync_playwright

    camera = tmp_path_factory.mktemp("camera") / "face.y4m"
    _write_camera(camera)
    options = [
        "--use-fake-ui-for-media-stream",  # whoever sits there allows the camera
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, timeout=WAIT_MS, args=options
        )
        yield browser
        browser.close()


def _write_camera(path: Path) -> None:
    """Two seconds of frames as they are, which Chromium repeats."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W320 H240 F{FPS}:1 Ip A1:1 C420\n".encode())
        for i in range(2 * FPS):
            picture = drawn_faces.face(80, (160, 90 + i % FPS / 2), size=(320, 240))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            file.write(b"FRAME\n" + frame.to_ndarray(format="yuv420p").tobytes())
