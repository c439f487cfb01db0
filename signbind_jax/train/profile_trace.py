"""A profiler trace of named steps of a run, for TensorBoard, Perfetto or XProf."""

import logging
from pathlib import Path
from typing import Any

import jax

from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError

logger = logging.getLogger(__name__)

DIRECTORY = "profile"


class ProfileTrace:
    """Traces the steps of a span on process 0, below `profile/` of the run directory.

    Args:
      span: "FIRST:END", as a Python range: END is no more traced; empty: nothing is.
    """

    def __init__(self, span: str, workdir: Path):
        first, _, end = span.partition(":")
        self._steps = range(int(first), int(end)) if span and hosts.is_primary() else range(0)
        self._directory = workdir / DIRECTORY
        self._step: jax.profiler.StepTraceAnnotation | None = None
        self._running = False

    def begin(self, step: int, state: Any) -> None:
        """Before a step is started; `state` is what the steps before it leave."""
        self._end_step()
        if self._running and step not in self._steps:
            jax.block_until_ready(state)  # the last of the span is still under way
            self.close()
        if step not in self._steps:
            return
        if not self._running:
            jax.block_until_ready(state)  # or the trace would begin inside the step before
            try:
                jax.profiler.start_trace(self._directory)
            except RuntimeError as error:  # one is running already, of somebody else
                raise SignBindError(
                    f"config.profile: found no profiler ({error}), wanted one that is free"
                ) from error
            self._running = True
        self._step = jax.profiler.StepTraceAnnotation("train", step_num=step)
        self._step.__enter__()

    def close(self) -> None:
        """Writes the trace that is running, if any, also of a span that was cut short."""
        self._end_step()
        if self._running:
            self._running = False
            try:
                jax.profiler.stop_trace()
            except (RuntimeError, OSError) as error:  # no reason to end a run
                logger.warning("%s: trace not written: %s", self._directory, error)

    def _end_step(self) -> None:
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None
