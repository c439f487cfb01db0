"""The device mesh, the one rules table, and the shardings of parameters, optimiser and batch."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from signbind_jax.errors import SignBindError
from signbind_jax.models.layers import DIMENSIONS, ROW_AXES

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ROW_AXES

# Logical dimension -> mesh axis. `ctc_vocab` stays whole: its sizes are those of alphabets and
# gloss lists, which rarely divide. `kernel`, `input`, `channels`, `rank` are too small to split.
RULES: Mapping[str, str | None] = dict.fromkeys(DIMENSIONS) | {
    "model": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "vocab": "tensor",
}


def make_mesh(
    data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Makes a mesh with the axes `data`, `fsdp`, `tensor`; `data=-1` takes what the others leave.

    Where the devices lie on several slices, `data` runs across slices and the other axes stay
    inside one.

    Raises:
      SignBindError: the sizes do not use every device exactly once.
    """
    devices = list(jax.devices() if devices is None else devices)
    n, inner = len(devices), fsdp * tensor
    if fsdp < 1 or tensor < 1 or (data < 1 and data != -1):
        raise SignBindError(
            f"mesh: found data={data}, fsdp={fsdp}, tensor={tensor}, "
            "wanted sizes of at least 1 (data may be -1)"
        )
    if data == -1:
        if n % inner:
            raise SignBindError(
                f"mesh: fsdp x tensor = {fsdp} x {tensor} = {inner} does not "
                f"divide the {n} devices; change fsdp or tensor"
            )
        data = n // inner
    if data * inner != n:
        raise SignBindError(
            f"mesh: data x fsdp x tensor = {data} x {fsdp} x {tensor} = "
            f"{data * inner}, wanted {n}, the number of devices"
        )
    # Auto on purpose: Explicit axis types fail in embedding look-ups and CTC (see jax docs on
    # sharding in types), and jax.make_mesh would default to them.
    auto = (AxisType.Auto,) * len(AXES)
    n_slices = len({getattr(d, "slice_index", 0) for d in devices})
    if n_slices == 1:
        return jax.make_mesh((data, fsdp, tensor), AXES, axis_types=auto, devices=devices)
    if data % n_slices:
        raise SignBindError(f"mesh: data={data}, wanted a multiple of the {n_slices} slices")
    grid = mesh_utils.create_hybrid_device_mesh(
        (data // n_slices, fsdp, tensor), (n_slices, 1, 1), devices=devices
    )
    return Mesh(grid, AXES, axis_types=auto)


def own_mesh() -> Mesh:
    """Makes a mesh of this process's devices alone, along `data`."""
    return make_mesh(devices=jax.local_devices())


def partition_spec(
    path: str, shape: Sequence[int], dims: Sequence[str] | None, mesh: Mesh
) -> PartitionSpec:
    """Says where each dimension of one parameter goes, by RULES.

    Raises:
      SignBindError: `dims` is missing or does not name every dimension, two dimensions claim one
        mesh axis, or a dimension does not divide by the size of its axis.
    """
    shape = tuple(shape)
    if dims is None or len(dims) != len(shape) or any(d not in RULES for d in dims):
        raise SignBindError(
            f"parameter {path} of shape {shape}: dims: found {dims}, wanted one name a dimension "
            "out of signbind_jax.models.layers.DIMENSIONS; create it with layers.param"
        )
    axes = tuple(_axis(d, size, mesh) for d, size in zip(dims, shape, strict=True))
    claimed: dict[str, str] = {}
    for size, dim, axis in zip(shape, dims, axes, strict=True):
        if axis is None:
            continue
        if axis in claimed:
            raise SignBindError(
                f"parameter {path} of shape {shape}: dimensions {claimed[axis]} and {dim} both "
                f"claim mesh axis {axis}; rename one dimension"
            )
        claimed[axis] = dim
        if size % mesh.shape[axis]:
            raise SignBindError(
                f"parameter {path} of shape {shape}: dimension {dim} of size {size} does not "
                f"divide by mesh axis {axis} of size {mesh.shape[axis]}"
            )
    # An axis of size 1 splits nothing; leaving it out keeps compiled programs equal.
    return PartitionSpec(*(a if a and mesh.shape[a] > 1 else None for a in axes))


def _axis(dim: str, size: int, mesh: Mesh) -> str | None:
    axis = RULES[dim]
    # Queries of several heads share one key head. Where there are fewer key heads than ways to
    # split the query heads, every device needs a whole one: each holds them all.
    if dim == "kv_heads" and size < mesh.shape[axis]:
        return None
    return axis


def path_string(path: Sequence[Any]) -> str:
    """Writes a tree path as "encoder/kernel": the names of dict keys, indices and attributes."""
    return "/".join(path_parts(path))


def path_parts(path: Sequence[Any]) -> tuple[str, ...]:
    # nnx.Variable is a pytree node of its own, whose single child says nothing.
    if path and path[-1] == jax.tree_util.GetAttrKey("value"):
        path = path[:-1]
    return tuple(str(_entry_name(entry)) for entry in path)


def _entry_name(entry: Any) -> Any:
    for field in ("key", "idx", "name"):
        if hasattr(entry, field):
            return getattr(entry, field)
    return entry


def _is_variable(x: Any) -> bool:
    return isinstance(x, nnx.Variable)


def state_shardings(abstract_state: nnx.State, mesh: Mesh) -> nnx.State:
    """Gives a NamedSharding for every variable of a state, in the state's own structure.

    `abstract_state` holds arrays or ShapeDtypeStructs in nnx.Param variables with `dims`.

    Raises:
      SignBindError: see `partition_spec`.
    """

    def sharding(path, variable):
        name = path_string(path)
        if not _is_variable(variable):
            raise SignBindError(
                f"state leaf {name}: found {type(variable).__name__}, wanted an "
                "nnx.Param made by layers.param"
            )
        value = variable.get_value()
        dims = variable.get_metadata().get("dims")
        return variable.replace(NamedSharding(mesh, partition_spec(name, value.shape, dims, mesh)))

    return jax.tree_util.tree_map_with_path(sharding, abstract_state, is_leaf=_is_variable)


def optimizer_shardings(tx, params: nnx.State, mesh: Mesh) -> Any:
    """Gives shardings in the structure of `tx.init(params)` (an optax transformation).

    A leaf whose path ends in a parameter's path and that has its shape (moments, averages)
    follows that parameter; all others (counts, factored moments) are replicated.
    """
    by_path = {}
    shardings = jax.tree.leaves(state_shardings(params, mesh))
    paths_and_values = jax.tree_util.tree_flatten_with_path(params)[0]
    for (path, value), sharding in zip(paths_and_values, shardings, strict=True):
        by_path[path_parts(path)] = (value.shape, sharding)

    def follow(path, leaf):
        parts = path_parts(path)
        for start in range(len(parts)):
            shape, sharding = by_path.get(parts[start:], (None, None))
            if shape is not None and shape == leaf.shape:
                return sharding
        return replicated(mesh)

    return jax.tree_util.tree_map_with_path(follow, jax.eval_shape(tx.init, params))


def replicated(mesh: Mesh) -> NamedSharding:
    """Gives the sharding of a value that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def with_shardings(abstract_tree: Any, shardings: Any) -> Any:
    """Gives `abstract_tree` as ShapeDtypeStructs that carry `shardings`: what a restore wants."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract_tree, shardings
    )


