"""What is logged of training steps: losses, norms, throughput, utilisation."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from tqdm import tqdm

from signbind_jax.config import RunConfig
from signbind_jax.data.batch_plan import BatchPlan, Step
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluation import Evaluation
from signbind_jax.preflight.peaks import peak_flops
from signbind_jax.stages.stage import Stage
from signbind_jax.train.metric_log import MetricLog, SilentLog
from signbind_jax.train.step_programs import StepMetrics, StepPrograms

SECONDS_BETWEEN_LINES = 30.0  # of progress, where there is no terminal for a bar


class Throughput:
    """Rates of training since they were last asked for, evaluations and saves left out.

    Args:
      unit: what `plan.lengths` counts: "frames" or "tokens".
      flops: of the model in a step, by batch shape (`StepPrograms.flops`).
      peak: FLOPs a second of all devices together; None: not known.
    """

    def __init__(
        self, plan: BatchPlan, unit: str, flops: Mapping[tuple[int, int], float], peak: float | None
    ):
        self._plan, self._unit, self._flops, self._peak = plan, unit, flops, peak
        self._begin()

    def count(self, step: Step) -> None:
        """A step whose end was waited for. Empty rows and padding do not count."""
        clips = step.ids[step.ids >= 0]
        self._clips += len(clips)
        self._units += int(self._plan.lengths[clips].sum())
        self._done += self._flops.get((step.bucket_length, step.batch_size), float("nan"))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A time in which nothing trains."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - began

    def rates(self) -> dict[str, float]:
        """Returns "clips_per_second", the same of frames or tokens, and "mfu" in percent where the
        devices' peak is known; what is counted from here on is of the next rates."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        rates = {
            "clips_per_second": self._clips / seconds,
            f"{self._unit}_per_second": self._units / seconds,
        }
        if self._peak and np.isfinite(self._done):
            rates["mfu"] = 100 * self._done / (seconds * self._peak)
        self._begin()
        return rates

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._clips = self._units = 0
        self._done = 0.0


def peak_of(mesh: jax.sharding.Mesh) -> float | None:
    """bfloat16 operations a second of all devices of a mesh; None where they are not known."""
    peak = peak_flops(mesh.devices.flat[0].device_kind)
    return peak and peak * mesh.devices.size


def is_logged(step: int, config: RunConfig) -> bool:
    """Whether a step has a record of its own."""
    return config.log_every > 0 and step % config.log_every == 0 or step == config.steps


class TrainLog:
    """Reads the metrics of each step once the next one runs, and logs those that are due.

    Attributes:
      losses: of every step read.
      throughput: to be paused while nothing trains.
    """

    def __init__(
        self,
        log: MetricLog | SilentLog,
        bar: tqdm,
        stage: Stage,
        programs: StepPrograms,
        throughput: Throughput,
    ):
        self._log, self._bar, self._stage, self._programs = log, bar, stage, programs
        self.throughput = throughput
        self.losses: list[float] = []
        self._pending: tuple[int, Step, float, StepMetrics] | None = None
        self._told = 0.0

    def add(self, step: int, plan_step: Step, data_wait: float, metrics: StepMetrics) -> None:
        """Takes the metrics of a step that has just been started; reads those before them."""
        self.flush()
        self._pending = step, plan_step, data_wait, metrics

    def flush(self) -> None:
        """Waits for the newest step and reads it.

        Raises:
          SignBindError: its loss is not finite.
        """
        if self._pending is None:
            return
        step, plan_step, data_wait, metrics = self._pending
        self._pending = None
        config, name = self._stage.config, self._stage.name
        values = self._programs.read(metrics) | {"data_wait": data_wait}
        self.losses.append(values["loss"])
        self.throughput.count(plan_step)
        if not np.isfinite(values["loss"]):
            raise SignBindError(
                f"{name}: loss of step {step}: found {values['loss']}, wanted a number: lower "
                "config.optim.learning_rate, or audit the data (signbind data audit)"
            )
        self._bar.update(1)
        if is_logged(step, config):
            self._log.write(step, "train", values | self.throughput.rates())
            self._bar.set_postfix_str(f"loss {values['loss']:.3f}")
        seconds = self._log.seconds
        if (
            hosts.is_primary()
            and self._bar.disable
            and seconds - self._told > SECONDS_BETWEEN_LINES
        ):
            self._told = seconds
            print(
                f"{name}: step {step} of {config.steps}, loss {values['loss']:.3f}, "
                f"{seconds:.0f} s",
                flush=True,
            )


def show_evaluation(stage: Stage, step: int, found: Evaluation) -> None:
    """Prints the main metric and the samples of an evaluation, above a progress bar."""
    if stage.main_metric in found.logged:
        tqdm.write(
            f"{stage.name}: step {step}, {stage.config.data.validation}: "
            f"{stage.main_metric} {found.logged[stage.main_metric]:.2f}"
        )
    for sample in found.samples:
        tqdm.write(
            f"  {sample.clip}\n    reference   {sample.reference}\n"
            f"    hypothesis  {sample.hypothesis}"
        )


class Feed:
    """Draws batches and notes how long that takes."""

    def __init__(self):
        self._began = time.monotonic()
        self._waited = 0.0

    def next(self, batches):
        """Draws one."""
        start = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - start
        return batch

    @property
    def share(self) -> float:
        """Of the time since the first step, compilation left out."""
        return self._waited / max(time.monotonic() - self._began, 1e-9)
