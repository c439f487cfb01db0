"""The report's pictures: curves, bars, streams on one time axis, skeletons, mouths, differences."""

import base64
import html
import math
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from signbind_jax import keypoints
from signbind_jax.data.clip import Clip, TimedToken
from signbind_jax.data.vocabulary import UNREAD
from signbind_jax.report import charts, clips, timeline
from signbind_jax.report.page import write_report
from signbind_jax.report.run_files import read_run
from tests.unit.report.report_run import (
    Page,
    complete_example,
    complete_results,
    report_of,
    standing_pose,
    write_run,
)


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [([90, 9, 0.9], True), ([2.0, 1.5], False), ([90, 0.0], False), ([3.0], False)],
)
def test_a_loss_that_falls_far_gets_a_log_axis(values, logarithmic):
    picture = charts.learning_curve("loss", {"train": list(enumerate(values))})
    assert ("(log scale)" in picture) == logarithmic
    assert "nan" not in picture


def test_an_error_rate_that_falls_far_keeps_its_axis():
    assert "(log scale)" not in charts.learning_curve("gloss_wer", {"train": [(0, 90), (1, 1)]})


@pytest.mark.parametrize(
    "points", [[(0, 1e30), (1, -1e30)], [(0, 1e30), (9**20, 5e-324)], [(0, 0)]]
)
def test_curves_of_diverged_runs_are_drawn(points):
    ElementTree.fromstring(charts.learning_curve("loss", {"train": points}))


def test_axis_labels_of_a_flat_curve_differ():
    picture = charts.learning_curve("loss", {"validation": [(0, 1.01), (10, 1.19)]})
    labels = [e.text for e in ElementTree.fromstring(picture).iter("text")]
    vertical = [label for label in labels if re.fullmatch(r"1\.\d+|1", label)]
    assert len(vertical) >= 3 and len(vertical) == len(set(vertical))


def test_a_long_curve_is_averaged_and_says_so():
    kinds = {"train": [(i, float(i % 2)) for i in range(5000)], "validation": [(5000, 1.0)]}
    picture = charts.learning_curve("loss", kinds)
    assert "train (averaged)" in picture and "validation (averaged)" not in picture
    assert len(picture) < 20_000


