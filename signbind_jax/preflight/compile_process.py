"""The process that compiles one config for one topology; started by `preflight.check`.

python -m signbind_jax.preflight.compile_process SPEC OVERRIDES_JSON TOPOLOGY FOLDER

Its environment is made by `check.environment`; FOLDER takes XLA's dumps and `outcome.json`. It
ends with the process that started it.
"""

import dataclasses
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import psutil

from signbind_jax.config import load_config
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError, missing_extra, outcome
from signbind_jax.preflight import topologies
from signbind_jax.preflight.check import DUMPS, RESULT
from signbind_jax.preflight.costs import Cost, cost_of
from signbind_jax.preflight.hlo import parse
from signbind_jax.preflight.memory import Held, ProgramMemory, peaks
from signbind_jax.preflight.model_flops import model_flops
from signbind_jax.preflight.outcome import FAILED, TOO_LARGE, Outcome
from signbind_jax.preflight.programs import GRADIENTS, UPDATE, Programs
from signbind_jax.preflight.roofline import estimate
from signbind_jax.processes import exit_with_parent
from signbind_jax.stages.sections import check_sections

_OUT_OF_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED:.*?Ran out of memory.*?(?:\(|Used )([\d.]+[GMK]?)"
    r".*?available.*?\(([\d.]+[GMK]?)\)",
    re.DOTALL,
)


def main(spec: str, overrides: str, topology: str, folder: str) -> None:
    """Writes the outcome; what fails is an outcome too."""
    found = Outcome(spec, topology)
    try:
        found = compiled_outcome(spec, json.loads(overrides), topology, Path(folder))
    except Exception as error:  # whatever it is, it is told as this config's outcome
        _, line = outcome(error)
        found = dataclasses.replace(found, verdict=FAILED, problem=line)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = dataclasses.replace(found, compile_memory=float(used))
    Path(folder, RESULT).write_text(found.judged().to_json(), encoding="utf-8")


def compiled_outcome(spec: str, overrides: dict, topology: str, folder: Path) -> Outcome:
    """Compiles every program of a config.

    Raises:
      SignBindError: a config or topology that does not exist, or a mesh that does not fit it.
    """
    place = topologies.find(topology)
    config = load_config(spec, overrides)
    check_sections(config)
    mesh = sharding.make_mesh(
        config.mesh.data, config.mesh.fsdp, config.mesh.tensor, devices=devices(place)
    )
    programs = Programs(config, mesh)
    held = Held.of(programs)
    limit = (
        place.generation.hbm_limit
        if place.generation
        else (psutil.virtual_memory().total / place.n_devices)
    )
    found = Outcome(
        spec,
        topology,
        dict(mesh.shape),
        jax.tree.leaves(programs.batch)[0].shape[0],
        limit,
        dataclasses.asdict(held),
    )
    memories, costs, seconds = {}, {}, {}
    for name, compile_it in programs.all().items():
        start = time.perf_counter()
        try:
            memories[name] = ProgramMemory.of(compile_it())
        except jax.errors.JaxRuntimeError as error:
            return _too_large(found, name, error)
        seconds[name] = time.perf_counter() - start
        costs[name] = _cost(folder / DUMPS, name, place)
    at = peaks(held, memories)
    by_program = {
        name: dataclasses.asdict(memory) | {"compile_s": seconds[name], "peak": at[name]}
        for name, memory in memories.items()
    }
    flops = model_flops(programs)
    took = None
    if place.generation:
        steps = [costs[GRADIENTS], costs[UPDATE]]
        took = dataclasses.asdict(estimate(steps, place, flops, mesh.shape))
    # The single lines are what an estimate is made from; here they would fill the screen.
    kept = {
        name: dataclasses.asdict(dataclasses.replace(cost, lines=()))
        for name, cost in costs.items()
    }
    return dataclasses.replace(
        found, programs=by_program, costs=kept, model_flops=flops, estimate=took
    )


def _cost(dumps: Path, program: str, place: topologies.Topology) -> Cost:
    """Gives the cost of the program that was compiled last, from its dump, which is moved away.

    Raises:
      SignBindError: there is none, or a part of it that is not understood.
    """
    found = sorted(dumps.rglob("*after_optimizations.txt"), key=lambda path: path.stat().st_size)
    if not found:
        raise SignBindError(f"{program}: {dumps}: found no dump of XLA's optimised HLO, wanted one")
    unit = place.generation.matrix_unit if place.generation else 1
    cost = cost_of(parse(found[-1].read_text(encoding="utf-8")), matrix_unit=unit)
    found[-1].rename(dumps.parent / f"{program}.hlo.txt")
    for path in dumps.rglob("*.*"):
        if path.is_file():
            path.unlink()
    return cost


def devices(place: topologies.Topology) -> Sequence[jax.Device]:
    """Gives the devices of a slice that is not there, or simulated ones of the CPU.

    Raises:
      SignBindError: libtpu is not installed.
    """
    if place.generation is None:
        return jax.devices("cpu")[: place.n_devices]
    from jax.experimental import topologies as described

    # One device a chip; by default v4 has two cores of which each would be one.
    options = {"chip_config_name": "megacore"} if place.generation.name == "v4" else {}
    if place.n_devices == 1:  # a host has four chips unless it is told otherwise
        options["chips_per_host_bounds"] = [1, 1, 1]
    try:
        return described.get_topology_desc(place.name, "tpu", **options).devices
    except (RuntimeError, ImportError) as error:
        found = f"the TPU compiler was not found ({error})"
        raise missing_extra("tpu", f"--topology: {place.name}", found) from error


def _too_large(found: Outcome, program: str, error: Exception) -> Outcome:
    told = _OUT_OF_MEMORY.search(str(error))
    if not told:
        raise error
    advice = (
        "set options.remat (model.remat for experts), lower data.frames_per_batch, or "
        "raise mesh.fsdp"
        if program == GRADIENTS
        else "raise mesh.fsdp or mesh.tensor"
    )
    return dataclasses.replace(
        found,
        verdict=TOO_LARGE,
        advice=advice,
        problem=f"{program}: found {told[1]} needed, wanted at most the {told[2]} of a chip",
    )


if __name__ == "__main__":
    exit_with_parent.watch(lambda: os.killpg(os.getpgrp(), signal.SIGKILL))
    main(*sys.argv[1:])
