"""The audit of real recordings."""

from signbind_jax.data_pipelines import folder
from signbind_jax.data_pipelines.audit.page import write_audit_page
from signbind_jax.data_pipelines.writing.writer import write_dataset
from tests.audit_datasets import audited, finding, told
from tests.unit.report.report_run import Page


def test_recorded_sentences_have_no_error_and_are_drawn(recorded, tmp_path):
    write_dataset(tmp_path / "d", folder.open_corpus(recorded / "dgs"), progress=False)
    result = audited(tmp_path / "d")
    assert told(result) == {
        "left_out": "warning",  # one of 16 rows has no text
        "unspoken_words": "note",
        "ctc_fingerspelling": "note",
        "ctc_lipreading": "note",
    }
    assert "empty text: 1 (a3340720)" in finding(result, "left_out").found
    assert "lanzarote" in finding(result, "unspoken_words").found
    config = "lipreading:size=few,frontend=mouth_landmarks"
    mouths = audited(tmp_path / "d", configs=[config])
    ctc = finding(mouths, f"ctc_{config}")
    assert ctc.level == "error" and mouths.names(ctc) == ["a2779117"]  # 42 phonemes, 30 frames
    write_audit_page(tmp_path / "page.html", result)
    page = Page(tmp_path / "page.html")
    assert not page.open
    assert sum("skeleton" in a.get("class", "") for _, a in page.elements) >= 60
