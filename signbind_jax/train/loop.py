"""The training loop: one for all stages.

Order inside the loop, and why:
1. A due checkpoint is saved before the next batch is drawn, so that a saved step is always
   the number of batches consumed, and a resumed run draws the very next one.
2. The metrics of step i are read while step i + 1 runs: reading them earlier would make the
   host wait for the device. Those of a step that is evaluated or saved are written first: a run
   killed right after a save would go on behind them, both wait for the step anyway, and the
   time they take is no time of training.
3. A batch is drawn and sent to the device while the step before it still runs there. What the
   host waited for it is logged as `data_wait`, a share of all time: the device waited at most
   as long.
4. A signal is looked at between steps and between the batches of an evaluation: the step in
   flight is finished and saved; an evaluation that was cut short is made by the next start.
   Before the first step the process ends at once, as there is nothing to save.
5. The best step is marked when its arrays are on disk, before the one that was the best goes:
   it is saved right after the evaluation that found it, unless it is there already.
6. Every process of several takes the same turns: what one evaluates or saves, all do. Process 0
   alone speaks and writes files other than checkpoints.

Start order: resume if a checkpoint exists; else `init.from` and the named parents; else scratch.
"""

import contextlib
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx
from tqdm import tqdm

from signbind_jax import files, versions
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from signbind_jax.checkpoint.manifest import Manifest, check_same
from signbind_jax.config import RunConfig
from signbind_jax.distributed import hosts, sharding
from signbind_jax.errors import Interrupted, SignBindError
from signbind_jax.processes import interrupts
from signbind_jax.sources import open_source
from signbind_jax.sources.source import BatchSource
from signbind_jax.stages import make_stage
from signbind_jax.stages.sections import check_sections
from signbind_jax.stages.stage import Stage
from signbind_jax.train.best_step import BestSoFar
from signbind_jax.train.init_from import Init, open_init
from signbind_jax.train.metric_log import open_log
from signbind_jax.train.optim import swap_average
from signbind_jax.train.profile_trace import ProfileTrace
from signbind_jax.train.resume import best_until, check_not_lost, newest_step, summary_of
from signbind_jax.train.summary import write_summary
from signbind_jax.train.train_metrics import (
    Feed,
    Throughput,
    TrainLog,
    is_logged,
    peak_of,
    show_evaluation,
)
from signbind_jax.train.train_step import TrainStep
from signbind_jax.train.wandb_log import import_wandb


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its last step, wall seconds, final scores, every logged loss."""

    step: int
    seconds: float
    scores: dict[str, float]
    losses: list[float]
    finished: bool


def train(
    config: RunConfig,
    workdir: Path | str,
    *,
    announce: Callable = print,
    other_versions: bool = False,
) -> TrainResult:
    """Trains one stage in `workdir`, resuming what is there.

    Args:
      other_versions: whether to resume also what other versions of packages have made.

    Raises:
      SignBindError: the config, the data or a parent is wrong; told before compiling.
    """
    workdir = Path(workdir)
    announce = announce if hosts.is_primary() else lambda line: None
    check_sections(config)
    if config.wandb and hosts.is_primary():
        import_wandb()  # told before anything is compiled
    anew = artefact.check_resumable(workdir, config)
    versions.check_hosts(versions.installed())
    hosts.check_agreement({"config": config.digest, "schedule": _schedule_digest(config)})
    hosts.check_shared(workdir, "--workdir")
    with _alone(workdir):
        return _train(config, workdir, announce, anew, other_versions)


@contextlib.contextmanager
def _alone(workdir: Path) -> Iterator[None]:
    """Refuses a directory in which another run is under way: the two would remove each other's
    checkpoints."""
    if not hosts.is_primary():
        yield
        return
    with files.trying_to_lock(workdir) as lock:
        if lock is None:
            raise SignBindError(
                f"--workdir: {workdir}: found another training under way in it, "
                "wanted none: wait for it, stop it, or give another "
                "directory"
            )
        yield


def _train(
    config: RunConfig, workdir: Path, announce: Callable, anew: str, other_versions: bool
) -> TrainResult:
    init = open_init(config, workdir)
    source = open_source(config)
    config = source.config
    stage = make_stage(config, source.shapes)
    if init:
        init.check(stage, source)
        source.parents[artefact.INIT] = init.digest
    _check_validation(source)
    _check_slices(source)
    hosts.check_agreement({"datasets": source.dataset.digest, "batch plan": source.plan.digest})
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    sharding.check_rows_by_process(mesh)
    for _, rows in source.plan.shapes:
        sharding.check_rows_divide(rows, config.data.batch_multiple, mesh)
    for note in filter(None, (anew, *source.notes)):
        announce(f"{stage.name}: {note}")
    run = _Run(stage, source, mesh, init)
    checkpoints = CheckpointDir(workdir / "checkpoints", keep=config.keep_checkpoints)
    check_not_lost(workdir, checkpoints)
    state, frozen = run.start(checkpoints, announce, other_versions)
    artefact.write(workdir, source, stage.model_config, run.manifest)
    log = open_log(workdir, int(state["step"]), config)
    trace = ProfileTrace(config.profile, workdir)
    try:
        with interrupts.noted() as signals:
            return run.loop(state, frozen, checkpoints, log, workdir, signals, trace)
    finally:
        trace.close()
        checkpoints.close()
        log.close()


class _Run(TrainStep):
    """The compiled step of one stage on one mesh, and the loop around it."""

    def __init__(self, stage: Stage, source: BatchSource, mesh, init: Init | None):
        super().__init__(stage, mesh)
        self.source, self.init = source, init
        self.manifest = artefact.make_manifest(source, stage.model_config)  # of what it saves

    def start(self, checkpoints: CheckpointDir, announce: Callable, other_versions: bool):
        """The state to go on from, by the start order: (trained state, frozen parameters)."""
        stage = self.stage
        given = self.source.initial_params(stage, self.mesh)
        resumed = newest_step(checkpoints) is not None
        carried = None
        if self.init and not resumed:
            carried = self.init.carried(stage, self.source, self.mesh, given)
            given |= carried.whole
        self.graphdef, params = sharding.init_sharded(
            stage.make_model, self.mesh, self.config.seed, given
        )
        if carried:
            params = carried.into(params)
            carried.tell(Path(checkpoints.directory).parent, stage.name, announce)
        trained, frozen = self.split(params)
        n = sum(x.size for x in jax.tree.leaves(trained))
        announce(
            f"{stage.name}: {n:,} parameters train, "
            f"{sum(x.size for x in jax.tree.leaves(frozen)):,} are frozen"
        )
        state = {
            "params": trained,
            "opt_state": sharding.init_optimizer(self.tx, trained, self.mesh),
            "step": jax.device_put(jnp.int32(0), sharding.replicated(self.mesh)),
        }
        if resumed:
            target = jax.tree.map(_abstract, self.stored(state, frozen))
            step, restored, saved = checkpoints.restore_latest(target)
            self._check_resumed(checkpoints.directory, step, saved, other_versions)
            trained, frozen = self.split(nnx.merge_state(params, restored["params"]))
            announce(f"{stage.name}: resumed at step {step}")
            return swap_average({**restored, "params": trained}), frozen
        return state, frozen

    def _check_resumed(self, directory, step: int, saved: Manifest, other_versions: bool) -> None:
        """Refuses a checkpoint of another run, or made with other versions, and takes over what
        was noted of its versions."""
        if step < self.config.steps and not other_versions:
            versions.check_resumed(saved.versions, versions.installed(), directory)
        check_same(
            saved,
            self.manifest.identity,
            f"{directory}: step {step}",
            "that of this run: its config, data, parents or packages are others by now; "
            "give what it was trained with, or another --workdir",
        )
        joined = versions.joined(saved.versions, versions.installed())
        self.manifest = dataclasses.replace(self.manifest, versions=joined)

    def stored(self, state: dict, frozen: nnx.State) -> dict:
        """What a checkpoint holds: every parameter but those that stay in a parent's files; of
        averaged weights the averages, beside those that train in the optimiser's state."""
        state = swap_average(state)
        kept, _ = nnx.split_state(frozen, lambda path, _: self.stage.stores(path), ...)
        return {**state, "params": nnx.merge_state(state["params"], kept)}

    def loop(self, state, frozen, checkpoints, log, workdir, signals, trace) -> TrainResult:
        """Runs to `config.steps` or to a signal."""
        config, stage, source, manifest = self.config, self.stage, self.source, self.manifest
        step = int(state["step"])
        best = self.best = BestSoFar(config, stage.main_metric, best_until(step, checkpoints))
        scores: dict[str, float] = {}
        programs = self.programs(state, frozen)
        flat = programs.flatten(state)
        del state  # its arrays are given away by the first step
        with _progress(stage.name, step, config.steps) as bar:
            if step < config.steps:
                batches = {shape: self.batch_spec(*shape) for shape in source.plan.shapes}
                programs.compile(flat, batches)
            hosts.barrier(f"step {step} of {stage.name}, compiled")
            batches, feed = source.batches(step, config.steps), Feed()
            rates = Throughput(source.plan, stage.unit, programs.flops, peak_of(self.mesh))
            logged = TrainLog(log, bar, stage, programs, rates)
            stopping = signals.stops()
            if not stopping and self._evaluates(step):
                with rates.paused():
                    scores, stopping = self._catch_up(step, programs.unflatten(flat), frozen, log)
                if new := best.renewed(step, scores):
                    checkpoints.mark_best(new)
            while step < config.steps and not stopping and not best.is_final:
                trace.begin(step + 1, flat)
                plan_step = source.plan.step(step)
                batch = sharding.put_batch(feed.next(batches), self.mesh)
                shape = (plan_step.bucket_length, plan_step.batch_size)
                step += 1
                measured = is_logged(step, config)
                flat, metrics = programs(flat, batch, shape, measured=measured)
                logged.add(step, plan_step, feed.share, metrics)
                last, new = step == config.steps, None
                stopping = signals.stops()
                if self._evaluates(step) and not stopping:
                    logged.flush()
                    with rates.paused():
                        scores, stopping = self._score(step, programs.unflatten(flat), frozen, log)
                    new = best.renewed(step, scores)
                if _due(step, config.checkpoint_every) or new or stopping and not last:
                    logged.flush()
                    with rates.paused():
                        stored = self.stored(programs.unflatten(flat), frozen)
                        checkpoints.save(step, stored, manifest, best=new)
            logged.flush()
            trace.close()
        return self._end(
            step, scores, programs.unflatten(flat), frozen, checkpoints, log, workdir, logged.losses
        )

    def _end(self, step, scores, state, frozen, checkpoints, log, workdir, losses) -> TrainResult:
        """Saves the last step, scores it unless `scores` are its own, as where patience ended, and
        writes the summary; where no earlier start did."""
        config = self.config
        is_final = self.best.is_final
        finished = step >= config.steps or is_final
        if finished and (summary := summary_of(workdir, checkpoints, step, config.digest)):
            return TrainResult(step, summary["seconds"], summary["scores"], losses, True)
        if finished:
            if newest_step(checkpoints) != step:
                checkpoints.save(step, self.stored(state, frozen), self.manifest)
            if is_final and hosts.is_primary():
                tqdm.write(
                    f"{self.stage.name}: {self.best}, none better since: ends at step {step}"
                )
            if not is_final:
                scores, stopping = self._score(step, state, frozen, log)
                finished = not stopping
                if new := self.best.renewed(step, scores):
                    checkpoints.mark_best(new)
        checkpoints.wait()
        result = TrainResult(step, log.seconds, scores, losses, finished)
        if hosts.is_primary():
            write_summary(workdir, _summary(result, config))
        hosts.barrier(f"the end of {self.stage.name}")
        return result

    def _score(self, step, state, frozen, log) -> tuple[dict[str, float], bool]:
        """Scores of the validation split, which are logged, if the config names one, and whether
        a signal to any process came before they were there."""
        split = self.config.data.validation
        if not split:
            log.write(step, "end", {})
            return {}, False
        params = sharding.own_copy(nnx.merge_state(swap_average(state)["params"], frozen))
        evaluator = self.source.evaluator(lambda: (self.graphdef, params))
        try:
            found = evaluator.run(self.source.dataset.split(split))
        except Interrupted:
            return {}, True
        log.write(step, split, found.logged)
        log.write_samples(step, split, found.samples)
        if hosts.is_primary():
            show_evaluation(self.stage, step, found)
        return found.logged, False

    def _evaluates(self, step: int) -> bool:
        """Whether a step before the last is evaluated."""
        due = _due(step, self.config.evaluate_every)
        return due and 0 < step < self.config.steps and bool(self.config.data.validation)

    def _catch_up(self, step, state, frozen, log) -> tuple[dict[str, float], bool]:
        """As `_score`, at the start: the scores that the log holds, unless the run was stopped
        before they were there."""
        split = self.config.data.validation
        held = hosts.broadcast("looking for scores", lambda: log.held(step, split))
        return (held, False) if held else self._score(step, state, frozen, log)