def test_the_same_data_give_the_same_picture_whatever_the_reader_has_set(tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nsvg.fonttype: path\nfont.size: 30")
    code = (
        "import sys, signbind_jax.quickstart.command, signbind_jax.sweep.command\n"
        "assert 'matplotlib' not in sys.modules  # a command starts without it\n"
        "from signbind_jax.report import charts\n"
        "print(charts.learning_curve('loss', {'validation': [(0, 3.0), (9, 2.0)]}))"
    )
    environment = os.environ | {"MATPLOTLIBRC": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    picture = charts.learning_curve("loss", {"validation": [(0, 3.0), (9, 2.0)]})
    assert done.stdout.strip() == picture
    assert "var(--accent)" in picture and "url(" not in picture and " id=" not in picture


def test_text_in_charts_is_never_markup_nor_formula():
    evil = "</title><script>$x$\x00\ud800"
    points = [charts.Scored(evil, {evil: evil}, 1.0), charts.Scored("b", {evil: 2}, 2.0)]
    for picture in (
        charts.scatter(evil, evil, points),
        charts.parallel_coordinates(evil, [evil], points),
        charts.learning_curve(evil, {evil: [(0, 1.0), (1, 2.0)]}),
        charts.histogram(evil, evil, [0, 1, 2], [3, 0], 0, 0.5),
    ):
        parsed = ElementTree.fromstring(picture)
        assert not list(parsed.iter("script"))
        assert any("<script>$x$\ufffd\ufffd" in (e.text or "") for e in parsed.iter("text"))


def test_bars_show_what_was_not_measured_and_never_leave_the_frame(tmp_path):
    results = complete_results()
    results["translation"] = {
        "signing": {"chrf": 1.0},
        "all": {"name_recall": 64.8},
        "oracle_text": {"name_recall": 180.0},
    }
    source = report_of(tmp_path, results).source
    (drawn,) = re.findall(r'<svg class="chart"[^>]*"names written.*?</svg>', source, re.S)
    picture = ElementTree.fromstring(drawn)
    assert "not measured" in "".join(picture.itertext())
    width = float(picture.get("viewBox").split()[2])
    bars = [(float(r.get("x")), float(r.get("width"))) for r in picture.iter("rect")]
    assert len(bars) == 2 and bars[0][1] > 0
    assert all(x + w < width for x, w in bars)


def drawn(directory, record) -> ElementTree.Element:
    """The timeline of the only example of a run, as it stands in the page."""
    source = report_of(directory, {}, [record]).source
    (picture,) = re.findall(r'<svg class="timeline".*?</svg>\s*</div>', source, re.S)
    return ElementTree.fromstring(picture.removesuffix("</div>"))


def test_labels_of_dense_streams_never_overlap(tmp_path):
    record = complete_example()
    record["streams"]["signing"] = [
        {"token": f"DOCUMENT-{i}", "start": 2.4 * i / 40, "end": 2.4 * i / 40 + 0.03}
        for i in range(40)
    ]
    picture = drawn(tmp_path, record)
    rows: dict[str, list] = {}
    for group in picture.iter("g"):
        if "signing" not in (group.get("class") or ""):
            continue
        label = group.find("text")
        # 6 px a character is less than any common font takes at this size.
        x, length = float(label.get("x")), 6.0 * len(label.text)
        left = {"start": x, "end": x - length, "middle": x - length / 2}[label.get("class")]
        rows.setdefault(label.get("y"), []).append((left, left + length))
        assert left >= 0 and left + length <= timeline.WIDTH
    assert len(rows) > 3
    for spans in rows.values():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


def test_streams_share_one_axis_in_seconds(tmp_path):
    record = complete_example()
    for stream in ("signing", "fingerspelling", "lipreading"):
        record["streams"][stream] = [{"token": "x", "start": 1.0, "end": 2.0, "confidence": 0.5}]
    picture = drawn(tmp_path, record)
    bars = [g.find("rect") for g in picture.iter("g") if "token" in (g.get("class") or "")]
    assert len({(bar.get("x"), bar.get("width"), bar.get("fill-opacity")) for bar in bars}) == 1
    tick = {e.text: float(e.get("x")) for e in picture.iter("text") if e.text in ("1", "2")}
    assert float(bars[0].get("x")) == pytest.approx(tick["1"], abs=0.1)
    assert float(bars[0].get("width")) == pytest.approx(tick["2"] - tick["1"], abs=0.2)


def test_misread_tokens_are_outlined_and_absent_streams_are_not_called_empty(tmp_path):
    record = complete_example()
    del record["streams"]["lipreading"]
    example = read_run(write_run(tmp_path, {}, [record])).examples[0]
    assert timeline.wrong_tokens(example, "signing") == {1}
    assert timeline.wrong_tokens(example, "fingerspelling") == set()
    picture = "".join(drawn(tmp_path, record).itertext())
    assert picture.count("not what was really there") == 1
    assert "not in this run" in picture and "nothing read" not in picture


def test_what_was_left_unread_is_shown_as_that_and_no_token(tmp_path):
    record = complete_example()
    while_s = {"token": UNREAD, "start": 0.0, "end": 0.25, "confidence": 0.2}
    record["streams"]["signing"].insert(0, while_s)
    record["streams"]["lipreading"] = [while_s]
    example = read_run(write_run(tmp_path, {}, [record])).examples[0]
    assert timeline.wrong_tokens(example, "signing") == {1}  # BANK, the second that was read
    rows = timeline.of_example(example).rows
    assert [r.detail for r in rows] == ["2 read, 1 unread", "4 tokens", "0 read, 1 unread"]
    picture = drawn(tmp_path, record)
    told = [g.find("title").text for g in picture.iter("g") if g.get("class") == "unread"]
    assert [" ".join(t.split()) for t in told] == [
        "unread: nothing was read from 0.00 s to 0.25 s"
    ] * 2
    page = report_of(tmp_path, {}, [record])
    assert "dotted outline: unread" in page.source and "&lt;unread&gt;" not in page.source
    assert "dotted outline: unread" not in report_of(tmp_path, {}, [complete_example()]).source


def test_streams_of_the_datasets_own_are_drawn_and_written_out(tmp_path):
    record = complete_example()
    record["streams"]["mouth"] = [{"token": "m21", "start": 0.5, "end": 1.0, "confidence": 1.0}]
    (clip,) = clips.shown(read_run(write_run(tmp_path, {}, [record])).examples)
    assert clip["timeline"].rows[-1].title == "mouth" and len(clip["timeline"].rows) == 4
    title, words = clip["read"][-1]
    assert title == "mouth" and words[0][0].startswith("m21 ")
    given = {"mouth": (TimedToken("m21", 0.5, 1.0),), "hand": ()}
    line = timeline.of_clip(Clip(id="a", text="", streams=given, seconds=2.0), [], [])
    assert line.end == 2.0 and [(row.title, row.detail) for row in line.rows] == [
        ("mouth", "1 tokens"),
        ("hand", "nothing read"),
    ]


def test_points_that_were_not_seen_are_not_drawn(tmp_path):
    frame = standing_pose()
    elbow = keypoints.NAMES.index("left_elbow")
    frame[elbow] = [0.77, 0.77, 0.0]
    frame[keypoints.HAND.index("wrist") + 49] = [math.nan, 0.5, 0.9]
    record = complete_example()

    def lines() -> str:
        record["skeleton"]["frames"][0] = frame
        figure = next(
            e for e in drawn(tmp_path, record).iter("svg") if e.get("class") == "skeleton"
        )
        return "".join(path.get("d") for path in figure.iter("path")) + "".join(figure.itertext())

    assert "77 77" not in lines() and "nan" not in lines()
    frame[elbow][2] = 0.4
    assert "77 77" in lines()
    frame[:] = [[0.0, 0.0, 0.0]] * keypoints.K
    assert lines().strip() == "not seen"


def test_a_pose_of_another_layout_is_said_to_be_one(tmp_path):
    record = complete_example()
    record["skeleton"]["frames"] = [[[0, 0, 1]] * 33] * 2
    assert "of another layout" in report_of(tmp_path, {}, [record]).text


def marked(path, element, css=None) -> list[str]:
    """Texts of the elements of one kind within the examples."""
    found, page = [], Page(path)
    for piece in page.source.split("<article")[1:]:
        for part in piece.split(f"<{element}")[1:]:
            attributes, rest = part.split(">", 1)
            if (css is None) == ("class" not in attributes) and (css or "") in attributes:
                found.append(html.unescape(rest.split("<", 1)[0]))
    return found


def test_word_differences_and_names_are_marked(tmp_path):
    record = complete_example()
    record["streams"], record["true"] = {}, {}
    record["hypotheses"] = {
        "signing": "My friend saw us!",
        "signing+fingerspelling": "my friend, ANNA, visited us",
        "all": "Anna's friend visited us.",
    }
    path = write_report(write_run(tmp_path, {}, [record]))
    assert marked(path, "mark", "name")[:2] == ["Anna", "ANNA,"]
    assert marked(path, "del", "name") == ["Anna", "Anna"]
    assert marked(path, "ins", "name") == ["Anna's"]
    assert marked(path, "ins") == ["saw"]
    assert marked(path, "del") == ["visited", "My"]
    assert Page(path).text.count("✓ anna written") == 2
    assert Page(path).text.count("✗ anna missed") == 1


def test_mouth_pictures_keep_within_the_budget_and_false_ones_are_refused(tmp_path):
    heavy = "iVBORw0KGgo" + "A" * (clips.MOUTH_BUDGET // 30 // 4 * 4 + 1)
    records = [complete_example() for _ in range(12)]
    for record in records:
        record["mouths"] = {"times": list(range(10)), "png_base64": [heavy] * 10}
    records[0]["mouths"]["png_base64"] = ["<svg onload=x>", base64.b64encode(b"GIF89a").decode()]
    page = report_of(tmp_path, complete_results(), records)
    assert len(page.source) < 3_000_000
    assert "clips are shown without their recorded mouth pictures" in page.text
    images = [attributes["href"] for name, attributes in page.elements if name == "image"]
    assert images and all(href.startswith("data:image/png;base64,iVBOR") for href in images)
