"""The HTML report: what a reader sees, from complete, partial, damaged and hostile runs."""

import base64
import copy
import html.parser
import json
import math

import pytest

from signbind_jax import keypoints
from signbind_jax.errors import SignBindError
from signbind_jax.report import charts, clips, skeleton, timeline, wording, write_report
from signbind_jax.report.markup import page_text, tag
from signbind_jax.report.run_files import number, read_run

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
SIGNATURE = "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
VARIANTS = {
    "signing": {"bleu4": 38.2, "name_recall": 2.0, "homonym_accuracy": 51.3},
    "signing+fingerspelling": {"bleu4": 61.4, "name_recall": 63.2, "homonym_accuracy": 52.7},
    "signing+lips": {"bleu4": 45.9, "name_recall": 1.4, "homonym_accuracy": 90.2},
    "all": {"bleu4": 74.3, "name_recall": 64.8, "homonym_accuracy": 91.6, "role": 95.3},
    "all_without_time": {"bleu4": 68.7, "name_recall": 61.0, "role": 51.2},
    "oracle_text": {"bleu4": 97.6},
}


def standing_pose() -> list:
    """Every canonical point seen, spread over a square of two shoulder widths."""
    return [[(i % 10) / 5 - 1, (i // 10) / 5 - 1, 0.9] for i in range(keypoints.K)]


def complete_results() -> dict:
    return {
        "stages": {
            "signing": {"gloss_wer": 11.8, "seconds": 122.4, "steps": 900},
            "translation": {"loss": 0.31, "bleu4": 74.3, "seconds": 61, "steps": 700},
        },
        "translation": {v: {**s, "bleu_signature": SIGNATURE} for v, s in VARIANTS.items()},
        "seconds_total": 643.2,
        "peak_rss_gb": 2.31,
        "versions": {"jax": "0.10.2"},
        "corpus": {"name": "embedded", "synthetic": True, "splits": {"train": 40, "test": 30}},
        "command": "signbind quickstart",
    }


def complete_example() -> dict:
    token = {"token": "FRIEND", "start": 0.25, "end": 1.0, "confidence": 0.93}
    return {
        "id": "test_0001",
        "split": "test",
        "signer": "s3",
        "duration_s": 2.5,
        "reference": "My friend Anna visited us.",
        "hypotheses": {"signing": "My friend visited us.", "all": "My friend Anna visited us."},
        "names": ["anna"],
        "streams": {
            "signing": [token, {**token, "token": "BANK", "start": 1.25, "end": 1.75}],
            "fingerspelling": [
                {"token": c, "start": 1 + i / 10, "end": 1.08 + i / 10, "confidence": 0.8}
                for i, c in enumerate("anna")
            ],
            "lipreading": [],
        },
        "true": {"gloss": ["FRIEND", "VISIT"], "spelled": ["anna"], "phonemes": ["AE"]},
        "fused": ["FRIEND", "a", "n", "n", "a", "VISIT"],
        "skeleton": {"times": [0.0, 1.0], "frames": [standing_pose(), standing_pose()]},
        "mouths": {"times": [0.0, 1.0], "png_base64": [PNG, PNG]},
    }


def write_run(directory, results=None, examples=None, logs=None):
    """A run directory with the files that are given."""
    if results is not None:
        (directory / "results.json").write_text(json.dumps(results))
    if examples is not None:
        (directory / "examples.json").write_text(json.dumps(examples))
    for stage, lines in (logs or {}).items():
        (directory / stage).mkdir()
        (directory / stage / "metrics.jsonl").write_text("\n".join(lines))
    return directory


def log_lines(losses, kind="train") -> list[str]:
    return [json.dumps({"step": i, "kind": kind, "loss": x}) for i, x in enumerate(losses)]


class Page(html.parser.HTMLParser):
    """Visible text, (element, attributes) pairs and the elements left open."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.open, self.pieces = [], [], []
        self.feed(self.source)
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, name, attrs):
        self.elements.append((name, dict(attrs)))
        if name not in ("meta", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.pieces.append(data)


def report_of(directory, *args, **kwargs) -> Page:
    return Page(write_report(write_run(directory, *args, **kwargs)))


def test_a_complete_run_tells_everything_and_loads_nothing_from_elsewhere(tmp_path):
    page = report_of(
        tmp_path,
        complete_results(),
        [complete_example()],
        {"signing": log_lines([80, 9, 1.2]), "translation": log_lines([3, 2])},
    )
    assert not page.open
    for told in ("synthetic", "74.3", SIGNATURE, "signbind quickstart", "2.3 GB", "10 min 43 s",
                 "FRIEND: 0.25 s to 1.00 s, confidence 0.93", "loss, nats"):  # fmt: skip
        assert told in page.text
    for name, attributes in page.elements:
        assert name not in ("script", "link", "iframe", "object")
        for key in ("href", "src"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png"))
        assert not any(key.startswith("on") for key in attributes)
    assert "@import" not in page.source and "url(" not in page.source
    assert "Missing or left out" not in page.text


def test_pictures_are_described_for_those_who_cannot_see_them(tmp_path):
    page = report_of(tmp_path, complete_results(), [complete_example()])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [a for name, a in page.elements if name == "svg" and a.get("role") == "img"]
    assert pictures
    for attributes in pictures:
        assert set(attributes["aria-labelledby"].split()) <= set(ids)


def test_reading_of_the_ablation_follows_from_the_numbers(tmp_path):
    text = report_of(tmp_path, complete_results()).text
    assert "With fingerspelling switched off the system writes 1.4 % of the names" in text
    assert "switched on, 64.8 %. That is a gain of 63.4 points." in text
    assert "right meaning of 52.7 % of the look-alike signs; switched on, 91.6 %" in text
    assert "the 23.3 points between them are lost in reading" in text


def test_a_stream_without_effect_or_with_harm_is_called_so(tmp_path):
    results = complete_results()
    results["translation"]["signing+lips"]["name_recall"] = 64.5
    results["translation"]["signing+fingerspelling"]["homonym_accuracy"] = 96.7
    text = report_of(tmp_path, results).text
    assert "64.8 %. In this run it makes no clear difference." in text
    assert "That is a loss of 5.1 points: in this run it does harm here." in text


def test_a_missing_variant_falls_back_or_is_said_to_be_missing(tmp_path):
    results = complete_results()
    del results["translation"]["signing+lips"], results["translation"]["all_without_time"]
    text = report_of(tmp_path, results).text
    assert "off the system writes 2 % of the names; switched on, 63.2 %" in text
    assert "without the times was not measured" in text and "“who did what” 95.3 %" in text
    del results["translation"]["all"]["homonym_accuracy"], results["translation"]["signing"]
    text = report_of(tmp_path, results).text
    assert text.count("This comparison was not measured in this run.") == 2


@pytest.mark.parametrize(
    ("synthetic", "said"),
    [(True, "no person was recorded"), (False, "recordings of people"), (None, "does not say")],
)
def test_whether_people_were_recorded_is_said_plainly(tmp_path, synthetic, said):
    results = complete_results()
    results["corpus"]["synthetic"] = synthetic
    text = report_of(tmp_path, results).text
    assert said in text
    assert ("no person was recorded" in text) == (synthetic is True)


def test_an_empty_run_says_what_is_missing(tmp_path):
    text = report_of(tmp_path, {}).text
    for told in ("no translation scores", "no scores of its stages", "no training logs",
                 "There is no examples.json", "not recorded"):  # fmt: skip
        assert told in text


@pytest.mark.parametrize("content", [None, "{", "[1]", '"x"', "\xff"])
def test_unreadable_results_are_one_line_that_names_the_file(tmp_path, content):
    if content is not None:
        (tmp_path / "results.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(SignBindError, match="results.json") as raised:
        write_report(tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "report.html").exists()


JUNK = (None, "x", -1, [], {}, [None, 3], {"a": []}, math.inf)


def places(value, path=()):
    """Paths to all parts of a JSON value; of lists only the first two entries."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for key, inner in items if isinstance(value, dict | list) else ():
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def test_junk_in_any_field_never_stops_the_report(tmp_path):
    run = {"results": complete_results(), "examples": [complete_example()]}
    for n, path in enumerate(places(run)):
        damaged = copy.deepcopy(run)
        inner = damaged
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = JUNK[n % len(JUNK)]
        if isinstance(damaged["results"], dict):
            assert not report_of(tmp_path, **damaged).open


def test_text_from_the_run_is_never_markup(tmp_path):
    evil = "</style><script>alert(1)</script>\"'&<b>"
    results, example = complete_results(), complete_example()
    results["corpus"]["name"] = results["command"] = evil
    results["translation"]["all"]["bleu_signature"] = evil
    results["versions"] = {evil: evil}
    results["stages"][evil] = {evil: 3}
    example.update(id=evil, reference=evil, names=[evil, "\ud800"], fused=[evil])
    example["hypotheses"] = {evil: evil}
    example["streams"]["signing"][0]["token"] = evil
    page = report_of(tmp_path, results, [example])
    assert "script" not in {name for name, _ in page.elements}
    assert page.source.count("</style>") == 1
    assert f"“{evil}”" in page.text


def test_damaged_log_lines_are_counted_and_a_resumed_step_counts_once(tmp_path):
    lines = [*log_lines([4.0, 3.0, 2.0]), '{"step": 1, "kind": "train", "loss": 2.5}',
             '{"step": 3, "kind": "train", "loss": NaN}', '{"step": 4, "los', "[]"]  # fmt: skip
    run = read_run(write_run(tmp_path, complete_results(), logs={"signing": lines}))
    assert run.logs["signing"].curves["loss"]["train"] == [(0, 4.0), (1, 2.5), (2, 2.0)]
    notes = " ".join(run.notes)
    assert "signing/metrics.jsonl: 2 unreadable lines" in notes
    assert "signing/metrics.jsonl: 1 values are not finite" in notes
    assert "translation/metrics.jsonl" in notes


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [([90, 9, 0.9], True), ([2.0, 1.5], False), ([90, 0.0], False), ([3.0], False)],
)
def test_a_loss_that_falls_far_gets_a_log_axis(values, logarithmic):
    picture = page_text(charts.learning_curve("c", "loss", {"train": list(enumerate(values))}))
    assert ("(log scale)" in picture) == logarithmic
    assert "nan" not in picture


def test_axis_labels_of_a_flat_curve_differ():
    kinds = {"validation": [(0, 1.01), (10, 1.19)]}
    picture = charts.learning_curve("c", "loss", kinds)
    labels = [e.text for e in picture.iter("text") if e.get("class") == "tick end"]
    assert len(labels) >= 3 and len(labels) == len(set(labels))


def test_a_long_curve_is_averaged_and_says_so():
    kinds = {"train": [(i, float(i % 2)) for i in range(5000)], "validation": [(5000, 1.0)]}
    picture = page_text(charts.learning_curve("c", "loss", kinds))
    assert "train (averaged)" in picture and "validation (averaged)" not in picture
    assert len(picture) < 20_000


def test_bars_show_what_was_not_measured_and_never_leave_the_frame():
    picture = charts.bars("b", "name_recall", {"signing": None, "all": 64.8, "oracle_text": 180.0})
    assert "not measured" in page_text(picture)
    width = float(picture.get("viewBox").split()[2])
    bars = [(number(float(r.get("x"))), float(r.get("width"))) for r in picture.iter("rect")]
    assert len(bars) == 2 and bars[0][1] > 0
    assert all(x + w < width for x, w in bars)


def test_labels_of_dense_streams_never_overlap(tmp_path):
    record = complete_example()
    record["streams"]["signing"] = [
        {"token": f"DOCUMENT-{i}", "start": 2.4 * i / 40, "end": 2.4 * i / 40 + 0.03}
        for i in range(40)
    ]
    example = read_run(write_run(tmp_path, {}, [record])).examples[0]
    picture = timeline.draw("k", example)
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
    example = read_run(write_run(tmp_path, {}, [record])).examples[0]
    picture = timeline.draw("k", example)
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
    picture = page_text(timeline.draw("k", example))
    assert picture.count("not what was really there") == 1
    assert "not in this run" in picture and "nothing read" not in picture


def test_points_that_were_not_seen_are_not_drawn():
    frame = standing_pose()
    elbow = keypoints.NAMES.index("left_elbow")
    frame[elbow] = [0.77, 0.77, 0.0]
    frame[keypoints.HAND.index("wrist") + 49] = [math.nan, 0.5, 0.9]
    box = skeleton.bounds([frame])
    drawn = page_text(skeleton.figure_of(frame, box, 0, 0, 80, 100))
    assert "77 77" not in drawn and "nan" not in drawn
    frame[elbow][2] = 0.4
    assert "77 77" in page_text(skeleton.figure_of(frame, box, 0, 0, 80, 100))
    unseen = [[0.0, 0.0, 0.0]] * keypoints.K
    assert "not seen" in page_text(skeleton.figure_of(unseen, box, 0, 0, 80, 100))


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
                found.append(rest.split("<", 1)[0])
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


def test_numbers_read_as_people_write_them():
    assert wording.figure(64.84, "%") == "64.8\u00a0%"
    assert wording.figure(0.00123) == "0.00123"
    assert wording.figure(None) == wording.figure(math.nan) == "–"
    assert wording.duration(3725) == "1 h 2 min"
    assert wording.duration(59.97) == "1 min 0 s"
    assert wording.figure(99.97, "%") == "100.0\u00a0%" and wording.figure(100.0) == "100"


def test_markup_escapes_and_keeps_the_order_of_mixed_children():
    line = tag("p", "a<", tag("b", "c"), ["d", None, tag("i", "e")], "&f", data_x='"<')
    assert page_text(line).split("\n")[1] == (
        '<p data-x="&quot;<">a&lt;<b>c</b>d<i>e</i>&amp;f</p>'
    )
