"""Damaged files of a finished run are told, and cost no more than they have to."""

import dataclasses
import shutil

import pytest

from signbind_jax import files, versions
from signbind_jax.errors import SignBindError
from signbind_jax.train.loop import train
from signbind_jax.train.step_programs import StepPrograms
from signbind_jax.train.summary import read_summary
from tests.faults import damage

STAGE = "language_model"


@pytest.fixture(scope="module")
def trained(synthetic, tmp_path_factory):
    return damage.Chain(tmp_path_factory.mktemp("damaged"), synthetic, [STAGE])


@pytest.fixture
def chain(trained):
    trained.restore()
    return trained


def go_on(chain, **arguments):
    """Resumes the run; (result, lines announced)."""
    lines = []
    result = train(chain.config(STAGE), chain.runs / STAGE, announce=lines.append, **arguments)
    return result, lines


def remove_manifests(chain):
    for path in chain.runs.glob("*/checkpoints/step_*/manifest.json"):
        path.unlink()


def test_damaged_files_are_found_or_harmless(chain):
    damages = damage.campaign(chain, 20, seed=0)
    wrong = [d for d in damages if d.verdict in (damage.SILENT, damage.TRACEBACK)]
    assert len(damages) == 20 and not wrong
    # How many are found depends on where in files of changing sizes the damage falls; some are
    # of files that are always missed.
    assert damage.FOUND in {d.verdict for d in damages}


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"step": 4}', b"[]"])
def test_a_damaged_summary_is_made_again(chain, caplog, content):
    path = chain.runs / STAGE / "summary.json"
    wanted = read_summary(path.parent)
    path.write_bytes(content)
    result, _ = go_on(chain)
    assert result.finished and str(path) in caplog.text
    assert read_summary(path.parent)["scores"] == result.scores == wanted["scores"]


def test_one_high_bit_in_the_log_ends_no_run(chain, caplog):
    path = chain.runs / STAGE / "metrics.jsonl"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] |= 0x80
    path.write_bytes(content)
    result, _ = go_on(chain)
    assert result.finished and f"{path}: found 1 lines" in caplog.text


def test_states_without_any_manifest_are_refused_and_stay(chain):
    remove_manifests(chain)
    checkpoints = chain.runs / STAGE / "checkpoints"
    with pytest.raises(SignBindError) as raised:
        go_on(chain)
    assert f"{checkpoints}: found the arrays of step 4 and no manifest.json" in str(raised.value)
    assert len(list(checkpoints.glob("step_*/state/*"))) > 2


def test_checkpoints_that_are_gone_are_refused(chain):
    shutil.rmtree(chain.runs / STAGE / "checkpoints")
    with pytest.raises(SignBindError, match=r"summary.json tells of step 4: put the checkpoints"):
        go_on(chain)


@pytest.mark.parametrize("left", ["state.orbax-checkpoint-tmp", "state"])
def test_a_first_save_that_was_killed_is_begun_again(chain, left):
    """Killed while the arrays were written, and between them and the manifest."""
    remove_manifests(chain)
    (chain.runs / STAGE / "summary.json").unlink()
    checkpoints = chain.runs / STAGE / "checkpoints"
    shutil.rmtree(checkpoints / "step_00000004")
    (checkpoints / "step_00000002/state").rename(checkpoints / "step_00000002" / left)
    (checkpoints / "step_00000002/manifest.json.partial").touch()
    result, lines = go_on(chain)
    assert result.step == 4 and not any("resumed" in line for line in lines)
    assert chain.content(STAGE)["arrays"] == chain.wanted[STAGE]["arrays"]


def test_the_step_before_one_without_manifest_is_used_and_told(chain, caplog):
    (chain.runs / STAGE / "checkpoints/step_00000004/manifest.json").unlink()
    result, lines = go_on(chain)
    assert result.step == 4 and f"{STAGE}: resumed at step 2" in lines
    assert "step_00000004: passed over: its manifest.json is missing" in caplog.text
    assert chain.content(STAGE)["arrays"] == chain.wanted[STAGE]["arrays"]


def test_other_versions_go_on_only_when_asked_to(chain, monkeypatch):
    shutil.rmtree(chain.runs / STAGE / "checkpoints/step_00000004")
    here = versions.installed()
    monkeypatch.setattr(versions, "installed", lambda: here | {"optax": "9.9"})
    with pytest.raises(SignBindError, match=rf"optax 9.9 \(the run: {here['optax']}\).*--other_v"):
        go_on(chain)
    result, _ = go_on(chain, other_versions=True)
    assert result.step == 4
    made_with = damage.artefact.open_artefact(chain.runs / STAGE).manifest.versions
    assert made_with["optax"] == [here["optax"], "9.9"] and made_with["jax"] == [here["jax"]]
    monkeypatch.setattr(versions, "installed", lambda: here)
    assert go_on(chain)[0].finished  # nothing is left to compute


def test_a_config_that_is_known_from_the_checkpoints_alone_is_compared(chain):
    workdir = chain.runs / STAGE
    (workdir / "artefact.json").unlink()
    other = dataclasses.replace(chain.config(STAGE), seed=7)
    with pytest.raises(SignBindError, match="step 4: config_digest: found .*that of this run"):
        train(other, workdir, announce=lambda _: None)
    assert go_on(chain)[0].finished
    damage.artefact.open_artefact(workdir)


def test_a_directory_in_which_a_run_is_under_way_takes_no_other(chain):
    workdir = chain.runs / STAGE
    with files.trying_to_lock(workdir), pytest.raises(SignBindError) as raised:
        go_on(chain)
    assert f"--workdir: {workdir}: found another training under way" in str(raised.value)
    assert go_on(chain)[0].finished


def test_a_step_under_another_steps_name_is_passed_over(chain, caplog):
    checkpoints = chain.runs / STAGE / "checkpoints"
    newest = max(checkpoints.glob("step_*"))
    newest.rename(checkpoints / "step_00000099")
    assert go_on(chain)[0].step == 4
    assert "step: found 4, wanted 99 as its directory says" in caplog.text


def test_a_loss_that_is_no_number_is_told_with_its_step(chain, tmp_path, monkeypatch):
    monkeypatch.setattr(StepPrograms, "read", lambda *_: {"loss": float("nan")})
    with pytest.raises(SignBindError, match="language_model: loss of step 1: found nan, wanted a"):
        train(chain.config(STAGE), tmp_path / "run", announce=lambda _: None)
