"""Between the processes of a run: meeting, gathering, agreeing. One process is the plain case.

Every function here that says so has to be called by every process, in the same order.
Small values go through the key-value store of JAX's coordination service, which needs no device
and names who is missing; what grows with the data goes through the devices.
"""

import collections
import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from signbind_jax.errors import Interrupted, SignBindError, one_line
from signbind_jax.processes import interrupts

# Seconds to wait for the other processes; `signbind ... --host_timeout` sets it.
timeout_s = 600.0

_NAMED = 5  # processes an error names
_ROUND_BYTES = 2**28  # of all processes together, gathered through the devices at a time
_LOOKS, _LOOK_S = 20, 0.25
# By channel: a thread beside the main one meets its like on the other processes on its own.
_meetings: dict[str, Iterator[int]] = collections.defaultdict(lambda: itertools.count(1))
_values: dict[str, Iterator[int]] = collections.defaultdict(lambda: itertools.count(1))


def client() -> Any | None:
    """JAX's coordination client; None for a process on its own.

    The one door to it, as JAX has no public name for it (docs/develop/decisions.md).
    """
    if not jax.distributed.is_initialized():
        return None
    from jax._src import distributed

    return distributed.global_state.client if jax.process_count() > 1 else None


def is_primary() -> bool:
    """Says whether this process speaks and writes for all: process 0."""
    return jax.process_index() == 0


def barrier(what: str, channel: str = "main") -> None:
    """Returns when every process has come to `what`; every process has to call it.

    Args:
      channel: of the threads that meet.

    Raises:
      SignBindError: on every process that came, after `timeout_s`: who did not come, and what
        it came to last.
    """
    service = client()
    if service is None:
        return
    n = next(_meetings[channel])
    at, place = json.dumps([n, what, socket.gethostname()]), f"signbind/at/{channel}/"
    service.key_value_set(f"{place}{jax.process_index()}", at, allow_overwrite=True)
    try:
        service.wait_at_barrier(f"signbind meeting {channel} {n}", int(1000 * timeout_s))
    except jax.errors.JaxRuntimeError as error:
        raise SignBindError(_who_is_missing(service, place, n, what, error)) from error


def _who_is_missing(service, place: str, n: int, what: str, error: Exception) -> str:
    came = {}
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # process 0 may be gone, and all with it
        for key, value in service.key_value_dir_get(place):
            came[int(key.rsplit("/", 1)[1])] = json.loads(value)
    missing = [i for i in range(jax.process_count()) if came.get(i, [0])[0] < n]
    if not came or not missing:
        return f"{what}: the processes could not meet ({one_line(error)})"
    told = [
        f"process {i} of {jax.process_count()} "
        + (f"on {came[i][2]}, which came to {came[i][1]!r} last" if i in came else "at all")
        for i in missing[:_NAMED]
    ]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"{what}: found no {'; no '.join(told)}{more}, wanted every process within {timeout_s:g} "
        "s; see the log of that process, or give a longer --host_timeout"
    )


def all_gather(what: str, value: Any, channel: str = "main") -> list[Any]:
    """Gathers a small JSON-ready value of every process, in order; every process has to call it."""
    service = client()
    if service is None:
        return [value]
    place = f"signbind/value/{channel}/{next(_values[channel])}/"
    service.key_value_set(f"{place}{jax.process_index()}", json.dumps(value))
    barrier(what, channel)
    found = {
        int(key.rsplit("/", 1)[1]): json.loads(text)
        for key, text in service.key_value_dir_get(place)
    }
    return [found[i] for i in range(jax.process_count())]


