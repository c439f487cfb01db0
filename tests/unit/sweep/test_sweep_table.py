"""The table of a sweep: order, means, failures, CSV and page, from what is on disk."""

import csv
import json

import pytest

from signbind_jax import sealed
from signbind_jax.cli import main
from signbind_jax.sweep.points import load_sweep
from signbind_jax.sweep.record import note_failure, read_record
from tests.sweeps import finished_points, sweep_file
from tests.unit.report.report_run import Page

GRID = "h.product([h.sweep('optim.learning_rate', [1e-3, 3e-3, 1e-2]), h.seeds(2)])"
EVIL = "</style><script>alert(1)</script>"


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def rows_of(workdir) -> list[dict]:
    with (workdir / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def page_of(workdir) -> Page:
    return Page(workdir / "sweep.html")


def drawn(page: Page, kind: str) -> list[dict]:
    """Attributes of the path of every dot or curve; each has a text where it is pointed at."""
    found = []
    for i, (_, attributes) in enumerate(page.elements):
        if attributes.get("class") == kind:
            (title, _), (path, attributes) = page.elements[i + 1 : i + 3]
            assert (title, path) == ("title", "path")
            found.append(attributes)
    return found


def test_points_are_ranked_averaged_and_drawn(tmp_path, capsys):
    config = sweep_file(tmp_path / "s.py", GRID)
    finished_points(tmp_path / "w", config, {0: 50.0, 1: 52.0, 2: 20.0, 3: 40.0, 4: 99.0})
    assert main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows[:6]] == ["2", "3", "0", "1", "4", "5"]
    means = [row for row in rows[6:] if len(row) == 4]
    assert [row[0] for row in means] == ["0.003", "0.001"]
    assert means[0][1:] == ["30", "14.1", "2"] and means[1][1:] == ["51", "1.4", "2"]
    assert "99" in printed and "1 of 2" in printed
    assert "6 points: 5 finished, 1 not started." in printed
    assert "Best gloss_wer (lower is better): 20, point 2" in printed
    table = rows_of(tmp_path / "w")
    assert [row["index"] for row in table] == list("012345")
    assert table[2]["optim.learning_rate"] == "0.003" and table[2]["gloss_wer"] == "20.0"
    assert table[2]["loss"] == "7.0" and table[2]["seconds"] == "61.0"
    assert table[5]["state"] == "not started" and table[5]["gloss_wer"] == ""
    page = page_of(tmp_path / "w")
    assert not page.open
    dots = drawn(page, "dot")
    assert len(dots) == 5  # one path beside the seed, five points with a score
    assert sum("var(--good)" in a["style"] for a in dots) == 1
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_a_finished_point_had_as_many_steps_as_its_epochs_were(tmp_path):
    config = sweep_file(tmp_path / "s.py", GRID, "epochs = 2.0", "steps = 1000")
    finished_points(tmp_path / "w", config, {0: 50.0})
    finished, waiting = read_record(tmp_path / "w").outcomes[:2]
    assert (finished.step, finished.steps) == (20, 20) and waiting.steps == 1000


def test_higher_is_better_where_it_is(tmp_path, capsys):
    config = sweep_file(tmp_path / "s.py", GRID)
    sweep = finished_points(tmp_path / "w", config, {0: 1.0, 1: 2.0})
    for index, accuracy in ((0, 90.0), (1, 30.0)):
        path = tmp_path / "w" / sweep.points[index].name / "summary.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"scores": {"letter_accuracy": accuracy}}))
    assert main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only"]) == 0
    assert "Best letter_accuracy (higher is better): 90, point 0" in capsys.readouterr().out
    assert main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only", "--metric=loss"]) == 0
    assert "Best loss (lower is better): 7, point 0" in capsys.readouterr().out
    assert (
        main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only", "--metric=letter_acuracy"])
        == 1
    )
    assert "did you mean 'letter_accuracy'?" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"\xff", "of another run"])
