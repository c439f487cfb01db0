"""The training loop: one for all stages.

Order inside the loop, and why:
1. A due checkpoint is saved before the next batch is drawn, so that a saved step is always
   the number of batches consumed, and a resumed run draws the very next one.
2. The metrics of step i are read while step i + 1 runs: reading them earlier would make the
   host wait for the device.
3. A batch is drawn and sent to the device while the step before it still runs there. What the
   host waited for it is logged as `data_wait`, a share of all time: the device waited at most
   as long.
4. A signal is looked at between steps only; the step in flight is finished and saved.

Start order: resume if a checkpoint exists; else the named parents; else scratch.
"""

import concurrent.futures
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from signbind_jax import artefact, sharding
from signbind_jax.checkpoint import CheckpointDir
from signbind_jax.config import RunConfig
from signbind_jax.errors import SignBindError
from signbind_jax.hosts import check_agreement
from signbind_jax.metric_log import MetricLog
from signbind_jax.optim import make_optimizer
from signbind_jax.stages import make_stage
from signbind_jax.stages.stage import Stage

SUMMARY = "summary.json"
SECONDS_BETWEEN_LINES = 30.0  # of progress, where there is no terminal for a bar


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its last step, wall seconds, final scores, every logged loss."""

    step: int
    seconds: float
    scores: dict[str, float]
    losses: list[float]
    finished: bool


def train(config: RunConfig, workdir: Path | str, *, announce: Callable = print) -> TrainResult:
    """Trains one stage in `workdir`, resuming what is there.

    Raises:
      SignBindError: the config, the data or a parent is wrong; told before compiling.
    """
    workdir = Path(workdir)
    artefact.check_resumable(workdir, config)
    stage = make_stage(config)
    _check_validation(stage)
    check_agreement({"config": config.digest, "datasets": stage.dataset.digest,
                     "batch plan": stage.plan.digest})  # fmt: skip
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    for note in stage.notes:
        announce(f"{stage.name}: {note}")
    run = _Run(stage, mesh)
    checkpoints = CheckpointDir(workdir / "checkpoints", keep=config.keep_checkpoints)
    state, frozen = run.start(checkpoints, announce)
    manifest = artefact.write(workdir, stage)
    log = MetricLog(workdir, start_step=int(state["step"]))
    try:
        return run.loop(state, frozen, checkpoints, manifest, log, workdir)
    finally:
        checkpoints.close()
        log.close()


class _Run:
    """The compiled step of one stage on one mesh, and the loop around it."""

    def __init__(self, stage: Stage, mesh):
        self.stage, self.config, self.mesh = stage, stage.config, mesh
        self.tx = make_optimizer(self.config.optim, self.config.steps)
        self.compiled = {}
        self.told = 0.0

    def start(self, checkpoints: CheckpointDir, announce: Callable):
        """The state to go on from, by the start order: (trained state, frozen parameters)."""
        stage = self.stage
        self.graphdef, params = sharding.init_sharded(
            stage.make_model, self.mesh, self.config.seed, stage.adopted(self.mesh)
        )
        trained, frozen = self.split(params)
        n = sum(x.size for x in jax.tree.leaves(trained))
        announce(f"{stage.name}: {n:,} parameters train, "
                 f"{sum(x.size for x in jax.tree.leaves(frozen)):,} are frozen")  # fmt: skip
        state = {
            "params": trained,
            "opt_state": sharding.init_optimizer(self.tx, trained, self.mesh),
            "step": jax.device_put(jnp.int32(0), sharding.replicated(self.mesh)),
        }
        if checkpoints.latest() is not None:
            target = jax.tree.map(_abstract, self.stored(state, frozen))
            step, restored, _ = checkpoints.restore_latest(target)
            trained, frozen = self.split(nnx.merge_state(params, restored["params"]))
            announce(f"{stage.name}: resumed at step {step}")
            return {**restored, "params": trained}, frozen
        return state, frozen

    def split(self, params: nnx.State) -> tuple[nnx.State, nnx.State]:
        """Parameters that train, and those that stay."""
        return nnx.split_state(params, lambda path, _: self.stage.trains(path), ...)

    def stored(self, state: dict, frozen: nnx.State) -> dict:
        """What a checkpoint holds: every parameter but those that stay in a parent's files."""
        kept, _ = nnx.split_state(frozen, lambda path, _: self.stage.stores(path), ...)
        return {**state, "params": nnx.merge_state(state["params"], kept)}

    def gradients(self, params: nnx.State, frozen: nnx.State, step, batch):
        """Mean gradients (weighted by tokens) and {"loss", "weight", ...} of a batch."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), step)

        def loss_sum(params, batch):
            model = nnx.merge(self.graphdef, params, frozen)
            loss, weight, metrics = self.stage.loss(model, batch, key)
            return loss, {"weight": weight, **metrics}

        value_and_grad = jax.value_and_grad(loss_sum, has_aux=True)
        n = self.config.optim.accumulate
        if n == 1:
            (loss, metrics), grads = value_and_grad(params, batch)
        else:
            loss, metrics, grads = _accumulated(value_and_grad, params, batch, n)
        weight = jnp.maximum(metrics["weight"], 1.0)
        grads = jax.tree.map(lambda g: g / weight, grads)
        metrics = {name: value / weight for name, value in metrics.items() if name != "weight"}
        return grads, metrics | {"loss": loss / weight, "weight": weight}

    def update(self, state: dict, grads: nnx.State) -> dict:
        """The state after one optimiser step."""
        updates, opt_state = self.tx.update(grads, state["opt_state"], state["params"])
        params = jax.tree.map(lambda p, u: p + u, state["params"], updates)
        return {"params": params, "opt_state": opt_state, "step": state["step"] + 1}

    def compile(self, state, frozen, first_step: int) -> None:
        """Compiles the gradients of every batch shape, two at a time, and the update once.

        The update is a program of its own because it does not depend on the batch's shape:
        inside the gradients' program it would be compiled again for every bucket.
        """
        wanted, examples = set(self.stage.plan.shapes), {}
        for i in range(first_step, first_step + self.stage.plan.steps_per_epoch):
            step = self.stage.plan.step(i)
            shape = (step.bucket_length, step.batch_size)
            if shape in wanted and shape not in examples:
                examples[shape] = self.stage.batch(i)
            if len(examples) == len(wanted):
                break
        shardings = jax.tree.map(lambda x: x.sharding, state["params"])
        gradients = jax.jit(self.gradients, out_shardings=(shardings, None))
        # The same shardings out as in, or the next step's compiled program would refuse them.
        kept = jax.tree.map(lambda x: x.sharding, state)
        update = jax.jit(self.update, donate_argnums=0, out_shardings=kept)

        def compile_one(shape):
            if shape is None:
                return shape, update.lower(state, state["params"]).compile()
            batch = sharding.put_batch(examples[shape], self.mesh)
            lowered = gradients.lower(state["params"], frozen, state["step"], batch)
            return shape, lowered.compile()

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self.compiled = dict(pool.map(compile_one, [*examples, None]))

    def train_step(self, state: dict, frozen: nnx.State, batch, shape: tuple[int, int]):
        """One update by the compiled programs: (new state, metrics)."""
        grads, metrics = self.compiled[shape](state["params"], frozen, state["step"], batch)
        return self.compiled[None](state, grads), metrics

    def loop(self, state, frozen, checkpoints, manifest, log, workdir) -> TrainResult:
        """Runs to `config.steps` or to a signal."""
        config, stage = self.config, self.stage
        step = int(state["step"])
        losses, pending, scores = [], None, {}
        with _Signals() as signals, _progress(stage.name, step, config.steps) as bar:
            if step < config.steps:
                self.compile(state, frozen, step)
            batches, feed = stage.batches(step, config.steps), _Feed()
            while step < config.steps and not signals.received:
                plan_step = stage.plan.step(step)
                batch = sharding.put_batch(feed.next(batches), self.mesh)
                shape = (plan_step.bucket_length, plan_step.batch_size)
                state, metrics = self.train_step(state, frozen, batch, shape)
                step += 1
                if pending is not None:
                    self._log(log, bar, losses, *pending)
                pending = (step, metrics | {"data_wait": feed.share})
                last = step == config.steps
                if _due(step, config.evaluate_every) and not last:
                    scores = self.evaluate(state, frozen)
                    log.write(step, config.data.validation, scores)
                if _due(step, config.checkpoint_every) or signals.received and not last:
                    checkpoints.save(step, self.stored(state, frozen), manifest)
            if pending is not None:
                self._log(log, bar, losses, *pending)
        finished = step >= config.steps
        if finished and checkpoints.latest() == step and (workdir / SUMMARY).exists():
            summary = json.loads((workdir / SUMMARY).read_text())
            if summary["finished"]:  # else it is of a stop before the last, unscored checkpoint
                return TrainResult(step, summary["seconds"], summary["scores"], losses, True)
        if finished:
            if checkpoints.latest() != step:
                checkpoints.save(step, self.stored(state, frozen), manifest)
            scores = self.evaluate(state, frozen)
            log.write(step, config.data.validation or "end", scores)
        checkpoints.wait()
        result = TrainResult(step, log.seconds, scores, losses, finished)
        _write_summary(workdir, result)
        return result

    def evaluate(self, state, frozen) -> dict[str, float]:
        """Scores on the validation split; empty where the config names none."""
        split = self.config.data.validation
        if not split:
            return {}
        params = nnx.merge_state(state["params"], frozen)
        return self.stage.evaluate(self.graphdef, params, split)

    def _log(self, log, bar, losses, step, metrics):
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        losses.append(values["loss"])
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(f"{self.stage.name}: the loss of step {step} is not finite")
        bar.update(1)
        if _due(step, self.config.log_every) or step == self.config.steps:
            log.write(step, "train", values)
            bar.set_postfix_str(f"loss {values['loss']:.3f}")
        if bar.disable and log.seconds - self.told > SECONDS_BETWEEN_LINES:
            self.told = log.seconds
            print(f"{self.stage.name}: step {step} of {self.config.steps}, loss "
                  f"{values['loss']:.3f}, {log.seconds:.0f} s", flush=True)  # fmt: skip


def _check_validation(stage: Stage) -> None:
    """A split that is not there would else show only after the last step."""
    known, split = stage.dataset.splits, stage.config.data.validation
    if split and split not in known:
        raise SignBindError(f"config.data.validation: found {split!r}, wanted one of "
                            f"{', '.join(known)} of {stage.config.data.directory}, or nothing "
                            "for no scores (--config.data.validation=)")  # fmt: skip


def _abstract(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _accumulated(value_and_grad, params, batch, n: int):
    """Sums of loss, metrics and gradients over n equal slices of the batch's rows.

    Sums, not means: divided by the whole batch's tokens later they equal the full batch's.
    """
    slices = jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), batch)

    def add(total, part):
        (loss, metrics), grads = value_and_grad(params, part)
        return jax.tree.map(jnp.add, total, (loss, metrics, grads)), None

    shapes = jax.eval_shape(value_and_grad, params, jax.tree.map(lambda x: x[0], slices))
    (loss, metrics), grads = shapes
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (loss, metrics, grads))
    return jax.lax.scan(add, zeros, slices)[0]


def _progress(name: str, step: int, steps: int) -> tqdm:
    return tqdm(total=steps, initial=step, desc=name, unit="step", disable=not sys.stderr.isatty(),
                dynamic_ncols=True)  # fmt: skip


def _write_summary(workdir: Path, result: TrainResult) -> None:
    summary = {"step": result.step, "seconds": result.seconds, "finished": result.finished,
               "scores": result.scores}  # fmt: skip
    (workdir / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")


class _Feed:
    """Draws batches and notes how long that takes."""

    def __init__(self):
        self._began = time.monotonic()
        self._waited = 0.0

    def next(self, batches):
        start = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - start
        return batch

    @property
    def share(self) -> float:
        """Of the time since the first step, compilation left out."""
        return self._waited / max(time.monotonic() - self._began, 1e-9)


class _Signals:
    """Notes SIGTERM and SIGINT instead of dying; a second SIGINT interrupts at once."""

    def __enter__(self):
        self.received = 0
        self._old = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._old[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals are someone else's
                pass
        return self

    def _note(self, number, frame):
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def __exit__(self, *_):
        for number, handler in self._old.items():
            signal.signal(number, handler)
