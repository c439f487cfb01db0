"""The HTML report: what a reader sees, from complete, partial, damaged and hostile runs."""

import copy
import json
import math

import pytest

from signbind_jax import sealed
from signbind_jax.errors import SignBindError
from signbind_jax.report import wording
from signbind_jax.report.page import write_report
from signbind_jax.report.run_files import read_run
from tests.unit.report.report_run import (
    SIGNATURE,
    complete_example,
    complete_results,
    log_lines,
    report_of,
    write_run,
)


def test_a_complete_run_tells_everything_and_loads_nothing_from_elsewhere(tmp_path):
    page = report_of(
        tmp_path,
        complete_results(),
        [complete_example()],
        {"signing": log_lines([80, 9, 1.2]), "translation": log_lines([3, 2])},
    )
    assert not page.open
    for told in (
        "synthetic",
        "74.3",
        SIGNATURE,
        "signbind quickstart",
        "2.3 GB",
        "10 min 43 s",
        "FRIEND: 0.25 s to 1.00 s, confidence 0.93",
        "loss, nats",
    ):
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
    assert all(len(attributes["aria-label"]) > 20 for attributes in pictures)
    assert any("Signing: FRIEND BANK" in attributes["aria-label"] for attributes in pictures)


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
    [
        (True, "no person was recorded"),
        (False, "recordings of people"),
        (None, "does not say"),
        ({}, "not recorded"),
        ("True", "not recorded"),
    ],
)
def test_whether_people_were_recorded_is_said_plainly(tmp_path, synthetic, said):
    results = complete_results()
    results["corpus"]["synthetic"] = synthetic
    text = report_of(tmp_path, results).text
    assert said in text
    assert ("no person was recorded" in text) == (synthetic is True)


def test_an_empty_run_says_what_is_missing(tmp_path):
    text = report_of(tmp_path, {}).text
    for told in (
        "no translation scores",
        "no scores of its stages",
        "no training logs",
        "There is no examples.json",
        "not recorded",
    ):
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
    lines = [
        *log_lines([4.0, 3.0, 2.0]),
        '{"step": 1, "kind": "train", "loss": 2.5}',
        '{"step": 3, "kind": "train", "loss": NaN}',
        '{"step": 4, "los',
        '{"step": 1' + 400 * "0" + ', "kind": "train", "loss": 1.0}',
        "[]",
    ]
    run = read_run(write_run(tmp_path, complete_results(), logs={"signing": lines}))
    assert run.logs["signing"].curves["loss"]["train"] == [(0, 4.0), (1, 2.5), (2, 2.0)]
    notes = " ".join(run.notes)
    assert "signing/metrics.jsonl: 3 unreadable lines" in notes
    assert "signing/metrics.jsonl: 1 values are not finite" in notes
    assert "translation/metrics.jsonl" in notes


def test_learning_rate_and_norms_are_drawn_behind_a_click(tmp_path):
    lines = [
        json.dumps({"step": i, "kind": "train", "loss": 4.0 - i, "learning_rate": 1e-3 * i})
        for i in range(3)
    ]
    page = report_of(tmp_path, complete_results(), logs={"signing": lines})
    assert "Learning rate, gradients and updates" in page.text and not page.open
    assert "not drawn here" not in page.text


def test_results_that_were_changed_are_shown_with_a_note(tmp_path):
    path = write_run(tmp_path, complete_results()) / "results.json"
    sealed.write(path, complete_results())
    assert not any("digest" in note for note in read_run(tmp_path).notes)
    assert "digest" not in read_run(tmp_path).results
    path.write_text(path.read_text().replace('"bleu4": ', '"bleu4": 1', 1))
    assert any("results.json: digest: found" in note for note in read_run(tmp_path).notes)


def test_numbers_read_as_people_write_them():
    assert wording.figure(64.84, "%") == "64.8\u00a0%"
    assert wording.figure(0.00123) == "0.00123"
    assert wording.figure(None) == wording.figure(math.nan) == "–"
    assert wording.duration(3725) == "1 h 2 min"
    assert wording.duration(59.97) == "1 min 0 s"
    assert wording.figure(99.97, "%") == "100.0\u00a0%" and wording.figure(100.0) == "100"