def abstract_model(
    make_model: Callable[[nnx.Rngs], nnx.Module],
    mesh: Mesh,
    seed: int,
    dtype: Callable[[tuple], str] | None = None,
) -> tuple[nnx.GraphDef, nnx.State]:
    """Makes a model, split, as ShapeDtypeStructs that carry their shardings: nothing is allocated.

    dtype: of the parameter at a path, where it is another than the fresh model's float32.

    Raises:
      SignBindError: see `partition_spec`.
    """

    def init(key):
        return nnx.split(make_model(nnx.Rngs(params=key)))

    graphdef, params = nnx.eval_shape(init, jax.random.key(seed))
    params = with_shardings(params, state_shardings(params, mesh))

    def stored(path, x):
        given = x.get_value()
        kind = dtype(path) if dtype else given.dtype
        return x.replace(jax.ShapeDtypeStruct(given.shape, kind, sharding=given.sharding))

    flat = {path: stored(path, x) for path, x in nnx.to_flat_state(params)}
    return graphdef, nnx.from_flat_state(flat)


def init_sharded(
    make_model: Callable[[nnx.Rngs], nnx.Module],
    mesh: Mesh,
    seed: int,
    given: Mapping[tuple, nnx.Variable] | None = None,
) -> tuple[nnx.GraphDef, nnx.State]:
    """Makes a fresh model, split, whose state is born sharded and has the same values on any mesh.

    given: variables by path that are not fresh; no memory is taken for what they replace.

    Raises:
      SignBindError: see `partition_spec`; before anything is allocated.
    """
    given = dict(given or {})

    def init(key):
        return nnx.split(make_model(nnx.Rngs(params=key)))

    # The graph is static: taken from the abstract run, so that the jitted one returns arrays only.
    key = jax.random.key(seed)
    graphdef, abstract_state = nnx.eval_shape(init, key)
    shardings = state_shardings(abstract_state, mesh)
    unknown = [path for path in given if path not in dict(nnx.to_flat_state(abstract_state))]
    if unknown:
        raise SignBindError(
            f"parameter {path_string(unknown[0])}: found one for it, wanted none: "
            "the model has no such parameter"
        )

    def fresh(state):
        return nnx.from_flat_state(
            {path: x for path, x in nnx.to_flat_state(state) if path not in given}
        )

    make = jax.jit(lambda key: fresh(init(key)[1]), out_shardings=fresh(shardings))
    return graphdef, nnx.from_flat_state(dict(nnx.to_flat_state(make(key))) | given)


