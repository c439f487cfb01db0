"""The matrix products of a traced program: how many FLOPs, and how long they take alone."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator

import jax
import numpy as np

RUNS, AT_LEAST_S = 5, 0.02


def products(jaxpr, times: int = 1) -> Iterator[tuple[tuple, int]]:
    """Each `dot_general` below a jaxpr as a hashable description, and how often it runs.

    A loop's body counts as often as it runs; of a branch every side counts.
    """
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            operands = tuple((x.aval.shape, str(x.aval.dtype)) for x in equation.invars)
            out = str(equation.outvars[0].aval.dtype)
            yield (operands, equation.params["dimension_numbers"], out), times
            continue
        inner = times * equation.params.get("length", 1)
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from products(part, inner)


def flops(product) -> int:
    """Multiplications and additions of one product."""
    ((a, _), (b, _)), ((a_contracts, b_contracts), (_, b_batch)), _ = product
    free = [n for i, n in enumerate(b) if i not in (*b_contracts, *b_batch)]
    del a_contracts
    return 2 * int(np.prod(a, dtype=np.int64)) * int(np.prod(free, dtype=np.int64))


def seconds(product) -> tuple[float, float]:
    """Wall and processor seconds of one product of these shapes, compiled alone; medians of 5."""
    operands, dimension_numbers, out = product
    random = np.random.default_rng(0)
    given = [
        jax.numpy.asarray(random.standard_normal(shape, np.float32)).astype(dtype)
        for shape, dtype in operands
    ]

    @jax.jit
    def call(a, b):
        return jax.lax.dot_general(a, b, dimension_numbers, preferred_element_type=out)

    jax.block_until_ready(call(*given))
    start = time.perf_counter()
    jax.block_until_ready(call(*given))
    calls = max(1, min(200, int(AT_LEAST_S / (time.perf_counter() - start))))
    found = []
    for _ in range(RUNS):
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(calls):
            result = call(*given)
        jax.block_until_ready(result)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        found.append((wall / calls, cpu / calls))
    return tuple(map(statistics.median, zip(*found, strict=True)))


def measure(closed_jaxpr) -> dict[str, float]:
    """{"flops", "seconds", "cpu"} of all products of a program, each timed alone and multiplied
    by how often it runs; wall and processor seconds."""
    counts = Counter()
    for product, times in products(closed_jaxpr.jaxpr):
        counts[product] += times
    wall = cpu = 0.0
    for product, times in counts.items():
        own_wall, own_cpu = seconds(product)
        wall, cpu = wall + times * own_wall, cpu + times * own_cpu
    return {
        "flops": float(sum(n * flops(p) for p, n in counts.items())),
        "seconds": wall,
        "cpu": cpu,
    }
