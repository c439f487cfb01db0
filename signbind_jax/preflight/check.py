"""Runs the process that compiles: one a topology, with the environment that libtpu needs."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from signbind_jax.distributed import libtpu_env
from signbind_jax.preflight import topologies
from signbind_jax.preflight.outcome import FAILED, Outcome
from signbind_jax.processes import child

MODULE = "signbind_jax.preflight.compile_process"
RESULT, DUMPS = "outcome.json", "hlo"


def check(
    spec: str,
    overrides: Mapping[str, str],
    topology: str,
    timeout_s: float,
    keep: Path | None = None,
) -> Outcome:
    """Finds what a config needs on a topology.

    Args:
      keep: a folder that keeps XLA's dumps; None: they are removed.
      timeout_s: seconds after which compiling is given up, which is an outcome too.

    Raises:
      SignBindError: no such topology.
    """
    place = topologies.find(topology)
    with tempfile.TemporaryDirectory(prefix="preflight-") as made:
        folder = keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT).unlink(missing_ok=True)
        command, inherited = child.python(
            MODULE, spec, json.dumps(dict(overrides)), topology, str(folder)
        )
        environment = inherited | compiling_environment(place, folder / DUMPS)
        with (Path(made) / "stderr").open("w+") as said:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return Outcome(
                    spec,
                    topology,
                    verdict=FAILED,
                    problem=f"found no end of compiling within {timeout_s:g} s, wanted "
                    "one: give a longer --timeout",
                )
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                process.stdin.close()
            if (folder / RESULT).exists():
                return Outcome.from_json((folder / RESULT).read_text(encoding="utf-8"))
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
        return Outcome(
            spec,
            topology,
            verdict=FAILED,
            problem=f"the compiling process ended with {process.returncode}: {last[:300]}",
        )


def compiling_environment(place: topologies.Topology, dumps: Path) -> dict[str, str]:
    """Makes the environment in which a topology's programs compile without its devices."""
    flags = [
        os.environ.get("XLA_FLAGS", ""),
        f"--xla_dump_to={dumps}",
        "--xla_dump_hlo_as_text=true",
        "--xla_dump_hlo_module_re=.*(_flat_gradients|_flat_update|_write).*",
    ]
    if place.generation is None:
        flags.append(f"--xla_force_host_platform_device_count={place.n_devices}")
    return {
        "XLA_FLAGS": " ".join(flags).strip(),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "0",  # what comes from the cache leaves no dump
        **libtpu_env.ENVIRONMENT,
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
