"""Averaged weights and schedules in epochs, in whole runs of a tiny decoder."""

import contextlib

import jax
import numpy as np
import pytest

from signbind_jax.checkpoint import artefact
from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluation import Evaluation
from signbind_jax.evaluate.evaluators import LanguageModelEvaluator
from signbind_jax.train.loop import train


@pytest.fixture
def run(synthetic, tmp_path, monkeypatch):
    """Trains in a directory of that name; what was evaluated is in `run.judged`, and an
    evaluation of a step in `stop_at` ends the run."""

    def start(name, stop_at=(), **overrides):
        def evaluate(evaluator, _):
            start.judged.append(evaluator.weights()[1])
            if len(start.judged) in stop_at:
                raise InterruptedError
            return Evaluation({"bleu4": 1.0}, {"bleu4": 1.0}, [])

        start.judged, start.lines = [], []
        monkeypatch.setattr(LanguageModelEvaluator, "run", evaluate)
        overrides = {"data.directory": str(synthetic), "optim.learning_rate": "0.01"} | overrides
        config = load_config("language_model:size=tiny", overrides)
        with contextlib.suppress(InterruptedError):
            return config, train(config, tmp_path / name, announce=start.lines.append)
        return config, None

    start.workdir = tmp_path
    return start


def arrays_of(params) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree.leaves(params)]


AVERAGED = {
    "steps": "6",
    "optim.average": "0.5",
    "evaluate_every": "2",
    "checkpoint_every": "2",
}


def test_averages_are_scored_kept_and_handed_on_and_an_interrupted_run_ends_in_the_same_bits(run):
    run("straight", **AVERAGED)
    straight = artefact.open_artefact(run.workdir / "straight")
    handed_on = arrays_of(straight.load_params()[1])
    assert all(map(np.array_equal, arrays_of(run.judged[-1]), handed_on))
    run("cut", stop_at=(2,), **AVERAGED)
    assert artefact.open_artefact(run.workdir / "cut").step == 2
    run("cut", **AVERAGED)
    assert artefact.open_artefact(run.workdir / "cut").manifest.arrays == straight.manifest.arrays
    # The weights that train lie in the optimiser's state, and are others.
    arrays = straight.manifest.arrays
    trained = {p.rpartition("average/")[2]: p for p in arrays if "/average/" in p}
    assert len(trained) == len(handed_on)
    assert any(arrays[f"params/{name}"] != arrays[path] for name, path in trained.items())


def test_epochs_are_counted_in_steps_of_the_corpus_and_a_finished_run_stays_finished(run):
    config, result = run("run", epochs="0.5", **{"optim.warmup_share": "0.2"})
    steps_per_epoch = int(run.lines[0].split(" steps an epoch")[0].split()[-1])
    assert result.finished and result.step == round(0.5 * steps_per_epoch) != config.steps
    assert f"0.5 epochs are {result.step} steps" in "\n".join(run.lines)
    made = artefact.open_artefact(run.workdir / "run").config
    assert made.steps == result.step and made.digest == config.digest
    assert run("run", epochs="0.5", **{"optim.warmup_share": "0.2"})[1].step == result.step
    with pytest.raises(SignBindError, match="epochs: found 0.5, wanted 1.5; another run"):
        run("run", epochs="1.5", **{"optim.warmup_share": "0.2"})


def test_typed_steps_count_where_a_config_says_epochs(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from signbind_jax.configs import common\n"
        "def get_config():\n    return common.run('fusion', epochs=3.0)\n"
    )
    assert load_config(str(path)).epochs == 3.0
    typed = load_config(str(path), {"steps": "7"})
    assert (typed.epochs, typed.steps) == (0.0, 7)
    assert load_config(str(path), {"steps": "7", "epochs": "2"}).epochs == 2.0


def test_what_came_later_is_in_the_digest_only_where_it_is_used():
    plain = load_config("language_model:size=tiny")
    assert "epochs" not in plain.deciding() and "average" not in plain.deciding()["optim"]
    for field in ("epochs", "optim.average", "optim.warmup_share"):
        assert load_config("language_model:size=tiny", {field: "0.5"}).digest != plain.digest
    three = load_config("language_model:size=tiny", {"epochs": "3"})
    assert three.digest == three.in_steps(7).digest and three.in_steps(7).steps == 21
