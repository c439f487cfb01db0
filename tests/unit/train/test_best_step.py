"""The step with the best validation score stays, and can be chosen."""

import contextlib

import pytest

from signbind_jax import cli
from signbind_jax.checkpoint import artefact
from signbind_jax.config import load_config
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluation import Evaluation
from signbind_jax.evaluate.evaluators import LanguageModelEvaluator, translation_evaluation
from signbind_jax.stages import assumed_stage
from signbind_jax.train.best_step import FILE
from signbind_jax.train.loop import train
from signbind_jax.train.summary import read_summary


@pytest.fixture
def scored(synthetic, tmp_path, monkeypatch):
    """Trains and evaluates every second step, with the BLEU that is given for each; None ends
    the run there."""

    def run(bleu, steps=6, **overrides):
        values = iter(bleu)

        def evaluate(*_):
            value = next(values)
            if value is None:
                raise InterruptedError
            scores = {"bleu4": float(value)}
            return Evaluation(scores, scores, [])

        monkeypatch.setattr(LanguageModelEvaluator, "run", evaluate)
        overrides = {
            "data.directory": str(synthetic),
            "steps": str(steps),
            "evaluate_every": "2",
            "checkpoint_every": "2",
            "keep_checkpoints": "1",
            "keep_best": "True",
        } | overrides
        config = load_config("language_model:size=tiny", overrides)
        with contextlib.suppress(InterruptedError):
            train(config, tmp_path / "run", announce=str)
        assert next(values, None) is None
        return tmp_path / "run"

    return run


def steps_of(workdir):
    return sorted(int(p.parent.name[5:]) for p in workdir.glob("checkpoints/step_*/manifest.json"))


def test_the_best_step_stays_beside_the_newest_and_children_take_the_newest(scored):
    run = scored([30, 10, 20])
    assert steps_of(run) == [2, 6]
    assert artefact.open_artefact(run).step == 6
    best = artefact.open_artefact(run, "best")
    assert best.step == 2 and best.load_params()
    assert artefact.open_artefact(run, 2).digest == best.digest


def test_a_better_step_takes_the_place_of_the_best_before_it(scored):
    run = scored([30, 40, 20, 10], steps=8)
    assert steps_of(run) == [4, 8]


def test_a_best_step_is_saved_between_two_checkpoints(scored):
    run = scored([30, 10, 20], checkpoint_every="0")
    assert steps_of(run) == [2, 6] and artefact.open_artefact(run, "best").step == 2


def test_the_last_step_can_be_the_best(scored):
    run = scored([10, 20, 30])
    assert steps_of(run) == [6] and artefact.open_artefact(run, "best").step == 6


def test_a_resumed_run_knows_the_best_step_and_goes_on_from_the_newest(scored):
    run = scored([30, 10, None], steps=8)
    assert steps_of(run) == [2, 4]
    scored([20, 25], steps=8)
    assert steps_of(run) == [2, 8]


def test_without_keep_best_no_step_is_marked(scored):
    run = scored([30, 10, 20], keep_best="False")
    assert steps_of(run) == [6] and not (run / "checkpoints" / FILE).exists()
    with pytest.raises(SignBindError, match="found no best step.*--config.keep_best=True"):
        artefact.open_artefact(run, "best")


def test_a_damaged_mark_is_refused_when_opened_and_written_anew_by_training(scored, caplog):
    run = scored([30, 10, None], steps=8)
    mark = run / "checkpoints" / FILE
    mark.write_text(mark.read_text().replace("30", "90"))
    with pytest.raises(SignBindError, match=r"best.json: digest: found"):
        artefact.open_artefact(run, "best")
    artefact.open_artefact(run)
    scored([20, 5], steps=8)
    # The log still holds the score of step 4, which the run goes on from.
    assert str(mark) in caplog.text and artefact.open_artefact(run, "best").step == 6


def test_evaluate_takes_the_step_it_is_asked_for(scored, synthetic, capsys, monkeypatch):
    run = scored([30, 10, 20])
    monkeypatch.setattr(LanguageModelEvaluator, "run", lambda *_: Evaluation({}, {}, []))
    command = ["evaluate", f"--checkpoint={run}", f"--data={synthetic}", "--split=validation"]
    for step, wanted in (("best", 2), ("newest", 6), ("2", 2)):
        assert cli.main([*command, f"--step={step}"]) == 0
        assert f"language_model at step {wanted} " in capsys.readouterr().out
    assert cli.main([*command, "--step=4"]) != 0
    assert "complete steps: [2, 6]" in capsys.readouterr().err


def test_keep_best_without_validation_is_refused():
    with pytest.raises(SignBindError, match="config.keep_best: found True, wanted False where"):
        load_config("language_model:size=tiny", {"keep_best": "True", "data.validation": ""})


def test_what_is_kept_is_no_part_of_the_digest():
    plain = load_config("language_model:size=tiny")
    assert load_config("language_model:size=tiny", {"keep_best": "True"}).digest == plain.digest


def test_a_run_ends_once_patience_has_passed_without_a_better_step_and_stays_ended(scored, capsys):
    run = scored([10, 30, 20, 30], steps=40, patience="2")
    assert steps_of(run) == [4, 8] and artefact.open_artefact(run, "best").step == 4
    assert "bleu4 30.00 at step 4, none better since: ends at step 8" in capsys.readouterr().out
    summary = read_summary(run)
    assert summary["finished"] and summary["step"] == 8 and summary["scores"] == {"bleu4": 30.0}
    scored([], steps=40, patience="2")
    # With more patience it goes on.
    scored([40, None], steps=40, patience="3")
    assert artefact.open_artefact(run, "best").step == 10


def test_an_interrupted_evaluation_is_no_reason_to_end(scored):
    scored([30, None], steps=40, patience="1")
    run = scored([40, 10], steps=40, patience="1")
    assert steps_of(run) == [4, 6]


def test_patience_without_a_best_step_is_refused():
    with pytest.raises(SignBindError, match="config.patience: found 2, wanted 0 without keep_best"):
        load_config("language_model:size=tiny", {"patience": "2", "evaluate_every": "2"})


def test_a_convention_says_which_step_is_best():
    def best(convention, stage="language_model"):
        config = load_config(f"{stage}:size=tiny", {"convention": convention})
        return assumed_stage(config).main_metric, config.digest

    metric, digest = best("how2sign")
    assert metric == "bleu4_how2sign" and best("") == ("bleu4", digest)
    with pytest.raises(SignBindError, match="convention: found 'how2sign', wanted nothing for fus"):
        best("how2sign", "fusion")
    with pytest.raises(SignBindError, match="convention: found 'letters', wanted one of"):
        best("letters")


def test_validation_is_scored_by_the_convention_beside_our_own(synthetic):
    clips = open_dataset(synthetic).split("validation")
    lower = [clip.text.lower() for clip in clips.labels]
    found = translation_evaluation(clips, lower, "how2sign")
    # It lower-cases both sides.
    assert found.logged["bleu4_how2sign"] == pytest.approx(100) and found.logged["bleu4"] < 99
    assert "lc" in found.scores["bleu4_how2sign_signature"]
    assert "bleu4_how2sign" not in translation_evaluation(clips, lower).scores
