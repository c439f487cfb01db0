"""The environment that JAX is started in, by the command line and by the Python interface alike."""

import os
import sys

from signbind_jax import files
from signbind_jax.distributed import libtpu_env
from signbind_jax.processes import child, xla_cpu

_CACHE, _LEAST_S = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def prepare() -> None:
    """Keeps compiled programs on disk and libraries' chatter off the terminal.

    What the environment says already stays. Where JAX is imported, its cache alone can still be
    set; XLA's flags are read when JAX first computes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not libtpu_env.attached():
        for name, value in libtpu_env.ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    os.environ["XLA_FLAGS"] = child.xla_flags(xla_cpu.COMPILE_FLAG)
    given = _CACHE in os.environ
    os.environ.setdefault(_CACHE, str(files.user_cache("xla")))
    os.environ.setdefault(_LEAST_S, "1")
    if (
        (jax := sys.modules.get("jax"))
        and not given
        and jax.config.jax_compilation_cache_dir is None
    ):
        jax.config.update("jax_compilation_cache_dir", os.environ[_CACHE])