def test_a_point_whose_summary_is_damaged_is_not_finished(tmp_path, caplog, damage):
    workdir = tmp_path / "w"
    sweep = finished_points(workdir, sweep_file(tmp_path / "s.py", GRID), {0: 1.0, 1: 2.0})
    path = workdir / sweep.points[0].name / "summary.json"
    if damage == "of another run":
        other = {"step": 20, "seconds": 1.0, "finished": True, "scores": {"gloss_wer": 0.0}}
        sealed.write(path, other | {"config_digest": sweep.points[1].config.digest})
    else:
        path.write_bytes(damage)
    states = [outcome.state for outcome in read_record(workdir).outcomes]
    assert states[:3] == ["unfinished", "finished", "not started"]
    assert str(path) in caplog.messages[0]


def test_options_reach_the_command_of_every_point(tmp_path):
    config = sweep_file(tmp_path / "s.py", GRID)
    points = load_sweep(str(config), {"data.directory": "d"}, ["--other_versions"]).points
    assert all("--other_versions" in point.command(tmp_path) for point in points)


def test_parallel_coordinates_have_a_line_a_point_and_an_axis_a_path(tmp_path):
    grid = (
        "h.product([h.sweep('optim.learning_rate', [1e-3, 3e-3]), "
        "h.sweep('model.dropout', [0.0, 0.1]), h.sweep('steps', [20, 30])])"
    )
    finished_points(
        tmp_path / "w", sweep_file(tmp_path / "s.py", grid), {i: 10.0 * i for i in range(7)}
    )
    main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only"])
    page = page_of(tmp_path / "w")
    lines = drawn(page, "curve")
    assert len(lines) == 7
    assert all(a["d"].count("L") == 3 for a in lines)  # three paths and the score
    assert "1 without a score are not drawn" in page.text


def test_failures_and_hostile_text_are_shown_as_text(tmp_path, capsys):
    config = sweep_file(tmp_path / "s.py", f"h.sweep('data.train', ['train', {EVIL!r}])")
    sweep = finished_points(tmp_path / "w", config, {0: 5.0})
    note_failure(tmp_path / "w", sweep.points[1], f"found {EVIL}\nwanted peace")
    (tmp_path / "w" / "old=1").mkdir()
    (tmp_path / "w" / "old=1" / "point.json").write_text("{}")
    assert main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only"]) == 0
    printed = capsys.readouterr().out
    assert f"failed: found {EVIL} wanted peace" in printed
    assert "1 finished, 1 failed" in printed and "such as old=1" in printed
    assert rows_of(tmp_path / "w")[1]["error"] == f"found {EVIL} wanted peace"
    page = page_of(tmp_path / "w")
    assert EVIL in page.text and not any(name == "script" for name, _ in page.elements)


def test_many_numbers_stand_where_their_size_puts_them(tmp_path):
    rates = [10 ** (-4 + i / 10) for i in range(21)]
    finished_points(
        tmp_path / "w",
        sweep_file(tmp_path / "s.py", f"h.sweep('optim.learning_rate', {rates!r})"),
        {i: float(i) for i in range(21)},
    )
    main(["sweep", f"--workdir={tmp_path / 'w'}", "--report_only"])
    places = [float(a["d"].split()[1]) for a in drawn(page_of(tmp_path / "w"), "dot")]
    gaps = [b - a for a, b in zip(sorted(places), sorted(places)[1:], strict=False)]
    assert len(gaps) == 20 and max(gaps) - min(gaps) < 0.3  # even on a logarithmic axis


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"points": [1]}'])
def test_a_missing_or_damaged_record_is_told_in_one_line(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    assert main(["sweep", f"--workdir={tmp_path}", "--report_only"]) == 1
    error = capsys.readouterr().err
    assert "sweep.json" in error and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jobs=0", "--config=x"],
        [],
        ["--report_only", "--config.seed=1"],
        ["--config=x", "--dry_run", "--point=1"],
    ],
)
def test_bad_usage_is_exit_code_2(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["sweep", f"--workdir={tmp_path}", *arguments])
    assert caught.value.code == 2
    assert "signbind sweep: error: " in capsys.readouterr().err
