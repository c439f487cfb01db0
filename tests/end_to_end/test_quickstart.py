"""The whole system through its own commands, at a size that takes a minute or two."""

import json

from tests.conftest import signbind

VARIANTS = {"signing", "signing+fingerspelling", "signing+lips", "all", "oracle_text"}
COLUMNS = {"bleu4", "bleu_signature", "chrf", "name_recall", "homonym_accuracy", "role",
           "lonely_twin", "adjacent_names"}  # fmt: skip


def test_quickstart_trains_scores_reports_and_goes_on(tmp_path):
    run = tmp_path / "run"
    first = signbind("quickstart", "--smoke", f"--workdir={run}", timeout=900)
    assert str(run / "report.html") in first.stdout
    results = json.loads((run / "results.json").read_text())
    assert set(results["translation"]) == VARIANTS
    assert all(set(row) >= COLUMNS for row in results["translation"].values())
    assert results["stages"]["signing"]["steps"] == 20
    assert results["seconds_total"] > 0 and results["peak_rss_gb"] > 0.1
    page = (run / "report.html").read_text()
    assert "synthetic" in page and "<script" not in page
    examples = json.loads((run / "examples.json").read_text())
    assert len(examples) == 12 and all(e["reference"] in page for e in examples)

    # Frozen experts are not run again: the streams of each split were decoded once.
    streams = {path: path.stat().st_mtime_ns for path in (run / "streams").iterdir()}
    weights = run / "translation" / "checkpoints"
    written = {path: path.stat().st_mtime_ns for path in weights.rglob("manifest.json")}
    again = signbind("evaluate", f"--checkpoint={run / 'translation'}",
                     f"--data={run / 'data'}", "--split=test")  # fmt: skip
    assert "all/bleu4" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (run / "streams").iterdir()} == streams
    assert {p: p.stat().st_mtime_ns for p in weights.rglob("manifest.json")} == written
