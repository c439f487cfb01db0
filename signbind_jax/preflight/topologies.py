"""TPU slices that exist, and what a chip of each generation can do."""

import math
import re
from dataclasses import dataclass

from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.overrides import unknown_name

GIB = 2**30


@dataclass(frozen=True)
class Generation:
    """A TPU generation, per chip.

    Attributes:
      peak_flops: bfloat16 operations a second.
      hbm_bytes_s: bytes a second to and from HBM.
      link_bytes_s: bytes a second of one interconnect link in one direction.
      hbm_limit: bytes a program may take, by the compiler's own error message.
      matrix_unit: rows and columns of the matrix unit.
      wrap: an axis of a slice is a ring where its size is a multiple of this.
      slices: the shapes that can be had.
    """

    name: str
    peak_flops: float
    hbm_bytes_s: float
    link_bytes_s: float
    hbm_limit: float
    matrix_unit: int
    wrap: int
    slices: tuple[str, ...]


_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SOLID = (
    "2x2x1",
    "2x2x2",
    "2x2x4",
    "2x4x4",
    "4x4x4",
    "4x4x8",
    "4x8x8",
    "8x8x8",
    "8x8x16",
    "8x16x16",
)
# Figures: cloud.google.com/tpu/docs/v5e and so on; of links: jax-ml.github.io/scaling-book/tpus.
GENERATIONS = {
    g.name: g
    for g in (
        Generation("v4", 275e12, 1.2e12, 4.5e10, 30.75 * GIB, 128, 4, _SOLID),
        Generation("v5e", 197e12, 8.19e11, 4.5e10, 15.75 * GIB, 128, 16, _FLAT),
        Generation(
            "v5p", 459e12, 2.765e12, 9e10, 95.73 * GIB, 128, 4, (*_SOLID, "16x16x16", "16x16x24")
        ),
        Generation("v6e", 918e12, 1.638e12, 9e10, 31.24 * GIB, 256, 16, _FLAT),
    )
}


@dataclass(frozen=True)
class Topology:
    """A slice, or simulated CPU devices.

    Attributes:
      name: as the user gave it, such as "v5p:2x2x4" or "cpu:8".
      generation: None for CPU devices.
      shape: chips along each axis of the torus; the number of devices for "cpu".
    """

    name: str
    generation: Generation | None
    shape: tuple[int, ...]

    @property
    def n_devices(self) -> int:
        """Chips, each of which is one device."""
        return math.prod(self.shape)


def find(name: str) -> Topology:
    """Finds the topology of a name.

    Raises:
      SignBindError: no such slice, with the nearest one that exists.
    """
    kind, _, shape = name.partition(":")
    if kind == "cpu":
        if not re.fullmatch(r"[1-9][0-9]{0,3}", shape):
            raise SignBindError(
                f"--topology: found {shorten(name)}, wanted 1 to 9999 devices such as 'cpu:8'"
            )
        return Topology(name, None, (int(shape),))
    known = [f"{g.name}:{s}" for g in GENERATIONS.values() for s in g.slices]
    if name not in known:
        if kind in GENERATIONS:
            known = [k for k in known if k.startswith(f"{kind}:")]
        raise SignBindError(unknown_name("--topology", name, known))
    return Topology(name, GENERATIONS[kind], tuple(int(n) for n in shape.split("x")))
