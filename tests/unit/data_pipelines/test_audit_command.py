"""`signbind data audit`: terminal, JSON, page, exit codes, and agreement with training."""

import dataclasses
import json
import re

import pytest

from signbind_jax.cli import main
from signbind_jax.config import load_config
from signbind_jax.data.dataset_description import index_file
from signbind_jax.data_pipelines.writing import writer
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from tests.audit_datasets import FRAMES, audited, clean_clips, finding, write
from tests.unit.report.report_run import Page

EVIL = "</style><script>alert(1)</script>\x1b[31m\"'&<b>"
# config -> labels of more steps than FRAMES frames have
TOO_LONG = {
    "signing": {"gloss": ("OLD", "COOK") * (FRAMES // 2 + 1)},
    "fingerspelling": {"spelled": ("a" * (FRAMES // 2 + 2),)},
    "lipreading": {"phonemes": ("P", "AH") * (FRAMES // 2 + 1)},
}


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "600")


def test_a_clean_synthetic_corpus_passes_whatever_the_workers(tmp_path, capsys):
    data = tmp_path / "d"
    sizes = ["--train=60", "--validation=8", "--test=8", "--time_split=2", "--workers=1"]
    assert main(["data", "build", "synthetic", f"--out={data}", *sizes]) == 0
    for workers in (1, 2):
        out = f"--json={tmp_path / f'{workers}.json'}"
        assert main(["data", "audit", str(data), out, f"--workers={workers}"]) == 0
    alone, together = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    assert alone == together
    assert alone["counts"]["error"] == 0 and alone["clips"] == alone["clips_read"] == 82
    assert {row["split"]: row["clips"] for row in alone["splits"]}["train"] == 60
    assert alone["source"]["synthetic"] is True
    printed = capsys.readouterr().out
    assert "synthetic: no person was recorded" in printed and "0 errors" in printed
    assert "all 82 clips do not name their sign language" in " ".join(printed.split())


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Two errors, in clips whose texts and names are hostile, as no build of ours writes them."""
    monkeypatch.setattr(writer, "check_rows", lambda corpus: None)
    splits = clean_clips()
    train, test = splits["train"], splits["test"]
    train[0] = dataclasses.replace(train[0], text="…", id=EVIL)
    test[0] = dataclasses.replace(
        test[0], modalities=train[1].modalities, text=f"{EVIL} sees a cook"
    )
    return write(tmp_path / "d", splits, published={"test": 9}, left_out={EVIL: ["gone\n1"]})


def test_errors_give_exit_code_1_and_everything_stands_in_the_page(tmp_path, faulty, capsys):
    files = {kind: tmp_path / "out" / f"audit.{kind}" for kind in ("json", "html")}
    options = [f"--{kind}={path}" for kind, path in files.items()]
    assert main(["data", "audit", str(faulty), *options]) == 1
    printed = capsys.readouterr().out
    assert "2 errors" in printed and "\x1b" not in printed
    assert "-> leave these clips out of one of the splits" in printed

    record = json.loads(files["json"].read_text())
    by_check = {found["check"]: found for found in record["findings"]}
    assert by_check["empty_text"]["clips"] == [EVIL]
    assert by_check["shared_recordings"]["clips"] == ["train-1 = test-0"]
    assert all(found["advice"] for found in record["findings"] if found["level"] == "error")
    assert sum(record["counts"].values()) == len(record["findings"])
    durations = next(h for h in record["histograms"] if h["name"] == "duration")
    assert sum(durations["counts"]) + durations["beyond"] == 40 and durations["median"] == 3
    assert {row["config"]: row["present"] for row in record["ctc"] if row["split"] == "train"} == {
        "signing": 24,
        "fingerspelling": 24,
        "lipreading": 24,
    }

    page = Page(files["html"])
    assert not page.open
    names = [name for name, _ in page.elements]
    assert "script" not in names and "link" not in names and page.source.count("</style>") == 1
    assert all(a.get("href", "#").startswith(("#", "data:image/png")) for _, a in page.elements)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for level in ("error", "warning", "note"):
        assert f"{record['counts'][level]} {level}s" in page.text
    for found in record["findings"]:
        assert " ".join(found["found"].replace("\x1b", "").split()) in page.text.replace("\x1b", "")
    for part in (
        "train-1 = test-0",
        "gone 1",
        "Clips that errors and warnings name",
        "median 3",
        "test 8 of 9, 1 missing",
    ):
        assert part in page.text
    assert sum("skeleton" in a.get("class", "") for _, a in page.elements) >= 50
    assert names.count("image") >= 50


def test_a_sample_is_announced_where_the_findings_are(tmp_path, faulty, capsys):
    html = tmp_path / "a.html"
    assert main(["data", "audit", str(faulty), "--clips=4", f"--html={html}"]) == 1
    assert "arrays of 4 of 40 clips read, evenly spaced" in " ".join(
        capsys.readouterr().out.split()
    )
    assert "Only the arrays of 4 of 40 clips were read" in Page(html).text


def test_a_dataset_of_which_nothing_can_be_read_gets_its_page(tmp_path, capsys):
    dataset = write(tmp_path / "d", clean_clips({"train": 2, "test": 2}))
    for split in ("train", "test"):
        (dataset / index_file(split)).write_bytes(b"PK")
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "html")]
    assert main(["data", "audit", str(dataset), *files]) == 1
    assert "splits that cannot be opened: train, test" in capsys.readouterr().out
    assert json.loads((tmp_path / "json").read_text())["clips_read"] == 0
    page = Page(tmp_path / "html")
    assert not page.open and "No clip could be read." in page.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no dataset"),
        (["{d}", "--configs", "sining"], "did you mean 'signing'"),
        (["{d}", "--configs", "fusion"], "a config of stage fusion, wanted one of signing"),
        (["{d}", "--configs", "signing", "--json={d}/dataset.json/x"], "dataset.json"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, capsys, arguments, message):
    dataset = write(tmp_path / "d", clean_clips({"train": 2}))
    assert main(["data", "audit", *(a.format(d=dataset) for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("config", TOO_LONG)
def test_impossible_clips_are_counted_as_training_counts_them(tmp_path, capsys, config):
    splits = clean_clips({"train": 60})
    splits["train"][7] = dataclasses.replace(splits["train"][7], **TOO_LONG[config])
    few = write(tmp_path / "few", splits)
    result = audited(few, configs=[config])
    assert finding(result, f"ctc_{config}").level == "note"
    assert result.names(finding(result, f"ctc_{config}")) == ["train-7"]
    stage = open_source(load_config(config, {"data.directory": str(few)}))
    assert "1 clips left out: target longer than CTC output" in stage.notes
    assert result.feasible[0].impossible == 1

    for i in (3, 4):
        splits["train"][i] = dataclasses.replace(splits["train"][i], **TOO_LONG[config])
    many = write(tmp_path / "many", splits)
    result = audited(many, configs=[config])
    assert finding(result, f"ctc_{config}").level == "error"
    options = [f"--config.data.directory={many}", f"--workdir={tmp_path / 'run'}"]
    assert main(["train", f"--config={config}", *options]) == 1
    refused = re.search(r"(\d+) of (\d+) clips have", capsys.readouterr().err)
    row = result.feasible[0]
    assert (row.impossible, row.present) == tuple(map(int, refused.groups())) == (3, 60)


@pytest.mark.parametrize(("n_glosses", "frames_a_step"), [(FRAMES // 4 + 2, 2), (FRAMES, 1)])
def test_fewer_frames_become_a_step_where_targets_need_more_steps(
    tmp_path, n_glosses, frames_a_step
):
    splits = clean_clips({"train": 60})
    for i in range(3):
        gloss = tuple(f"G{j}" for j in range(n_glosses))
        splits["train"][i] = dataclasses.replace(splits["train"][i], gloss=gloss)
    data = write(tmp_path / "data", splits)
    source = open_source(load_config("signing", {"data.directory": str(data)}))
    stage = make_stage(source.config, source.shapes)
    assert source.model_config == stage.model_config
    assert stage.model_config.subsample == frames_a_step and source.plan.n_clips == 60
    assert (
        f"{frames_a_step} instead of 4 frames a step (model.subsample): 3 of 60 clips were too "
        "short for their gloss" in source.notes
    )
    result = audited(data, configs=["signing"])
    found = finding(result, "ctc_signing")
    assert found.level == "note" and f"{frames_a_step} instead of 4 frames" in found.found
    assert result.feasible[0].impossible == 0


def test_tokens_that_a_config_leaves_out_need_no_steps(tmp_path):
    splits = clean_clips()
    rare = tuple(f"SEEN-ONCE-{i}" for i in range(FRAMES))
    for name in ("train", "test"):
        gloss = (*splits[name][3].gloss, *rare) if name == "train" else rare * 2
        splits[name][3] = dataclasses.replace(splits[name][3], gloss=gloss)
    data = write(tmp_path / "data", splits)
    config = tmp_path / "frequent.py"
    config.write_text(
        "from signbind_jax.configs import signing\n"
        "def get_config(arg):\n"
        "    config = signing.get_config('size=tiny')\n"
        "    config.data.min_count = int(arg)\n"
        "    return config\n"
    )
    result = audited(data, configs=[f"{config}:1", f"{config}:2"])
    assert [(row.split, row.impossible, row.empty) for row in result.feasible] == [
        *(("train", 1, 0), ("validation", 0, 0), ("test", 1, 0)),
        *(("train", 0, 0), ("validation", 0, 0), ("test", 0, 1)),
    ]
    source = open_source(load_config(f"{config}:2", {"data.directory": str(data)}))
    assert not any("left out: target longer" in note for note in source.notes)
