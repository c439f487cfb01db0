"""Weights & Biases beside the other logs: one run there for one run directory."""

import importlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from signbind_jax import files, sealed
from signbind_jax.config import RunConfig
from signbind_jax.errors import SignBindError, from_extra
from signbind_jax.evaluate.evaluation import ClipOutput

logger = logging.getLogger(__name__)

FILE = "wandb.json"  # which run it is, so that a resumed one goes on with it


class WandbLog:
    """What `MetricLog` is told, for a project of Weights & Biases; WANDB_MODE and the other
    variables of the library hold.

    Raises:
      SignBindError: the library is not installed, or refuses the run.
    """

    def __init__(self, workdir: Path, config: RunConfig):
        wandb = import_wandb()
        self._table = wandb.Table
        try:
            self._run = wandb.init(
                project=config.wandb,
                id=_run_id(workdir, config),
                name=workdir.resolve().name,
                dir=str(workdir),
                config=config.to_json(),
                resume="allow",
            )
        except Exception as error:  # it has no one class for what a user can do wrong
            told = " ".join(str(error).split())[:300]
            raise SignBindError(
                f"config.wandb: found project {config.wandb!r}, which Weights & "
                f"Biases refuses ({told}); wanted one you can log to, or "
                "WANDB_MODE=offline"
            ) from error
        # Not its own counter: that one never goes back, as a resumed run may.
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """One record, under names as in TensorBoard."""
        self._run.log({"step": step} | {f"{kind}/{name}": float(x) for name, x in values.items()})

    def write_samples(self, step: int, split: str, samples: Sequence[ClipOutput]) -> None:
        """A table of what an evaluation shows."""
        rows = [list(sample) for sample in samples]
        table = self._table(columns=list(ClipOutput._fields), data=rows)
        self._run.log({"step": step, f"{split}/samples": table})

    def close(self) -> None:
        """Sends, or offline writes, what is left."""
        self._run.finish()


def import_wandb() -> ModuleType:
    """The library.

    Raises:
      SignBindError: it is not installed.
    """
    with from_extra("wandb", "config.wandb"):
        return importlib.import_module("wandb")


def _run_id(workdir: Path, config: RunConfig) -> str:
    """Of the run that was begun for this directory, config and project, or a new one."""
    path, wanted = workdir / FILE, {"project": config.wandb, "config_digest": config.digest}
    if path.exists():
        try:
            record = sealed.read(path)
            if all(record.get(name) == value for name, value in wanted.items()):
                return files.field(record, "id", str, str(path))
        except SignBindError as error:
            logger.warning("%s: a new run is begun there", error)
    new = secrets.token_hex(8)
    sealed.write(path, {"id": new, **wanted})
    return new
