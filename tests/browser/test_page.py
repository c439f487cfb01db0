"""The page of `signbind serve` as people meet it: with a mouse, a keyboard, a camera, a phone."""

import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from signbind_jax.data_pipelines.extraction.worker import mouth, serve, video
from tests import drawn_faces
from tests.browser.conftest import FPS, TOKEN, WAIT_MS
from tests.drawn_face_worker import DrawnFaces

SERIOUS = ("serious", "critical")  # of what axe finds
PHONE = {"width": 320, "height": 640}  # of the narrowest in use, in CSS pixels
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "contrast": {"color_scheme": "light", "contrast": "more"},
    "dark contrast": {"color_scheme": "dark", "contrast": "more"},
}
expect.set_options(timeout=WAIT_MS)


@pytest.fixture
def told():
    """What a browser's console was told: warnings, errors, what was thrown. A test takes out what
    it wants to find there."""
    return []


@pytest.fixture
def open_page(browser, server, told):
    """Opens a server's page in a window of its own; in the end nothing was asked of any other
    server, and nothing went to the console."""
    contexts, origins, requests = [], [], []

    def open_page(of=server, **options):
        origins.append(str(of.client.base_url).rstrip("/"))
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.on("request", lambda request: requests.append(request.url))
        context.on("console", lambda m: m.type in ("warning", "error") and told.append(m.text))
        context.on("weberror", lambda error: told.append(str(error.error)))
        page = context.new_page()
        page.on("filechooser", lambda chooser: None)  # its listener takes a moment to be there
        page.goto(origins[-1])
        return page

    yield open_page
    for context in contexts:
        context.close()
    asked = {re.sub(r"^blob:|(?<=\d)/.*", "", url) for url in requests}
    assert asked == set(origins)
    assert told == []


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A damaged file of landmarks."""
    path = tmp_path_factory.mktemp("broken") / "broken.npz"
    path.write_bytes(b"PK\3\4 no archive")
    return path


def next_of(page, found: list):
    """Takes out the first of what a page's events are gathered in; it may have still to come."""
    while not found:
        page.wait_for_timeout(10)
    return found.pop(0)


def choose(page, path) -> None:
    page.locator("#file").set_input_files(path)


def sentence(page) -> str:
    """What is read of a recording under way."""
    expect(page.locator("#result")).to_be_visible()
    return page.locator("#sentence").inner_text()


def test_a_chosen_file_becomes_a_sentence_with_skeleton_and_tokens(open_page, server, runs):
    wanted = server.answer(server.add(runs / "a.npz"))["result"]
    page = open_page()
    expect(page.locator("#trained")).to_contain_text("Trained on folder")
    expect(page.locator("#trained")).to_contain_text("It makes mistakes.")
    choose(page, runs / "a.npz")
    assert sentence(page) == wanted["text"]
    tokens = [token["token"] for token in wanted["streams"]["signing"]]
    assert tokens and page.locator(".token").all_inner_texts() == tokens
    drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x)"
    assert page.locator("#skeleton").evaluate(drawn)
    page.get_by_role("button", name="Delete this answer").click()
    expect(page.locator("#take")).to_be_visible()
    expect(page.locator("#result")).to_be_hidden()


def hold(page, pattern) -> list:
    """Keeps the answer to the first request of a pattern back; its route will be in the list."""
    held = []
    page.route(pattern, lambda route: held.append(route), times=1)
    return held


def test_a_file_waits_for_what_the_server_has_to_say(open_page, runs):
    page = open_page()
    expect(page.locator("#limits")).not_to_be_empty()
    held = hold(page, "**/v1/translator")
    page.reload()
    choose(page, runs / "a.npz")
    expect(page.locator("#problem")).to_be_hidden()
    next_of(page, held).continue_()
    assert sentence(page)


def test_an_answer_is_shown_whole_or_not_at_all(open_page, runs, told):
    page = open_page()
    held = hold(page, "**/landmarks")
    choose(page, runs / "a.npz")
    route = next_of(page, held)
    assert not page.locator("#result").is_visible()
    route.continue_()
    assert sentence(page)
    assert page.locator(".token").count()
    page.get_by_role("button", name="Another recording").click()
    held = hold(page, "**/landmarks")
    choose(page, runs / "a.npz")
    next_of(page, held).abort()
    expect(page.locator("#problem")).to_have_text("The server cannot be reached.")
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#take")).to_be_visible()
    assert "ERR_FAILED" in next_of(page, told)


