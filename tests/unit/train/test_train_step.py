"""The training step on a model of two parameters, one of which is frozen."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.config import RunConfig, load_config
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.models.fusion import Fusion, FusionConfig
from signbind_jax.preflight.memory import bytes_a_chip
from signbind_jax.stages import assumed_stage
from signbind_jax.stages.stage import Stage
from signbind_jax.train.optim import make_optimizer, make_schedule, swap_average
from signbind_jax.train.optim_config import OptimConfig
from signbind_jax.train.train_step import TrainStep

X_B, WEIGHT_B = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0, 0.0])


class Line(nnx.Module):
    def __init__(self):
        self.slope, self.offset = nnx.Param(jnp.array([2.0])), nnx.Param(jnp.array([0.5]))


class LineStage(Stage):
    """Fits a line through the origin; what a row counts is its weight."""

    def trains(self, path):
        return path[0] == "slope"

    def loss(self, model, batch, key):
        x_b, weight_b = batch
        y_b = model.slope[...] * x_b + model.offset[...]
        return jnp.sum(weight_b * y_b**2), jnp.sum(weight_b), {"y": jnp.sum(weight_b * y_b)}

    def _one_row(self, length):
        return np.zeros((1, length), np.float32), np.zeros(1, np.int32)


def step_of(**optim) -> tuple[TrainStep, nnx.State, nnx.State]:
    config = RunConfig("signing", optim=OptimConfig(warmup_steps=0, weight_decay=0.0, **optim))
    step = TrainStep(LineStage(config, SimpleNamespace()), sharding.make_mesh())
    step.graphdef, params = nnx.split(Line())
    return step, *step.split(params)


def gradients(step, trained, frozen):
    batch = jnp.asarray(X_B), jnp.asarray(WEIGHT_B)
    return jax.jit(step.gradients)(trained, frozen, jnp.int32(0), batch)


def test_gradients_and_metrics_are_means_by_weight():
    grads, metrics = gradients(*step_of())
    y_b = 2.0 * X_B + 0.5
    mean = WEIGHT_B / WEIGHT_B.sum()
    assert metrics["loss"] == pytest.approx(float(mean @ y_b**2))
    assert metrics["y"] == pytest.approx(float(mean @ y_b)) and metrics["weight"] == 4.0
    (gradient,) = jax.tree.leaves(grads)
    assert float(gradient[0]) == pytest.approx(float(mean @ (2 * y_b * X_B)))


@pytest.mark.parametrize("n", [2, 4])
def test_slices_of_a_batch_have_the_gradients_of_the_whole(n):
    whole, sliced = gradients(*step_of()), gradients(*step_of(accumulate=n))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(sliced), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_step_goes_downhill_by_the_learning_rate_and_norms_are_of_before_clipping():
    step, trained, frozen = step_of(learning_rate=0.25, clip_norm=0.01)
    grads, _ = gradients(step, trained, frozen)
    state = {"params": trained, "opt_state": step.tx.init(trained), "step": jnp.int32(0)}
    after, measured = step.update(state, grads), step.measure(state, grads)
    # Adam's first step has the size of the learning rate, whatever the gradient is.
    assert float(jax.tree.leaves(after["params"])[0][0]) == pytest.approx(1.75, abs=1e-3)
    assert after["step"] == 1 and float(measured["learning_rate"]) == 0.25
    assert float(measured["gradient_norm"]) > 10
    assert float(measured["update_norm"]) == pytest.approx(0.25, abs=1e-3)


def test_only_what_trains_is_in_the_state():
    _, trained, frozen = step_of()
    assert [path for path, _ in nnx.to_flat_state(trained)] == [("slope",)]
    assert [path for path, _ in nnx.to_flat_state(frozen)] == [("offset",)]


def test_a_batch_is_compiled_for_as_it_is_put():
    step, *_ = step_of()
    spec = step.batch_spec(3, 2)
    batch = sharding.put_batch((np.zeros((2, 3), np.float32), np.zeros(2, np.int32)), step.mesh)
    for wanted, found in zip(jax.tree.leaves(spec), jax.tree.leaves(batch), strict=True):
        assert (wanted.shape, wanted.dtype) == (found.shape, found.dtype)
        assert wanted.sharding.is_equivalent_to(found.sharding, found.ndim)


def states_of(step, trained, frozen, n: int) -> list[dict]:
    """The first state and those after each of n steps."""
    states = [{"params": trained, "opt_state": step.tx.init(trained), "step": jnp.int32(0)}]
    for _ in range(n):
        grads, _ = gradients(step, states[-1]["params"], frozen)
        states.append(step.update(states[-1], grads))
    return states


def slope_of(state) -> float:
    return float(jax.tree.leaves(state["params"])[0][0])


def test_averages_span_the_same_share_of_the_steps_however_many_there_are():
    states = states_of(*step_of(learning_rate=0.25, average=1.0), 6)
    slopes = [slope_of(state) for state in states[1:]]
    assert slope_of(swap_average(states[-1])) == pytest.approx(np.mean(slopes), abs=1e-6)
    # Over a tenth of ten steps: the last one.
    states = states_of(*step_of(learning_rate=0.25, average=0.1), 10)
    assert slope_of(swap_average(states[-1])) == pytest.approx(slope_of(states[-1]), abs=1e-6)


def test_averages_change_nothing_of_what_trains_and_swapping_them_twice_nothing_at_all():
    plain = states_of(*step_of(learning_rate=0.25), 4)
    averaged = states_of(*step_of(learning_rate=0.25, average=0.5), 4)
    assert [slope_of(s) for s in plain] == [slope_of(s) for s in averaged]
    swapped = swap_average(averaged[-1])
    assert slope_of(swapped) != slope_of(averaged[-1])
    assert slope_of(swap_average(swapped)) == slope_of(averaged[-1])
    assert slope_of(swap_average(plain[-1])) == slope_of(plain[-1])


def test_averages_are_placed_and_counted_as_the_parameters_are():
    def held(**optim):
        overrides = {f"optim.{name}": str(value) for name, value in optim.items()}
        config = load_config("language_model:size=tiny", overrides)
        state, _ = TrainStep(assumed_stage(config), sharding.make_mesh()).abstract_state()
        return state, bytes_a_chip(state["opt_state"])

    state, averaged = held(average=0.1)
    params = jax.tree.leaves(state["params"])
    averages = jax.tree.leaves(swap_average(state)["params"])
    assert [(x.shape, x.sharding) for x in params] == [(x.shape, x.sharding) for x in averages]
    count = 4
    assert averaged == held()[1] + bytes_a_chip(state["params"]) + count


def test_a_warm_up_is_a_share_of_the_steps_or_a_number_of_them():
    def warm_up(steps, **optim):
        schedule = make_schedule(OptimConfig(**optim), steps)
        return int(np.argmax([schedule(i) for i in range(steps)]))

    assert warm_up(400, warmup_share=0.1) == 40 and warm_up(200, warmup_share=0.1) == 20
    assert warm_up(400, warmup_steps=30) == 30 and warm_up(8, warmup_share=0.01) == 0


def test_each_part_of_a_model_has_its_share_of_the_learning_rate():
    def after(**optim):
        config = RunConfig("signing", optim=OptimConfig(warmup_steps=0, **optim))
        tx = make_optimizer(config.optim, config.steps)
        params = {"fusion": {"w": jnp.ones((2, 2))}, "projector": {"w": jnp.ones((2, 2))}}
        updates, _ = tx.update(params, tx.init(params), params)
        return {name: float(part["w"][0, 0]) for name, part in updates.items()}

    plain, factored = after(), after(factors={"fusion": 0.25})
    assert factored["fusion"] == pytest.approx(0.25 * plain["fusion"])
    assert factored["projector"] == plain["projector"]
    with pytest.raises(SignBindError, match="factors.fuson: found a factor for it.*projector"):
        after(factors={"fuson": 0.25})


def test_factors_are_typed_by_part_and_change_the_digest():
    config = load_config("translation", {"optim.factors.fusion": "2"})
    assert config.optim.factors == {"fusion": 2.0}
    assert config.digest != load_config("translation").digest
    with pytest.raises(SignBindError, match="config.optim.factors.fusion: found -1"):
        load_config("translation", {"optim.factors.fusion": "-1"})


def test_scales_biases_and_rates_keep_their_weight_also_where_layers_are_stacked():
    config = FusionConfig(n_ids=(5, 5), d_hidden=4, n_targets=6, d_model=8, n_heads=2, d_mlp=8)
    shapes = nnx.state(nnx.eval_shape(lambda: Fusion(config, nnx.Rngs(0))))
    params = jax.tree.map(lambda x: np.ones(x.shape, np.float32), shapes)
    tx = make_optimizer(OptimConfig(warmup_steps=0, weight_decay=1.0), 10)

    @jax.jit
    def of_decay_alone(params):
        nothing = jax.tree.map(jnp.zeros_like, params)
        return tx.update(nothing, tx.init(params), params)[0]

    updates = nnx.to_flat_state(of_decay_alone(params))
    decayed = {path[-1]: bool(np.any(np.asarray(x[...]) != 0)) for path, x in updates}
    assert params["layers"]["norm_mlp"]["scale"].ndim == 2
    assert decayed == {
        **dict.fromkeys(("kernel", "table"), True),
        **dict.fromkeys(("scale", "log_decay", "bias"), False),
    }
