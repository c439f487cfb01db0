"""The Python of notebooks and pages runs as it is written, on an untrained translator."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("translate_a_clip", "translation.text"), ("experts_and_fusion", "tokens and by_hand")],
)
def test_notebooks_run(runs, bundle, monkeypatch, name, wanted):
    monkeypatch.setenv("SIGNBIND_TRANSLATOR", str(bundle))
    monkeypatch.setenv("SIGNBIND_CLIP", str(runs / "a.npz"))
    notebook = json.loads((ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text())
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs of a run are not kept"
            exec("".join(cell["source"]), names)
    assert eval(wanted, names)


@pytest.mark.parametrize(
    "page", ["README.md", "docs/use/translate_from_python.md", "docs/use/stream.md"]
)
def test_python_of_a_page_runs(runs, bundle, page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place, source in (("runs/mine/translation", bundle), ("data/mine", runs / "data")):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).symlink_to(source)
    (tmp_path / "talk.npz").symlink_to(runs / "a.npz")  # landmarks in place of a video
    fences = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.M)
    names: dict = {}
    for fence in fences:
        exec(fence.replace("talk.mp4", "talk.npz"), names)
    assert fences and capsys.readouterr().out.strip()
