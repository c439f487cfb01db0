"""A fourth expert is one file of a user's: it is trained, judged, fused and translated with."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from signbind_jax import streams
from signbind_jax.checkpoint import artefact
from signbind_jax.cli import main
from signbind_jax.config import load_config
from signbind_jax.data.batch import MODALITIES
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import FRONTENDS, register_frontend
from signbind_jax.processes import child
from signbind_jax.stages import assumed_stage
from signbind_jax.train.best_step import Best
from tests.conftest import ROOT, simulated

HANDS = Path(__file__).with_name("hands.py")
IMPORT = f"--import={HANDS}"
VARIANTS = ["signing", "signing+fingerspelling", "signing+lips", "signing+hands", "all"]


@pytest.fixture(scope="module", autouse=True)
def registered():
    """What the file registers is forgotten behind these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_registry", dict(streams._registry))
        patch.setenv(child.IMPORTS, "")
        yield
    for table in (FRONTENDS, MODALITIES):
        table.pop("hands", None)


EXPERTS = ("signing", "hands")
PARENTS = {
    "signing": (),
    "hands": (),
    "language_model": (),
    "fusion": EXPERTS,
    "alignment": (*EXPERTS, "language_model", "fusion"),
    "translation": (*EXPERTS, "language_model", "alignment"),
}


def training(stage: str, runs: Path, workdir: Path, mesh=(1, 1, 1)) -> list[str]:
    """The command that trains a stage for two steps on its parents in `runs`."""
    config = f"{HANDS if stage == 'hands' else stage}:size=tiny"
    options = {
        "data.directory": runs / "data",
        "data.validation": "",
        "data.batch_multiple": 4,
        "steps": 2,
        "log_every": 1,
    }
    options |= {f"parents.{name}": runs / name for name in PARENTS[stage]}
    options |= {f"mesh.{axis}": n for axis, n in zip(("data", "fsdp", "tensor"), mesh, strict=True)}
    if stage == "fusion":
        options["augment.drop_stream.hands"] = 0.5
    options = [f"--config.{name}={value}" for name, value in options.items()]
    return ["train", IMPORT, f"--config={config}", f"--workdir={workdir / stage}", *options]


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def runs(registered, tmp_path_factory) -> Path:
    """Every stage after two steps, each on those before it."""
    root = tmp_path_factory.mktemp("runs")
    sizes = ("--train=16", "--validation=4", "--test=4", "--time_split=0", "--workers=1")
    assert main(["data", "build", "synthetic", f"--out={root / 'data'}", *sizes]) == 0
    for stage in PARENTS:
        assert main(training(stage, root, root)) == 0, stage
    return root


