"""A profiler trace of the steps that were named."""

import jax
import pytest

from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import LanguageModelEvaluator
from signbind_jax.train.loop import train
from tests.unit.train.test_train_metrics import tiny


@pytest.fixture
def traced(monkeypatch):
    """Names of the calls to the profiler and the steps annotated, in order."""
    calls = []
    annotation = jax.profiler.StepTraceAnnotation

    def annotate(name, step_num):
        calls.append(step_num)
        return annotation(name, step_num=step_num)

    monkeypatch.setattr(jax.profiler, "start_trace", lambda directory: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    monkeypatch.setattr(jax.profiler, "StepTraceAnnotation", annotate)
    return calls


def test_the_named_steps_are_traced_into_the_run_directory(synthetic, tmp_path):
    train(tiny(synthetic, profile="2:4", steps="4"), tmp_path, announce=str)
    (trace,) = tmp_path.glob("profile/plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 0


def test_exactly_the_named_steps_are_traced(synthetic, tmp_path, traced):
    train(tiny(synthetic, profile="2:4", steps="6"), tmp_path, announce=str)
    assert traced == ["start", 2, 3, "stop"]


def test_a_span_past_the_end_is_traced_as_far_as_it_goes(synthetic, tmp_path, traced):
    train(tiny(synthetic, profile="4:9", steps="5"), tmp_path, announce=str)
    assert traced == ["start", 4, 5, "stop"]


def test_a_run_that_is_interrupted_ends_its_trace(synthetic, tmp_path, traced, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LanguageModelEvaluator, "run", interrupted)
    overrides = {"profile": "2:9", "evaluate_every": "3", "data.validation": "validation"}
    with pytest.raises(KeyboardInterrupt):
        train(tiny(synthetic, **overrides), tmp_path, announce=str)
    assert traced == ["start", 2, 3, "stop"]


@pytest.mark.parametrize("span", ["10", "10:", "0:5", "10:10", "-1:5", "a:b"])
def test_a_span_that_is_none_is_refused(span):
    with pytest.raises(SignBindError, match="config.profile: found .*FIRST:END such as 100:110"):
        load_config("language_model:size=tiny", {"profile": span})


def test_what_is_watched_is_no_part_of_the_digest():
    plain = load_config("language_model:size=tiny").digest
    for watched in ({"profile": "1:2"}, {"wandb": "signs"}):
        assert load_config("language_model:size=tiny", watched).digest == plain
