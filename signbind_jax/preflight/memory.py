"""Bytes of a chip's memory: what stays there, and what each program adds."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from signbind_jax.preflight.programs import GRADIENTS, UPDATE, WRITING, Programs

BATCHES = 2  # the one that trains and the one that is sent meanwhile
SPARE = 0.10  # of a chip's memory that a shipped config leaves


@dataclass(frozen=True)
class Held:
    """Bytes a chip that a run holds between its programs, without the padding of tiles."""

    trained: float
    frozen: float
    optimiser: float
    batches: float

    @classmethod
    def of(cls, programs: Programs) -> "Held":
        """Counts what a run of these programs holds."""
        return cls(
            bytes_a_chip(programs.state["params"]),
            bytes_a_chip(programs.frozen),
            bytes_a_chip(programs.state["opt_state"]),
            BATCHES * bytes_a_chip(programs.batch),
        )


@dataclass(frozen=True)
class ProgramMemory:
    """Bytes a chip of one compiled program, as its compiler states them, padding included."""

    arguments: float
    results: float
    reused: float
    temporaries: float
    code: float

    @classmethod
    def of(cls, compiled: jax.stages.Compiled) -> "ProgramMemory":
        """Reads what the compiler says."""
        m = compiled.memory_analysis()
        return cls(
            m.argument_size_in_bytes,
            m.output_size_in_bytes,
            m.alias_size_in_bytes,
            m.temp_size_in_bytes,
            m.generated_code_size_in_bytes,
        )

    @property
    def while_running(self) -> float:
        """Bytes of the program alone."""
        return self.arguments + self.results - self.reused + self.temporaries + self.code


def peaks(held: Held, programs: dict[str, ProgramMemory]) -> dict[str, float]:
    """Gives bytes a chip while each program runs: its own, and what lies beside it."""
    beside = {
        GRADIENTS: held.optimiser + held.batches / BATCHES,
        UPDATE: held.frozen + held.batches,
        WRITING: held.optimiser + held.batches,
    }
    return {name: memory.while_running + beside[name] for name, memory in programs.items()}


def bytes_a_chip(tree: Any) -> float:
    """Counts bytes of the shards of one chip, of arrays or ShapeDtypeStructs with shardings."""
    return float(
        sum(
            np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64) * x.dtype.itemsize
            for x in jax.tree.leaves(tree)
        )
    )
