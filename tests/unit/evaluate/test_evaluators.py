"""One evaluator a stage: the loop's, of weights under way, scores as that of a finished run."""

import json

import pytest

from signbind_jax import cli
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import TranslationEvaluator, open_evaluator
from tests import untrained_runs
from tests.unit.stages.test_stages import source_of

WRITTEN = {"max_new_tokens": 3}
CHINESE = (
    "我 学校 去|我们去学校，我们去学校。",
    "你 老师|你们的老师来学校。",
    "我 老师|我们的老师",
    "去|去！",
)
MAIN = {"signing": "gloss_wer", "fusion": "token_error_rate", "alignment": "bleu4"}


@pytest.fixture(scope="module")
def clips(runs):
    return open_dataset(runs / "data").split("validation")


@pytest.mark.parametrize("name", ["signing", "fusion"])
def test_a_run_under_way_is_scored_as_a_finished_one(runs, clips, name):
    run = open_artefact(runs / name)
    finished = open_evaluator(run).run(clips)
    live = source_of(runs, name).evaluator(run.load_params).run(clips)
    assert live == finished
    assert [output.clip for output in live.outputs] == list(clips.ids)
    assert all(output.reference for output in live.outputs)
    assert MAIN[name] in live.logged and live.logged.items() <= live.scores.items()


def test_every_variant_is_scored_and_all_is_what_the_loop_logs(runs, clips):
    run = open_artefact(runs / "alignment")
    evaluator = open_evaluator(run, WRITTEN)
    variants = evaluator.variants(clips)
    assert set(variants) == {"signing", "signing+fingerspelling", "signing+lips", "all"}
    source = source_of(runs, "alignment")
    live = source.evaluator(run.load_params)
    assert isinstance(live, TranslationEvaluator) and live.generation == source.options.generation
    assert evaluator.run(clips) == variants["all"]
    assert "bleu4" in variants["all"].logged
    assert "name_recall_read" in variants["all"].scores
    assert "name_recall_read" not in variants["all"].logged
    # All words of these references were trained on, and none has a capital inside a sentence.
    assert variants["all"].scores["n_text_names"] == 0
    assert evaluator.known == source.known_words >= {"anna", "came"}


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """An untrained decoder of Chinese, whose sentences hold some, and its dataset."""
    tree = tmp_path_factory.mktemp("chinese")
    untrained_runs.write_dataset(tree, CHINESE)
    untrained_runs.write_run("language_model", tree)
    return tree


@pytest.mark.parametrize("convention", ["phoenix", "csl_daily"])
def test_what_was_scored_is_written_and_scores_the_same_to_the_last_digit(
    request, tmp_path, capsys, convention
):
    tree = request.getfixturevalue("chinese" if convention == "csl_daily" else "runs")
    place = [f"--checkpoint={tree / 'language_model'}", f"--data={tree / 'data'}"]
    sides = [f"--{side}={tmp_path / side}" for side in ("references", "hypotheses")]
    out = tmp_path / "scores.json"
    written = ["--split=validation", "--max_new_tokens=8", *sides, f"--json={out}"]
    assert cli.main(["evaluate", *place, *written, f"--convention={convention}"]) == 0
    capsys.readouterr()
    assert cli.main(["score", *sides, f"--convention={convention}", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)["scores"]
    evaluated = json.loads(out.read_text())["scores"]["oracle_text"]
    assert [(s["name"], s["value"], s["signature"]) for s in scored] == [
        (name, score["value"], score["signature"]) for name, score in evaluated.items()
    ]
    references, hypotheses = (
        (tmp_path / side).read_text().split("\n")[:-1] for side in ("references", "hypotheses")
    )
    assert references == [c.text for c in open_dataset(tree / "data").split("validation").labels]
    assert any("\u4e00" <= c <= "\u9fff" for c in "".join(hypotheses)) == (
        convention == "csl_daily"
    )


def test_settings_hold_for_what_writes_sentences_alone(runs):
    evaluator = open_evaluator(open_artefact(runs / "language_model"), WRITTEN)
    assert evaluator.generation.max_new_tokens == 3
    assert open_evaluator(open_artefact(runs / "fusion")).generation is None
    with pytest.raises(SignBindError, match="generation.max_new_tokens: found it for signing"):
        open_evaluator(open_artefact(runs / "signing"), WRITTEN)