def test_a_file_is_dropped_anywhere(open_page, runs):
    page = open_page()
    expect(page.locator("#limits")).not_to_be_empty()
    data = page.evaluate_handle(
        """bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "dropped.npz"));
          return data;
        }""",
        list((runs / "a.npz").read_bytes()),
    )
    page.dispatch_event("h1", "drop", {"dataTransfer": data})
    assert sentence(page)


@pytest.mark.parametrize("where", ["server", "private"])
def test_the_camera_becomes_a_sentence(where, open_page, request, told):
    of = request.getfixturevalue(where)
    page = open_page(of)
    if where == "private":
        enter_token(page, told)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#preview")).to_be_visible()
    stream = page.locator("#preview").evaluate_handle("video => video.srcObject")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#recorded")).to_contain_text("1 s")
    page.get_by_role("button", name="Stop and translate").click()
    assert sentence(page)
    expect(page.locator("#skeleton")).to_be_visible()
    assert stream.evaluate("s => s.getTracks().every((track) => track.readyState === 'ended')")
    page.get_by_role("button", name="Another recording").click()
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()


def test_what_cannot_be_read_is_one_line_and_the_next_file_works(
    open_page, runs, broken, tmp_path, told
):
    page = open_page()
    choose(page, broken)
    problem = page.get_by_role("alert").and_(page.locator("#problem"))
    expect(problem).to_have_text(re.compile(r"broken\.npz: cannot be read as \.npz[^\n]*"))
    expect(page.locator("#file")).to_be_focused()
    (tmp_path / "notes.txt").write_text("no recording")
    choose(page, tmp_path / "notes.txt")
    expect(problem).to_have_text(re.compile(r"notes\.txt: found that ending[^\n]*"))
    assert "415" in next_of(page, told)  # browsers tell of every refusal
    choose(page, runs / "a.npz")
    assert sentence(page)
    expect(problem).to_be_hidden()


def test_what_is_under_way_is_cancelled(open_page, runs):
    page = open_page()
    page.route(re.compile(r"/v1/jobs/\w+\?"), lambda route: None)  # no answer comes
    choose(page, runs / "a.npz")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#take")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


