"""Outcome: all that preflight found about one config on one topology, as JSON and back."""

import dataclasses
import json
import math
from dataclasses import dataclass, field

from signbind_jax.preflight.memory import SPARE

FITS, TIGHT, TOO_LARGE, FAILED = "fits", "tight", "does not fit", "failed"


@dataclass(frozen=True)
class Outcome:
    """One config on one topology.

    Attributes:
      spec: the config, as `--config` names it.
      topology: such as "v5e:4x4".
      mesh: axis -> size.
      rows: of the longest batch.
      limit: bytes a program may take on a chip.
      held: bytes a chip by part (`memory.Held`).
      programs: name -> bytes a chip by kind (`memory.ProgramMemory`), "compile_s" and "peak".
      costs: name -> `costs.Cost` of a program.
      model_flops: of one training step on all chips, as the model is written.
      estimate: `roofline.Estimate` of a training step; None where there is no roofline.
      compile_memory: bytes of the process that compiled, at its peak.
      problem: one line, where it did not compile; `advice` what to change first.
    """

    spec: str
    topology: str
    mesh: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    limit: float = math.inf
    held: dict[str, float] = field(default_factory=dict)
    programs: dict[str, dict[str, float]] = field(default_factory=dict)
    costs: dict[str, dict] = field(default_factory=dict)
    model_flops: float = 0.0
    estimate: dict | None = None
    compile_memory: float = 0.0
    problem: str = ""
    advice: str = ""
    verdict: str = ""

    @property
    def devices(self) -> int:
        """Chips, or simulated devices."""
        return math.prod(self.mesh.values())

    @property
    def peak(self) -> float:
        """Bytes a chip while the largest program runs."""
        return max((p["peak"] for p in self.programs.values()), default=0.0)

    @property
    def spare(self) -> float:
        """Share of the limit that is left."""
        return 1.0 - self.peak / self.limit

    @property
    def compile_s(self) -> float:
        """Seconds of all compiles together."""
        return sum(p["compile_s"] for p in self.programs.values())

    def judged(self) -> "Outcome":
        """Adds the verdict."""
        if self.verdict:
            return self
        fits = FITS if self.spare >= SPARE else TIGHT
        return dataclasses.replace(self, verdict=fits if self.spare >= 0 else TOO_LARGE)

    def to_json(self) -> str:
        """Writes one object; an unbounded limit is null."""
        record = dataclasses.asdict(self)
        record["limit"] = None if math.isinf(self.limit) else self.limit
        record |= {"peak": self.peak, "compile_s": self.compile_s}
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Outcome":
        """Reads what `to_json` wrote."""
        record = json.loads(text)
        record["limit"] = math.inf if record["limit"] is None else record["limit"]
        return cls(**{f.name: record[f.name] for f in dataclasses.fields(cls)})
