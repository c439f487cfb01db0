"""Recordings are learnt in hundreds of steps: their programs are optimised when compiled."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def optimised():
    """Of this process and of those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
        before = jax.config.read("jax_disable_most_optimizations")
        jax.config.update("jax_disable_most_optimizations", False)
        yield
        jax.config.update("jax_disable_most_optimizations", before)