def gather_bytes(what: str, data: bytes) -> list[bytes]:
    """Gathers the bytes of every process, by process; every process has to call it."""
    sizes = all_gather(what, len(data))
    if len(sizes) == 1:
        return [data]
    step = max(_ROUND_BYTES // len(sizes), 1)
    parts: list[list[bytes]] = [[] for _ in sizes]
    for start in range(0, max(sizes), step):
        # Of one length on all, as the arrays of one computation have to be.
        own = np.zeros(min(step, max(sizes) - start), np.uint8)
        piece = np.frombuffer(data, np.uint8)[start : start + step]
        own[: len(piece)] = piece
        gathered = np.asarray(multihost_utils.process_allgather(own))
        for part, size, row in zip(parts, sizes, gathered, strict=True):
            part.append(row[: max(size - start, 0)].tobytes())
    return [b"".join(part) for part in parts]


def check_uninterrupted(what: str) -> None:
    """Ends an evaluation that a signal to any process cut short; every process has to call it.

    Raises:
      Interrupted: on every process (`interrupts.until_asked`).
    """
    signals = interrupts.active()
    if signals and any(all_gather(f"{what}, to its end", signals.cut_short)):
        raise Interrupted(f"{what}: stopped by a signal; run the same command to go on")


def join_rows(what: str, own: Mapping[int, Any]) -> dict[int, Any]:
    """Joins what all processes made of their parts of a split; every process has to call it.

    Args:
      own: index of the clip -> JSON-ready value.

    Raises:
      ValueError: two processes made the same clip.
      Interrupted: a signal cut the work of one of them short (`interrupts.until_asked`).
    """
    check_uninterrupted(what)
    if client() is None:
        return dict(own)
    parts = gather_bytes(what, json.dumps(list(own.items())).encode())
    rows = [row for part in parts for row in json.loads(part)]
    joined = dict(rows)
    if len(joined) != len(rows):
        raise ValueError(f"{what}: {len(rows) - len(joined)} clips were made twice")
    return joined


def broadcast(what: str, make: Callable[[], Any]) -> Any:
    """Gives the JSON-ready result of `make` on process 0, for all; every process has to call it."""
    if client() is None:
        return make()
    return json.loads(gather_bytes(what, json.dumps(make()).encode() if is_primary() else b"")[0])


def own_steps(n_steps: int) -> range:
    """Lists the batches of a split that fall to this process: every n-th, whole.

    Whole batches, not parts of each: their shapes and with them every bit of the result are
    the same for any number of processes.
    """
    return range(jax.process_index(), n_steps, jax.process_count())


def check_agreement(digests: Mapping[str, str]) -> None:
    """Compares digests across all processes; every process has to call it.

    Hosts that drew batches of different plans would train on without an error.

    Args:
      digests: what is compared -> its digest here, in hexadecimal.

    Raises:
      SignBindError: on every process, the first thing that differs and where.
    """
    found = all_gather("comparing " + ", ".join(digests), dict(digests))
    for what in digests:
        other = [i for i, there in enumerate(found) if there[what] != found[0][what]]
        if other:
            raise SignBindError(
                f"{what}: found {found[other[0]][what][:12]} on process {other[0]} and "
                f"{found[0][what][:12]} on process 0, wanted the same on all: give every host the "
                "same config and a whole copy of the same datasets"
            )


def _appears(mark: Path, text: str) -> bool:
    for _ in range(_LOOKS):  # network storage shows a new file to other hosts late
        with contextlib.suppress(OSError):
            if mark.read_text() == text:
                return True
        time.sleep(_LOOK_S)
    return False


def check_shared(directory: Path, field: str) -> None:
    """Makes sure that all processes see one directory; every process has to call it.

    Raises:
      SignBindError: on every process, those that do not see what process 0 wrote there.
    """
    if client() is None:
        return
    mark = directory / ".seen_by_all_processes"
    token = all_gather(
        "naming a mark", f"{socket.gethostname()} {np.random.default_rng().random()}"
    )
    if is_primary():
        mark.write_text(token[0])
    barrier(f"looking for process 0's mark in {field}")
    seen = _appears(mark, token[0])
    blind = [
        host
        for host, ok in all_gather("telling who sees it", [socket.gethostname(), seen])
        if not ok
    ]
    if is_primary():
        mark.unlink()
    if blind:
        raise SignBindError(
            f"{field}: {directory}: found another directory on {', '.join(blind[:_NAMED])}, wanted "
            "one that all hosts share: checkpoints are written by all together; give a path on "
            "network storage"
        )