def test_all_of_it_works_with_the_keyboard_alone(open_page, runs):
    page = open_page()
    expect(page.locator("#limits")).not_to_be_empty()
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_role("link", name="Skip to the recording")).to_be_focused()
    press("Enter")
    press("Tab")
    expect(page.locator("#file")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        press("Enter")
    chooser.value.set_files(runs / "a.npz")
    assert sentence(page)
    expect(page.locator("#result")).to_be_focused()
    press("Tab")
    expect(page.get_by_role("button", name="Play")).to_be_focused()
    press("Space")
    expect(page.locator("#clock")).to_have_text("0.8 of 0.8 s")
    press("Tab")
    expect(page.get_by_role("slider")).to_be_focused()
    press("Home")
    expect(page.locator("#clock")).to_have_text("0.0 of 0.8 s")
    press("Tab")
    expect(page.get_by_role("region", name="Streams on one time axis")).to_be_focused()
    press("Tab")
    press("Enter")
    expect(page.locator("#tokens")).to_be_visible()
    assert page.locator("#tokens tbody tr").count() == page.locator(".token").count()
    press("Tab")  # the table, which can be scrolled
    press("Tab")
    expect(page.get_by_role("button", name="Another recording")).to_be_focused()
    press("Enter")
    expect(page.locator("#take")).to_be_focused()


def states(page, runs, broken):
    """Goes through all that the page can show; gives the name of each."""
    expect(page.locator("#limits")).not_to_be_empty()
    yield "start"
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#preview")).to_be_visible()
    yield "camera"
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#recorded")).not_to_be_empty()
    yield "recording"
    page.get_by_role("button", name="Turn the camera off").click()
    choose(page, broken)
    expect(page.locator("#problem")).to_be_visible()
    yield "problem"
    page.route(re.compile(r"/v1/jobs/\w+\?"), lambda route: None)
    choose(page, runs / "a.npz")
    expect(page.locator("#work")).to_be_visible()
    yield "under way"
    page.get_by_role("button", name="Cancel").click()
    page.unroute_all()
    choose(page, runs / "a.npz")
    expect(page.locator("#result")).to_be_visible()
    page.locator("summary").click()
    expect(page.locator("#tokens")).to_be_visible()
    yield "answer"


def test_a_phone_never_scrolls_sideways(open_page, runs, broken):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    for state in states(page, runs, broken):
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= PHONE["width"], state


def check_with_axe(page, state: str) -> None:
    found = Axe().run(page)
    assert {rule["id"] for rule in found.response["passes"]} >= {"color-contrast", "button-name"}
    wrong = [v for v in found.response["violations"] if v["impact"] in SERIOUS]
    assert not wrong, f"{state}:\n{found.generate_report()}"


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(look, open_page, runs, broken):
    page = open_page(**LOOKS[look])
    for state in states(page, runs, broken):
        check_with_axe(page, state)


def enter_token(page, told, refusals: int = 1) -> None:
    """Gives the token that is asked for, after some refusals."""
    token = page.get_by_role("textbox", name="Token")
    token.fill(TOKEN)
    token.press("Enter")
    expect(page.locator("#limits")).not_to_be_empty()
    for _ in range(refusals):
        assert "401" in next_of(page, told)  # browsers tell of every refusal


def test_a_token_is_asked_for_until_it_is_right(open_page, private, broken, told):
    page = open_page(private)
    token = page.get_by_role("textbox", name="Token")
    expect(token).to_be_focused()
    expect(page.locator("#take")).to_be_hidden()
    check_with_axe(page, "token")
    token.fill("another token, of nobody")
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#token-problem")).to_have_text("This token was refused.")
    enter_token(page, told, refusals=2)
    choose(page, broken)  # its upload and its job are asked for with the token
    expect(page.locator("#problem")).to_contain_text("broken.npz: cannot be read")


@pytest.fixture(scope="module")
def nod(tmp_path_factory):
    """A video of a face that nods, turns, comes near and is gone for a moment."""
    size = (320, 240)
    frames = [
        drawn_faces.face(60 + i / 2, (160, 80 + 5 * np.sin(i / 3)), i / 100, size)
        for i in range(30)
    ]
    frames[12:15] = [drawn_faces.plain((90, 90, 90), size)] * 3
    path = tmp_path_factory.mktemp("nod") / "nod.webm"
    return drawn_faces.write_video(path, frames, FPS, "libvpx")


def test_a_video_stays_in_the_browser_where_landmarks_are_found_there(
    open_page, private, nod, told
):
    page = open_page(private)
    enter_token(page, told)
    expect(page.locator("#where")).to_contain_text("A video stays in this browser")
    with page.expect_response(lambda answer: answer.request.method == "POST") as accepted:
        choose(page, nod)
    assert sentence(page)
    expect(page.locator("#skeleton")).to_be_visible()
    assert private.ask(accepted.value.json()["id"])["name"] == "nod.webm.npz"
    assert "found that ending" in private.upload(nod).json()["detail"]


def test_landmarks_and_crops_of_the_browser_are_those_of_the_server(
    open_page, private, nod, tmp_path, told
):
    page = open_page(private)
    enter_token(page, told)
    page.evaluate(
        """() => {
          const input = document.createElement("input");
          Object.assign(input, { type: "file", id: "here" });
          document.body.append(input);
        }"""
    )
    page.locator("#here").set_input_files(nod)
    with page.expect_download() as download:
        page.evaluate(
            """async () => {
              const { extract } = await import("/finder.js");
              const [file] = document.getElementById("here").files;
              const canvas = document.createElement("canvas");
              const signal = new AbortController().signal;
              const options = { mostSeconds: 60, crops: true, canvas, tell() {}, signal };
              const link = document.createElement("a");
              link.download = "found.npz";
              link.href = URL.createObjectURL(await extract(file, "nod.webm", options));
              link.click();
            }"""
        )
    download.value.save_as(tmp_path / "found.npz")
    found = np.load(tmp_path / "found.npz")
    wanted = serve.extract(video.Span(nod), DrawnFaces())
    assert found["fps"] == wanted.fps == FPS
    assert (found["width"], found["height"]) == (wanted.width, wanted.height)
    assert found["scheme"] == serve.SCHEME
    np.testing.assert_allclose(found["scores"], wanted.points_tnc[..., 2], atol=1e-6)
    np.testing.assert_allclose(found["keypoints"], wanted.points_tnc[..., :2], atol=1)
    np.testing.assert_array_equal(found["lip_state"], wanted.state_t)
    assert {mouth.FOUND, mouth.INTERPOLATED} == set(wanted.state_t)
    off = np.abs(found["lips"].astype(float) - wanted.crops_thw)
    assert off.mean() < 3 and wanted.crops_thw.std() > 20, "grey levels"