def init_optimizer(tx, params: nnx.State, mesh: Mesh) -> Any:
    """Calls `tx.init(params)`, sharded as `optimizer_shardings` says."""
    return jax.jit(tx.init, out_shardings=optimizer_shardings(tx, params, mesh))(params)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows (the leading axis) over `data` and `fsdp`; everything else whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def put_batch(batch: Any, mesh: Mesh) -> Any:
    """Makes the global device batch from the rows of this process; scalars are replicated.

    `batch` is a pytree of arrays with a common leading axis; None leaves stay None.

    Raises:
      SignBindError: the rows of this process do not divide over its part of the mesh.
    """
    ways = _row_shards_here(mesh)
    rows_sharding, scalar_sharding = batch_sharding(mesh), replicated(mesh)

    leaves, structure = jax.tree.flatten(batch)
    leaves = [np.asarray(x) for x in leaves]
    if any(x.ndim and x.shape[0] % ways for x in leaves):
        raise _uneven(batch, ways)
    shardings = [rows_sharding if x.ndim else scalar_sharding for x in leaves]
    if jax.process_count() == 1:
        placed = jax.device_put(leaves, shardings)  # one call for all takes less of the host
    else:
        placed = list(map(jax.make_array_from_process_local_data, shardings, leaves))
    return jax.tree.unflatten(structure, placed)


def abstract_batch(spec: Any, mesh: Mesh) -> Any:
    """ShapeDtypeStructs of the batch of all processes, placed as `put_batch` places it."""
    rows, whole = batch_sharding(mesh), replicated(mesh)
    return with_shardings(spec, jax.tree.map(lambda x: rows if x.ndim else whole, spec))


def _uneven(batch: Any, ways: int) -> SignBindError:
    for path, x in jax.tree_util.tree_flatten_with_path(batch)[0]:
        if np.ndim(x) and len(x) % ways:
            return SignBindError(
                f"batch: {path_string(path)}: found {len(x)} rows on process "
                f"{jax.process_index()}, wanted a multiple of {ways}, its part of "
                "data x fsdp; change the batch size"
            )
    raise ValueError("every array of the batch divides")


def check_rows_by_process(mesh: Mesh) -> None:
    """Makes sure that no two processes hold the same rows of a batch: each reads its own.

    Raises:
      SignBindError: `tensor` runs across processes.
    """
    n_rows = math.prod(mesh.shape[a] for a in BATCH_AXES)
    if _row_shards_here(mesh) * jax.process_count() != n_rows:
        raise SignBindError(
            f"mesh: tensor={mesh.shape['tensor']} runs across processes of "
            f"{jax.local_device_count()} devices each, wanted a divisor of that "
            "number: split over processes by data or fsdp"
        )


def check_rows_divide(rows: int, multiple: int, mesh: Mesh) -> None:
    """Makes sure that every device gets as many rows of a batch.

    Args:
      rows: of a batch of all processes.
      multiple: `data.batch_multiple`, for the error.

    Raises:
      SignBindError: it does not.
    """
    ways = math.prod(mesh.shape[a] for a in BATCH_AXES)
    if rows % ways:
        raise SignBindError(
            f"config.data.batch_multiple: found {multiple}, which gives {rows} rows a batch, "
            f"wanted a multiple of {ways} = data x fsdp of the mesh"
        )


def own_copy(tree: Any) -> Any:
    """Arrays over the devices of all processes -> arrays over those of this process alone.

    Each process can then compute on what the others do not have. The `tensor` axis stays, all
    else is whole on each device. Every process has to call it; one alone gets the tree back.
    """
    if jax.process_count() == 1:
        return tree

    def spec(x):
        kept = x.sharding.mesh.local_mesh.shape["tensor"] == x.sharding.mesh.shape["tensor"]
        return PartitionSpec(*(a if kept and a == "tensor" else None for a in x.sharding.spec))

    wanted = jax.tree.map(lambda x: NamedSharding(x.sharding.mesh, spec(x)), tree)
    whole = jax.jit(lambda tree: tree, out_shardings=wanted)(tree)

    def own(x):
        shard_on = {shard.device: shard.data for shard in x.addressable_shards}
        inner = x.sharding.mesh.local_mesh
        return jax.make_array_from_single_device_arrays(
            x.shape,
            NamedSharding(inner, x.sharding.spec),
            [shard_on[d] for d in inner.devices.flat],
        )

    return jax.tree.map(own, whole)


@functools.lru_cache(maxsize=8)
def _row_shards_here(mesh: Mesh) -> int:
    """Counts how many different row ranges of a batch the devices of this process hold."""
    n_rows = math.prod(mesh.shape[a] for a in BATCH_AXES)
    index = batch_sharding(mesh).addressable_devices_indices_map((n_rows,))
    return len({rows[0].indices(n_rows) for rows in index.values()})
