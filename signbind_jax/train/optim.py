"""The optimiser: AdamW, warm-up and cosine decay, clipping by global norm, averaged weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from signbind_jax.distributed.sharding import path_parts
from signbind_jax.errors import SignBindError
from signbind_jax.train.optim_config import OptimConfig

_NOT_DECAYED = ("scale", "bias", "log_decay")


def make_schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then cosine decay over the rest of `steps`."""
    share = config.warmup_share
    warmup = min(round(share * steps) if share else config.warmup_steps, max(steps - 1, 1))
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.learning_rate * config.final_share,
    )


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter, 2019); scales of norms, biases, rates of decay with time and
    other vectors keep their weight, also where those of all layers are stacked."""

    def is_decayed(path, x):
        return x.ndim > 1 and path_parts(path)[-1] not in _NOT_DECAYED

    def decayed(params):
        return jax.tree_util.tree_map_with_path(is_decayed, params)

    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            make_schedule(config, steps),
            b1=config.b1,
            b2=config.b2,
            weight_decay=config.weight_decay,
            mask=decayed,
        ),
        *([scale_by_part(config.factors)] if config.factors else ()),
        *([average_weights(config.average)] if config.average else ()),
    )


def scale_by_part(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies updates by the factor of the part of the model, its first name, that they are of.

    Raises:
      SignBindError: at `init`, a part of which nothing trains.
    """

    def init(params):
        paths = (path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0])
        parts = {path_parts(path)[0] for path in paths}
        for name in sorted(factors.keys() - parts):
            raise SignBindError(
                f"config.optim.factors.{name}: found a factor for it, wanted one of the parts that "
                f"train: {', '.join(sorted(parts))}"
            )
        return optax.EmptyState()

    def update(updates, state, params=None):
        del params
        scaled = jax.tree_util.tree_map_with_path(
            lambda path, u: u * factors.get(path_parts(path)[0], 1.0), updates
        )
        return scaled, state

    return optax.GradientTransformation(init, update)


class AverageState(NamedTuple):
    """Of `average_weights`: updates so far, and the average in the parameters' own structure."""

    count: jax.Array
    average: Any


def average_weights(share: float) -> optax.GradientTransformation:
    """Averages the weights that the updates before it in a chain lead to.

    Update t moves the average 1 / (share * t) of the way to the new weights, and all of it as long
    as that is more (Shamir & Zhang, 2013): it spans the same share of the steps however many there
    are, so that it needs neither a beginning nor the end of the schedule. With share 1 it is the
    mean of all weights so far.
    """

    def init(params):
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(updates, state, params):
        count = state.count + 1
        rate = jnp.minimum(1.0, 1.0 / (share * count))
        average = jax.tree.map(
            lambda a, p, u: a + rate * (p + u - a), state.average, params, updates
        )
        return updates, AverageState(count, average)

    return optax.GradientTransformation(init, update)


def swap_average(state: dict) -> dict:
    """A training state with weights and averages exchanged: averages under "params", where all who
    read weights look, and the weights that train in the optimiser's state. A second time, the
    state as it was; a state without averages stays as it is."""
    *others, last = state["opt_state"]
    if not isinstance(last, AverageState):
        return state
    swapped = last._replace(average=state["params"])
    return {**state, "params": last.average, "opt_state": (*others, swapped)}
