"""Checkpoints: Orbax behind one door, a manifest with every step, digests of every array.

On disk, a step is

    step_00000100/state/           what Orbax wrote
    step_00000100/manifest.json    written last: a step without it does not count

and beside the steps `best.json` may name the one that scored best, which stays.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from signbind_jax import files
from signbind_jax.checkpoint import array_digest
from signbind_jax.checkpoint.checkpoint_arrays import (
    check_arrays,
    check_digests,
    describe_and_digest,
    finish_all,
    flatten,
    nest,
    placed,
    quiet_strays,
    restore_args,
    restore_target,
    result_of,
)
from signbind_jax.checkpoint.manifest import (
    DamagedCheckpoint,
    Manifest,
    artefact_digest,
    manifest_from_text,
    manifest_to_text,
)
from signbind_jax.checkpoint.step_dirs import PENDING, StepDirs
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.train import best_step
from signbind_jax.train.best_step import Best

logger = logging.getLogger(__name__)
# What goes wrong inside Orbax reaches the caller as an exception; its own log would print the
# same as a traceback.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class CheckpointDir(StepDirs):
    """The checkpoints of one run: saved in the background, verified when they are read.

    Args:
      directory: made on the first save.
      keep: how many of the newest complete steps stay, beside the best one.
    """

    def __init__(self, directory: str, keep: int = 3):
        super().__init__(directory, keep)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def mark_best(self, best: Best) -> None:
        """Keeps this saved step from here on; what was the best before may go."""
        self.wait()
        if hosts.is_primary():
            best_step.write_best(self.best_file, best)
            self.remove_old()

    def save(
        self,
        step: int,
        state: Any,
        manifest: Manifest,
        *,
        best: Best | None = None,
        wait: bool = False,
    ) -> None:
        """Saves a pytree of arrays (numbers count as arrays) and its manifest.

        When it returns, the arrays may be donated: their bytes are on the host. Writing goes on
        in the background unless `wait`. Steps later than `step` belong to a run that was taken
        up again from before them, and are removed.

        best: marks the step as the best one once it is complete.

        Raises:
          SignBindError: this save, or the one before it, could not be written. The checkpoints
            before it stay readable.
        """
        self.wait()
        hosts.barrier(f"saving step {step}")
        # Orbax refuses arrays of one process among many, such as a step counter.
        flat = {
            path: np.asarray(x) if array_digest.is_local(x) else x
            for path, x in flatten(state).items()
        }
        extra = {**manifest.extra, "step": step}
        manifest = replace(manifest, arrays=describe_and_digest(flat), extra=extra)
        text = manifest_to_text(manifest)
        already_there = self._holds(step, manifest)
        with self._together(step, "main"):
            if hosts.is_primary():
                self.remove_unusable(step, keep_step=already_there)
                if not already_there:
                    self.partial(step).mkdir(parents=True)
                    (self.step_dir(step) / PENDING).write_text(text)
        if already_there:
            if best:
                self.mark_best(best)
            return
        # Not through an AsyncCheckpointer: a host whose write failed never comes to the barriers
        # in it, and the others would wait there. `_together` is where all meet in any case.
        writer, writing = ocp.PyTreeCheckpointHandler(), None
        with self._together(step, "main"):
            writing = result_of(
                writer.async_save(self.partial(step), args=ocp.args.PyTreeSave(nest(flat)))
            )
        self._thread = threading.Thread(
            target=self._finish, args=(step, writer, writing, text, best)
        )
        self._thread.start()
        if wait:
            self.wait()

    def wait(self) -> None:
        """Returns when the save in progress, if any, is complete on every host.

        Raises:
          SignBindError: it could not be written.
        """
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Waits for the save in progress."""
        self.wait()

    def __enter__(self) -> "CheckpointDir":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def read_manifest(self, step: int) -> Manifest:
        """Reads the manifest of a complete step.

        Raises:
          SignBindError: there is no such step. DamagedCheckpoint: its manifest is not as written,
            or that of another step.
        """
        path = self.step_dir(step) / "manifest.json"
        if not path.exists():
            raise SignBindError(f"{path}: not found; complete steps: {self.steps() or 'none'}")
        manifest = manifest_from_text(files.read_bytes(path), str(path))
        if (found := manifest.extra.get("step", step)) != step:  # not in those of before
            raise DamagedCheckpoint(
                f"{path}: step: found {found}, wanted {step} as its directory "
                "says, which was renamed: give it its own name"
            )
        return manifest

    def restore(self, step: int, target: Any) -> Any:
        """Reads the arrays of a step, in the structure and with the shardings of `target`.

        `target` holds ShapeDtypeStructs or arrays; it may leave out whole top-level entries, such
        as the optimiser. A leaf without a sharding goes to one device, or among many processes
        to numpy; numbers and numpy arrays come back as numpy arrays.

        Raises:
          SignBindError: the step does not hold what `target` asks for.
          DamagedCheckpoint: a file cannot be read, or an array is not what was saved.
        """
        manifest = self.read_manifest(step)
        flat = flatten(target)
        where = str(self.step_dir(step))
        check_arrays(manifest.arrays, flat, where)
        targets = {path: restore_target(leaf) for path, leaf in flat.items()}
        arrays = self._read(step, targets, manifest.arrays)
        leaves = [placed(arrays[path], leaf) for path, leaf in flat.items()]
        return jax.tree.unflatten(jax.tree.structure(target), leaves)

    def restore_latest(self, target: Any) -> tuple[int, Any, Manifest]:
        """Reads the newest step that is whole: (step, tree, manifest).

        A damaged step is passed over with a warning that says what is wrong with it.

        Raises:
          SignBindError: no step is complete, none is whole, or `target` asks for other arrays.
        """
        steps, first = self.steps(), None
        for step in self.without_manifest():
            logger.warning("%s: passed over: its manifest.json is missing", self.step_dir(step))
        for step in reversed(steps):
            try:
                tree = self.restore(step, target)
            except DamagedCheckpoint as error:
                first = first or error
                logger.warning("damaged checkpoint passed over: %s", error)
                continue
            if first:
                logger.warning("%s: going on from step %d", self.directory, step)
            return step, tree, self.read_manifest(step)
        if first is None:
            raise SignBindError(f"{self.directory}: found no complete checkpoint")
        raise SignBindError(
            f"{self.directory}: none of the {len(steps)} checkpoints is whole; the newest: "
            f"{first}; put a good copy there, or start in another directory"
        )

    def verify(self, step: int) -> Manifest:
        """Reads a whole step into host memory and checks every array; returns its manifest.

        Raises:
          DamagedCheckpoint: names the first array or file that is not as it was saved.
        """
        manifest = self.read_manifest(step)
        self._read(step, dict.fromkeys(manifest.arrays), manifest.arrays)
        return manifest

    def _read(self, step: int, targets: Mapping[str, Any], digests: Mapping[str, str]):
        where, failure, arrays = self.step_dir(step), None, {}
        arguments = {path: restore_args(target) for path, target in targets.items()}
        item = {path: target if target is not None else 0 for path, target in targets.items()}
        request = ocp.args.PyTreeRestore(
            nest(item), restore_args=nest(arguments), partial_restore=True
        )
        try:
            for file in Path(where / "state").rglob("*"):
                if not file.is_dir():
                    files.check_regular(file)  # Orbax would wait for a pipe
            # Not through a Checkpointer: it waits for all hosts after a read that went well, and
            # a host whose read failed never comes. `all_gather` is where they meet in any case.
            with quiet_strays(), contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
                arrays = flatten(reader.restore(where / "state", args=request))
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise  # too little memory is no damage
        except Exception as error:
            failure = f"{where}: cannot be read ({_one_line(error)})"
        if any(hosts.all_gather("reading a checkpoint", failure is not None)):
            raise DamagedCheckpoint(failure or f"{where}: cannot be read on another host")
        check_digests(digests, arrays, str(where))
        return arrays

    def _finish(
        self, step: int, writer, writing: list, manifest_text: str, best: Best | None
    ) -> None:
        """Does what is left of a save, in a thread of its own."""
        try:
            with self._together(step, "saving"), quiet_strays():
                finish_all(writing)
            with self._together(step, "saving"):
                if hosts.is_primary():
                    writer.finalize(self.partial(step))
                    self.partial(step).rename(self.step_dir(step) / "state")
                    files.write(self.step_dir(step) / "manifest.json", manifest_text)
                    (self.step_dir(step) / PENDING).unlink()
                    if best:  # before the one that was the best is removed
                        best_step.write_best(self.best_file, best)
                    self.remove_old()
        except Exception as error:
            self._failure = error
        finally:
            writer.close()

    @contextlib.contextmanager
    def _together(self, step: int, channel: str):
        """Does a part of a save that every process has to come to; it fails on all or on none.

        Raises:
          SignBindError: on every process, what failed and where.
        """
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        what = f"saving step {step}"
        own = None if failure is None else [socket.gethostname(), _one_line(failure)]
        told = hosts.all_gather(what, own, channel)
        i = next((i for i, there in enumerate(told) if there), None)
        if i is None:
            return
        if hosts.is_primary():
            with contextlib.suppress(OSError):
                self.remove(step)  # gives its disk space back
        newest = self.latest()
        kept = "there is no earlier one" if newest is None else f"step {newest} is still good"
        where = f" on process {i} of {len(told)}, {told[i][0]}" if len(told) > 1 else ""
        raise SignBindError(
            f"{self.step_dir(step)}: checkpoint not saved{where} ({told[i][1]}); {kept}; "
            "free disk space or choose another directory"
        ) from failure

    def _holds(self, step: int, manifest: Manifest) -> bool:
        """Says whether this very artefact is on disk, whole: then it must not be put at risk."""
        if step not in self.steps():
            return False
        try:
            return artefact_digest(self.verify(step)) == artefact_digest(manifest)
        except SignBindError:
            return False


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-75:]}"