def _check_validation(source: BatchSource) -> None:
    """A split that is not there would else show only after the last step."""
    known, split = source.dataset.splits, source.config.data.validation
    if split and split not in known:
        raise SignBindError(
            f"config.data.validation: found {split!r}, wanted one of "
            f"{', '.join(known)} of {source.config.data.directory}, or nothing "
            "for no scores (--config.data.validation=)"
        )


def _check_slices(source: BatchSource) -> None:
    n = source.config.optim.accumulate
    rows = [rows for _, rows in source.plan.shapes if n < 1 or rows % n]
    if rows:
        raise SignBindError(
            f"config.optim.accumulate: found {n} and batches of {rows[0]} rows, "
            "wanted a number that divides them: set "
            f"--config.data.batch_multiple={max(n, 1)}"
        )


def _schedule_digest(config: RunConfig) -> str:
    """Of what decides which turns a process takes, beside `config.digest`."""
    turns = [
        config.log_every,
        config.evaluate_every,
        config.checkpoint_every,
        config.keep_best,
        config.convention,
        config.patience,
        config.data.validation,
        dataclasses.astuple(config.mesh),
    ]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def _abstract(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _progress(name: str, step: int, steps: int) -> tqdm:
    hidden = not (hosts.is_primary() and sys.stderr.isatty())
    return tqdm(
        total=steps, initial=step, desc=name, unit="step", disable=hidden, dynamic_ncols=True
    )


def _summary(result: TrainResult, config: RunConfig) -> dict:
    return {
        "step": result.step,
        "seconds": result.seconds,
        "finished": result.finished,
        "scores": result.scores,
        "config_digest": config.digest,
    }