def test_its_stages_train_alike_on_a_2x2x2_mesh(runs, tmp_path, request):
    every = request.config.getoption("--every_stage")
    stages = ("hands", "fusion", "translation") if every else ("fusion",)
    commands = [training(stage, runs, tmp_path, (2, 2, 2)) for stage in stages]
    program = (
        "import json, sys; from signbind_jax.cli import main; "
        "sys.exit(max(map(main, json.loads(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        cwd=ROOT,
        env=simulated(8),
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for stage in stages:
        alone = losses(runs / stage)
        assert len(alone) == 2 and np.isfinite(alone).all()
        np.testing.assert_allclose(losses(tmp_path / stage), alone, rtol=1e-4, err_msg=stage)


def scores(runs: Path, stage: str) -> dict:
    path = runs / f"{stage}.json"
    assert (
        main(
            [
                "evaluate",
                IMPORT,
                f"--checkpoint={runs / stage}",
                f"--data={runs / 'data'}",
                f"--json={path}",
            ]
        )
        == 0
    )
    return json.loads(path.read_text())["scores"]


def test_it_is_judged_by_its_own_metric_on_its_own_labels(runs):
    found = scores(runs, "hands")
    glosses = [clip.gloss for clip in open_dataset(runs / "data").split("test").labels]
    assert found["handshape_error_rate"] > 0
    assert found["reference_tokens"] == sum(map(len, glosses)) > 0
    assert Best(2, "handshape_error_rate", 40.0).beats(Best(1, "handshape_error_rate", 50.0))
    assert "handshapes" in artefact.open_artefact(runs / "hands").vocabularies


def test_fusion_reads_it_beside_the_others_and_translations_are_compared_without_it(runs):
    fusion = artefact.open_artefact(runs / "fusion")
    n_ids = fusion.model_config.n_ids
    assert len(n_ids) == 4 and n_ids[1:3] == (1, 1)  # no expert of spelling or lips here
    assert n_ids[3] == len(fusion.vocabularies["handshapes"])
    assert scores(runs, "fusion")["token_error_rate"] > 0
    assert list(scores(runs, "translation")) == VARIANTS


def test_translate_shows_what_it_read(runs, capsys):
    clip = runs / "clip.npz"
    points = 500 + np.random.default_rng(0).normal(0, 4, (40, 133, 2)).cumsum(0)
    np.savez(clip, keypoints=points, fps=25.0)
    run = f"--checkpoint={runs / 'translation'}"
    assert main(["translate", IMPORT, run, str(clip), "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["streams"].keys() == {"signing", "hands"}


def test_an_audit_checks_its_targets(runs):
    path = runs / "audit.json"
    assert (
        main(
            [
                "data",
                "audit",
                IMPORT,
                str(runs / "data"),
                "--workers=1",
                f"--json={path}",
                "--configs",
                "signing",
                str(HANDS),
            ]
        )
        == 0
    )
    rows = [row for row in json.loads(path.read_text())["ctc"] if row["config"] == str(HANDS)]
    assert {row["split"]: row["present"] for row in rows} == {
        "train": 16,
        "validation": 4,
        "test": 4,
    }


def test_preflight_counts_it_among_the_streams(runs):
    alone = load_config(f"{HANDS}:size=tiny", {})
    assert assumed_stage(alone).model_config.frontend == "hands"
    fusion = load_config("fusion:size=tiny", {"parents.hands": "x", "assumed.streams.hands": "27"})
    assert assumed_stage(fusion).model_config.n_ids == (1024, 32, 48, 27)
    assert load_config("fusion:size=tiny", {}).streams == streams.SHIPPED  # none is named there


def test_a_run_whose_stream_is_not_there_says_how_it_comes(runs, monkeypatch, capsys):
    monkeypatch.delitem(streams._registry, "hands")
    monkeypatch.setenv(child.IMPORTS, "")
    for stage in ("hands", "translation"):
        run = [f"--checkpoint={runs / stage}", f"--data={runs / 'data'}"]
        assert main(["evaluate", *run]) == 1
        error = capsys.readouterr().err
        assert "artefact.json: stream: found 'hands', wanted one of signing" in error
        assert "--import=FILE.py" in error and error.count("\n") == 1


WRONG = [
    ({"name": "signing"}, "wanted another than the shipped signing"),
    ({"name": "fusion"}, "not the name of a stage"),
    ({"name": "Big hands"}, "lower-case letters"),
    ({"target": "gloss"}, "target: found 'gloss', which is there already"),
    ({"label": None}, "label: found none, wanted a function that gives handshapes"),
    ({"label": "gloss"}, "label: found 'gloss', wanted a function"),
    ({"label": None, "target": "gloss"}, "vocabulary: found 'gloss', which signing has"),
    ({"drop": 1.5}, "drop: found 1.5, wanted a number, at least 0 and at most 1"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=[str(fields) for fields, _ in WRONG])
def test_a_wrong_stream_is_told(fields, told):
    given = {"name": "feet", "target": "handshapes2", "metric": "x", "label": list} | fields
    told = told.replace("handshapes", "handshapes2")
    with pytest.raises(SignBindError) as caught:
        streams.register(streams.StreamSpec(**given))
    assert told in str(caught.value) and "feet" not in streams.names()


def test_what_a_config_file_registers_is_there_in_child_processes(runs, monkeypatch):
    monkeypatch.delitem(streams._registry, "hands")
    monkeypatch.setenv(child.IMPORTS, "")
    load_config(str(HANDS), {})
    code = (
        "from signbind_jax import streams; from signbind_jax.processes import user_files; "
        "user_files.import_files(); print(streams.names())"
    )
    command, environment = child.python("timeit", "-n1", "-r1", code)
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert "'hands')" in done.stdout, done.stderr


def test_a_wrong_frontend_or_file_is_told(tmp_path, capsys):
    with pytest.raises(SignBindError, match="another name than the shipped pose, lips"):
        register_frontend("pose", list)
    bad = tmp_path / "bad.py"
    bad.write_text("import signbind_jax\n1 / 0\n")
    for file, told in (
        (bad, "bad.py:2: ZeroDivisionError"),
        (tmp_path / "no.py", "no such file"),
        (tmp_path, "wanted a Python file"),
    ):
        assert main(["train", f"--import={file}", "--config=signing", "--workdir=w"]) == 1
        error = capsys.readouterr().err
        assert error.startswith("signbind: error: --import: ") and told in error
        assert error.count("\n") == 1


def test_a_label_function_that_gives_no_tokens_is_told(runs, monkeypatch):
    spec = streams.StreamSpec("feet", target="steps", metric="x", label=lambda clip: [len(clip.id)])
    monkeypatch.setitem(streams._registry, "feet", spec)
    with pytest.raises(SignBindError, match=r"stream feet: label of clip '.*': found \[.*tokens"):
        open_dataset(runs / "data").split("test").targets  # noqa: B018
