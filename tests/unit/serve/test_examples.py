"""Examples of a bundle over HTTP: they are listed, handed out and translated as any recording."""

import shutil

from signbind_jax.use import export_command
from tests.unit.serve.serving import serving


def test_an_example_is_listed_and_translated_as_any_recording(runs, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    shutil.copyfile(runs / "a.npz", corpus / "a.npz")
    (corpus / "manifest.tsv").write_text("id\tsplit\ttext\tpose\none\ttest\tAnna came.\ta.npz\n")
    export_command.export_translator(runs / "alignment", tmp_path / "made", examples=corpus)
    with serving(tmp_path / "made", tmp_path / "work", "--warm_up_s=0") as server:
        get = server.client.get
        size = (runs / "a.npz").stat().st_size
        listed = get("/v1/examples").json()
        assert listed == [{"name": "one.npz", "bytes": size, "text": "Anna came."}]
        file = get("/v1/examples/one.npz")
        assert file.content == (runs / "a.npz").read_bytes()
        (tmp_path / "one.npz").write_bytes(file.content)
        answer = server.answer(server.add(tmp_path / "one.npz"))
        assert answer["state"] == "done" and answer["result"]["text"], answer
        for name in ("two.npz", "..%2Fbundle.json", "%2Fetc%2Fpasswd"):
            refused = get(f"/v1/examples/{name}")
            assert refused.status_code == 404 and refused.json()["status"] == 404
        assert "examples.js" in get("/main.js").text and 'id="examples"' in get("/").text


def test_a_run_has_none(runs, tmp_path):
    with serving(runs / "alignment", tmp_path / "work", "--warm_up_s=0") as server:
        assert server.client.get("/v1/examples").json() == []
