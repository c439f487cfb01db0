"""The directories of a run's checkpoints: which steps are there, and which are taken away."""

import logging
import re
from pathlib import Path

from etils import epath

from signbind_jax.errors import SignBindError
from signbind_jax.train import best_step
from signbind_jax.train.best_step import Best

logger = logging.getLogger(__name__)

PENDING = "manifest.json.partial"  # of a step that is not complete yet, or no longer
_STEP_NAME = re.compile(r"step_(\d{8,})")


class StepDirs:
    """One directory for each step, of which the newest `keep` complete ones and the best stay."""

    def __init__(self, directory: str, keep: int = 3):
        if keep < 1:
            raise SignBindError(f"checkpoints {directory}: keep: found {keep}, wanted at least 1")
        self.directory = epath.Path(directory).resolve()
        self.keep = keep

    def steps(self) -> list[int]:
        """Lists the complete steps, in order."""
        return [s for s in self.step_numbers() if (self.step_dir(s) / "manifest.json").exists()]

    def without_manifest(self) -> list[int]:
        """Lists the steps whose arrays are whole and whose manifest went missing, in order.

        A save that was killed is none of them: until the manifest is in place, and again while a
        step is removed, the one that `save` makes first lies beside the arrays.
        """
        return [
            step
            for step in self.step_numbers()
            if (self.step_dir(step) / "state").exists()
            # In this order: at this very moment the one may become the other.
            and not (self.step_dir(step) / PENDING).exists()
            and not (self.step_dir(step) / "manifest.json").exists()
        ]

    def latest(self) -> int | None:
        """Finds the newest complete step; None where there is none."""
        return max(self.steps(), default=None)

    def best(self) -> Best | None:
        """Finds the complete step that was marked as the best one; None where there is none.

        Raises:
          SignBindError: best.json is not as it was written.
        """
        best = best_step.read_best(self.best_file)
        return best if best and best.step in self.steps() else None

    def remove_unusable(self, step: int, *, keep_step: bool) -> None:
        """Takes away what no run can use once `step` is saved again."""
        complete, lost = self.steps(), self.without_manifest()
        best = self._best_or_none()
        if best and (best.step > step or best.step == step and not keep_step):
            self.best_file.unlink()
        for other in self.step_numbers():
            if other < step and other in complete or other == step and keep_step:
                continue
            if other in lost:
                logger.warning("%s: removed: its manifest.json is missing", self.step_dir(other))
            if other in complete:
                logger.warning(
                    "%s: removed, the run goes on from before it at step %d",
                    self.step_dir(other),
                    step,
                )
            self.remove(other)

    def remove_old(self) -> None:
        """Keeps the newest complete steps and the best one."""
        best = self._best_or_none()
        for step in self.steps()[: -self.keep]:
            if best is None or step != best.step:
                self.remove(step)

    def remove(self, step: int) -> None:
        """Removes a step, complete or not."""
        path = self.step_dir(step)
        # The manifest goes first: a half-removed step must not count as complete. It is renamed,
        # so that nobody takes the step for one whose manifest went missing.
        if (path / "manifest.json").exists():
            (path / "manifest.json").replace(path / PENDING)
        (path / "state").rmtree(missing_ok=True)
        path.rmtree(missing_ok=True)

    @property
    def best_file(self) -> Path:
        """Where it says which step scored best."""
        return Path(self.directory) / best_step.FILE

    def _best_or_none(self) -> Best | None:
        try:
            return self.best()
        except SignBindError as error:
            logger.warning("%s: no step is kept for it", error)
            return None

    def step_dir(self, step: int) -> epath.Path:
        """Names the directory of a step."""
        return self.directory / f"step_{step:08d}"

    def partial(self, step: int) -> epath.Path:
        """Names what becomes `state` once its arrays are written."""
        return self.step_dir(step) / "state.partial"

    def step_numbers(self) -> list[int]:
        """Lists the steps that have a directory, in order."""
        if not self.directory.exists():
            return []
        names = (_STEP_NAME.fullmatch(p.name) for p in self.directory.iterdir())
        return sorted(int(match[1]) for match in names if match)
