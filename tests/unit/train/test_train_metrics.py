"""What is logged of a training step, and that logging changes nothing."""

import numpy as np
import pytest

from signbind_jax.config import load_config
from signbind_jax.preflight.peaks import peak_flops
from signbind_jax.report.run_files import read_log
from signbind_jax.train.loop import train
from signbind_jax.train.optim import make_schedule

STEPS = 10


def tiny(synthetic, stage="language_model", **overrides):
    return load_config(
        f"{stage}:size=tiny",
        {
            "data.directory": str(synthetic),
            "data.validation": "",
            "steps": str(STEPS),
            "log_every": "1",
            "checkpoint_every": "0",
        }
        | overrides,
    )


@pytest.fixture(scope="module")
def plain(synthetic, tmp_path_factory):
    """A run and its curves of training."""
    workdir = tmp_path_factory.mktemp("plain")
    result = train(tiny(synthetic), workdir, announce=str)
    curves = read_log(workdir / "metrics.jsonl").curves
    return result, {name: dict(kinds["train"]) for name, kinds in curves.items()}


def test_the_learning_rate_logged_is_the_one_each_step_took(synthetic, plain):
    _, curves = plain
    config = tiny(synthetic)
    schedule = make_schedule(config.optim, config.steps)
    wanted = [float(schedule(step)) for step in range(STEPS)]
    np.testing.assert_allclose(list(curves["learning_rate"].values()), wanted, rtol=1e-6)


def test_norms_are_of_the_gradients_before_clipping_and_of_the_updates(synthetic, plain, tmp_path):
    _, curves = plain
    # Clipped to a hundredth, Adam's first update is the same but for its epsilon.
    train(tiny(synthetic, **{"optim.clip_norm": "0.01", "steps": "2"}), tmp_path, announce=str)
    clipped = read_log(tmp_path / "metrics.jsonl").curves
    first = dict(clipped["gradient_norm"]["train"])[1]
    assert first == pytest.approx(curves["gradient_norm"][1]) and first > 0.1
    assert curves["update_norm"][1] == 0.0  # the first step of the warm-up
    assert curves["update_norm"][2] > 0.0


def test_rates_count_real_clips_and_tokens(plain):
    _, curves = plain
    assert all(rate > 0 for rate in curves["clips_per_second"].values())
    for step, tokens in curves["tokens_per_second"].items():
        assert tokens > 5 * curves["clips_per_second"][step]


def test_utilisation_is_logged_where_the_peak_is_known_alone(
    synthetic, plain, tmp_path, monkeypatch
):
    _, curves = plain
    assert "mfu" not in curves and peak_flops("cpu") is None
    monkeypatch.setattr("signbind_jax.train.train_metrics.peak_flops", lambda kind: 1e15)
    train(tiny(synthetic, steps="2"), tmp_path, announce=str)
    mfu = dict(read_log(tmp_path / "metrics.jsonl").curves["mfu"]["train"])
    assert all(0 < value < 1 for value in mfu.values())  # per cent of a petaflop


@pytest.mark.parametrize("part", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100", ""])
def test_a_device_that_is_not_quite_one_of_the_table_has_no_peak(part):
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12 and peak_flops("TPU v5 lite") == 197e12
    assert peak_flops(part) is None


def test_losses_are_the_same_bit_for_bit_whatever_is_watched(synthetic, plain, tmp_path):
    result, _ = plain  # every step is logged
    assert len(result.losses) == STEPS == len(set(result.losses))
    watched = {
        "log_every": "0",
        "data.validation": "validation",
        "evaluate_every": "4",
        "keep_best": "True",
    }
    assert train(tiny(synthetic, **watched), tmp_path, announce=str).losses == result.losses
