"""The arrays of a checkpoint on their way through Orbax: their paths, what is read into which
sharding, their digests, and waiting for what is written in the background."""

import asyncio
import concurrent.futures
import contextlib
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, NamedSharding, SingleDeviceSharding

from signbind_jax.checkpoint import array_digest
from signbind_jax.checkpoint.manifest import DamagedCheckpoint
from signbind_jax.distributed.sharding import path_parts
from signbind_jax.errors import SignBindError


@contextlib.contextmanager
def quiet_strays():
    """Drops the tracebacks of reads and writes that end after a failed one has closed their
    event loop."""
    previous = sys.unraisablehook

    def hook(unraisable):
        if "Event loop is closed" not in str(unraisable.exc_value):
            previous(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    except Exception:
        time.sleep(0.3)  # they end within milliseconds, and cannot be waited for
        raise
    finally:
        sys.unraisablehook = previous


def finish_all(writing: list) -> None:
    """Waits for every part of a state, so that nothing is written any more where one failed."""
    failures = []
    for part in writing:
        try:
            part.result()
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


def result_of(coroutine: Coroutine) -> Any:
    """Runs a coroutine in a thread of its own: in this one an event loop may run."""

    def run():
        # `asyncio.run` would also cancel what goes on in the background.
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            return loop.run_until_complete(coroutine)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves by path, such as "params/encoder/kernel"; Python numbers become numpy arrays."""
    flat = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = "/".join(path_parts(path))
        if name in flat:
            raise ValueError(f"two leaves are called {name}")
        flat[name] = leaf if hasattr(leaf, "shape") else np.asarray(leaf)
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Makes nested dictionaries of what `flatten` gave."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def restore_target(leaf: Any) -> jax.ShapeDtypeStruct | None:
    """Says what Orbax is asked for in place of a leaf; None for an array on the host."""
    # None asks for a numpy array: also where jax without x64 would cut 64 bits to 32.
    on_host = isinstance(leaf, (np.ndarray, np.generic))
    if on_host or jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
        return None
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or isinstance(getattr(sharding, "mesh", None), AbstractMesh):
        sharding = SingleDeviceSharding(jax.local_devices()[0])
    if jax.process_count() > 1 and sharding.is_fully_addressable:
        return None
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def placed(array: Any, leaf: Any) -> Any:
    """Places what came back as numpy, because among many processes Orbax reads onto all devices or
    none, on the devices of this process that were asked for."""
    sharding = getattr(leaf, "sharding", None)
    if isinstance(array, np.ndarray) and isinstance(sharding, NamedSharding):
        return jax.device_put(array, sharding)
    return array


def restore_args(target: jax.ShapeDtypeStruct | None) -> ocp.RestoreArgs:
    """Orbax's arguments for what `restore_target` gave."""
    if target is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(
        sharding=target.sharding, global_shape=target.shape, dtype=target.dtype
    )


def check_arrays(saved: Mapping[str, str], flat: Mapping[str, Any], where: str) -> None:
    """Compares paths, types and shapes of a manifest's arrays with those that are wanted.

    Raises:
      SignBindError: the first that differs.
    """
    tops = {path.split("/")[0] for path in flat}
    saved = {path: text for path, text in saved.items() if path.split("/")[0] in tops}
    for path in [*flat, *saved]:
        found = saved[path].split()[0] if path in saved else "no such array"
        wanted = array_digest.describe(flat[path]) if path in flat else "no such array"
        if found != wanted:
            raise SignBindError(
                f"{where}: array {path}: found {found}, wanted {wanted}; "
                "use the config it was trained with"
            )


def describe_and_digest(flat: Mapping[str, Any]) -> dict[str, str]:
    """Maps path -> "float32[8,4] 0123456789abcdef", alike on every process; all have to call it."""
    sums = _global_checksums(list(flat.values()))
    return {
        path: f"{array_digest.describe(x)} {total:016x}"
        for (path, x), total in zip(flat.items(), sums, strict=True)
    }


def check_digests(saved: Mapping[str, str], arrays: Mapping[str, Any], where: str) -> None:
    """Compares arrays with what the manifest says of them.

    Raises:
      DamagedCheckpoint: the first that is not what was saved.
    """
    for path, found in describe_and_digest(arrays).items():
        if found != saved[path]:
            raise DamagedCheckpoint(
                f"{where}: array {path}: found {found}, wanted "
                f"{saved[path]}: its bytes changed on disk"
            )


def _global_checksums(arrays: list[Any]) -> list[int]:
    sums = np.array([array_digest.partial_checksum(x) for x in arrays], np.uint64)
    if jax.process_count() > 1:
        # As 32-bit words: without x64, jax would cut 64-bit ones.
        words = np.asarray(multihost_utils.process_allgather(sums.view(np.uint32)))
        sums = np.ascontiguousarray(words).view(np.uint64).sum(axis=0, dtype=np.uint64)
    return [int(s) for s in sums]
