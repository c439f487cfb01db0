"""The programs of a config: from a stage's own functions, on the shapes of a batch."""

from collections.abc import Callable

import jax
from flax import nnx

from signbind_jax.config import RunConfig
from signbind_jax.data.batch_plan import batch_sizes
from signbind_jax.distributed import sharding
from signbind_jax.generation.sentences import PREFIX_POSITIONS
from signbind_jax.stages import assumed_stage
from signbind_jax.train import xla_options
from signbind_jax.train.train_step import TrainStep

GRADIENTS, UPDATE, WRITING = "gradients", "update", "writing"


class Programs:
    """What a run of a config compiles for its longest batch, on a mesh that may not be there.

    Attributes:
      step: the run's own functions.
      state, frozen: what the run holds, as shapes.
      batch: the training batch of the longest bucket, as shapes.
      written: the batch whose sentences are written, as shapes.
    """

    def __init__(self, config: RunConfig, mesh: jax.sharding.Mesh):
        self.config, self.mesh = config, mesh
        self.step = TrainStep(assumed_stage(config), mesh)
        self.state, self.frozen = self.step.abstract_state()
        data, length = config.data, config.assumed.longest
        (rows,) = batch_sizes((length,), data.frames_per_batch, data.batch_multiple)
        sharding.check_rows_divide(rows, data.batch_multiple, mesh)
        ways = mesh.shape["data"] * mesh.shape["fsdp"]
        self.batch = self.step.batch_spec(length, rows)
        written = -(-max(PREFIX_POSITIONS // length, 1) // ways) * ways
        self.written = self.step.batch_spec(length, written)

    def all(self) -> dict[str, Callable[[], jax.stages.Compiled]]:
        """Lists what compiles each program, by name."""
        programs = self.step.programs(self.state, self.frozen)
        state = programs.flatten(self.state)
        out = {
            GRADIENTS: lambda: programs.compile_gradients(state, self.batch),
            UPDATE: lambda: programs.compile_update(state),
        }
        writing = self.lower_writing()
        if writing is not None:
            out[WRITING] = lambda: writing.compile(xla_options.options(self.mesh))
        return out

    def lower_writing(self) -> jax.stages.Lowered | None:
        """Lowers the program that writes sentences; None where the stage writes none."""
        params = nnx.merge_state(self.state["params"], self.frozen)
        return self.step.stage.lower_writing(self.step.graphdef, params, self.written)

    def trace_gradients(self):
        """Traces the jaxpr of the gradients as written, before any compiler."""
        args = (self.state["params"], self.frozen, self.state["step"], self.batch)
        return jax.make_jaxpr(self.step.gradients)(*args)
