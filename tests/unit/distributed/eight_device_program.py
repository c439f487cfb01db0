"""Run by test_sharding.py and test_checkpoint.py with eight simulated devices; prints JSON.

usage: eight_device_program.py sharding | eight_device_program.py checkpoint DIRECTORY
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir, Manifest
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.models.layers import Embed, Linear, RMSNorm, param, stack


class TinyModel(nnx.Module):
    """One parameter of each kind of layout: split two ways, one way, not at all, stacked."""

    def __init__(self, rngs: nnx.Rngs):
        self.embed = Embed(16, 8, rngs=rngs)
        self.query = Linear((8,), (4, 2), ("model",), ("heads", "head_size"), rngs=rngs, bias=True)
        self.blocks = stack(lambda r: Linear((8,), (12,), ("model",), ("mlp",), rngs=r), 3, rngs)
        self.norm = RMSNorm(8, rngs=rngs)
        self.head = Linear((8,), (5,), ("model",), ("ctc_vocab",), rngs=rngs)


def one_parameter(shape, dims):
    """Makes a model with a single parameter called weight."""

    class OneParameter(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.weight = param(rngs, jax.nn.initializers.ones, shape, dims)

    return OneParameter


class NoNames(nnx.Module):
    """A parameter that was not made by layers.param."""

    def __init__(self, rngs: nnx.Rngs):
        self.bare = nnx.Param(jnp.ones((4, 4)))


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def error_of(function, *args) -> str:
    """The message of the SignBindError that a call raises; empty where it raises none."""
    try:
        function(*args)
    except SignBindError as error:
        return str(error)
    return ""


def shard_shapes(tree) -> dict[str, list[int]]:
    """The shape of one device's part of each array, by path."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {sharding.path_string(path): list(x.sharding.shard_shape(x.shape)) for path, x in flat}


def same_bits(tree, other) -> bool:
    """Whether two trees hold the same arrays, bit for bit."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def sharded_state(mesh):
    """Parameters and optimiser state of the tiny model after one update, sharded."""
    _, params = sharding.init_sharded(TinyModel, mesh, seed=7)
    state = sharding.init_optimizer(OPTIMIZER, params, mesh)

    @jax.jit
    def update(params, state):
        updates, state = OPTIMIZER.update(params, state, params)
        return optax.apply_updates(params, updates), state

    params, state = update(params, state)
    return {"params": params, "opt_state": state, "step": jnp.int32(1)}


def abstract_state(mesh):
    """What `sharded_state` looks like on `mesh`, without values."""
    abstract = jax.eval_shape(lambda: sharded_state(sharding.make_mesh()))
    shardings = {
        "params": sharding.state_shardings(abstract["params"], mesh),
        "opt_state": sharding.optimizer_shardings(OPTIMIZER, abstract["params"], mesh),
        "step": sharding.replicated(mesh),
    }
    return sharding.with_shardings(abstract, shardings)


def sharding_facts() -> dict:
    """What test_sharding.py looks at."""
    mesh = sharding.make_mesh(2, 2, 2)
    single = sharding.make_mesh(devices=jax.devices()[:1])
    _, params = sharding.init_sharded(TinyModel, mesh, seed=7)
    _, params_single = sharding.init_sharded(TinyModel, single, seed=7)
    rows_b3 = np.arange(24, dtype=np.float32).reshape(8, 3)
    batch = sharding.put_batch({"pose": rows_b3, "lips": None, "bucket": np.int32(3)}, mesh)
    make = sharding.init_sharded
    return {
        "same_values": same_bits(params, params_single),
        "params": shard_shapes(params),
        "moments": shard_shapes(sharding.init_optimizer(OPTIMIZER, params, mesh)),
        "adafactor": shard_shapes(
            sharding.init_optimizer(optax.adafactor(1e-3, min_dim_size_to_factor=4), params, mesh)
        ),
        "batch_shard": list(batch["pose"].sharding.shard_shape((8, 3))),
        "batch_kept": bool(np.array_equal(batch["pose"], rows_b3)) and batch["lips"] is None,
        "batch_error": error_of(sharding.put_batch, {"pose": rows_b3[:6]}, mesh),
        "divide_error": error_of(make, one_parameter((6, 7), ("kernel", "heads")), mesh, 0),
        "collision_error": error_of(make, one_parameter((4, 4), ("heads", "mlp")), mesh, 0),
        "no_names_error": error_of(make, NoNames, mesh, 0),
        "idle_error": error_of(sharding.make_mesh, 2, 2, 1),
        "rest": dict(sharding.make_mesh(fsdp=2, tensor=2).shape),
    }


def checkpoint_facts(directory: str) -> dict:
    """What test_checkpoint.py looks at: saved on 4x2, restored on 2x2."""
    saved = sharded_state(sharding.make_mesh(4, 2))
    smaller = sharding.make_mesh(2, 2, devices=jax.devices()[:4])
    with CheckpointDir(directory) as checkpoints:
        checkpoints.save(1, saved, Manifest("signing", "c"), wait=True)
        restored = checkpoints.restore(1, abstract_state(smaller))
    table = restored["params"]["embed"]["table"].get_value()
    return {
        "restored_same": same_bits(saved, restored),
        "n_devices": len(table.sharding.device_set),
        "table_bytes": np.asarray(table).tobytes().hex(),
        "table_shard": list(table.sharding.shard_shape(table.shape)),
    }


if __name__ == "__main__":
    facts = sharding_facts() if sys.argv[1] == "sharding" else checkpoint_facts(sys.argv[2])
    print(json.dumps(facts))
