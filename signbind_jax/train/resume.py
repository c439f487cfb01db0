"""What a run directory holds of a run that is taken up again; all processes see it alike."""

import logging
from pathlib import Path

from signbind_jax.checkpoint.checkpoint_dir import CheckpointDir
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError
from signbind_jax.train.best_step import Best
from signbind_jax.train.summary import SUMMARY, summary_or_none

logger = logging.getLogger(__name__)


def newest_step(checkpoints: CheckpointDir) -> int | None:
    """The newest complete step, which all processes have to see alike."""
    steps = hosts.all_gather("looking for checkpoints", checkpoints.latest())
    other = next((i for i, step in enumerate(steps) if step != steps[0]), None)
    if other is not None:
        raise SignBindError(
            f"{checkpoints.directory}: newest checkpoint: found {steps[other]} on "
            f"process {other} and {steps[0]} on process 0, wanted the same; "
            "network storage may lag: start again"
        )
    return steps[0]


def best_until(step: int, checkpoints: CheckpointDir) -> Best | None:
    """The best step so far, unless it is later than the one a run goes on from."""

    def read():
        try:
            return checkpoints.best()
        except SignBindError as error:
            logger.warning("%s: the next evaluation's step takes its place", error)
            return None

    found = hosts.broadcast("looking for the best step", read)
    return Best(*found) if found and found[0] <= step else None


def summary_of(
    workdir: Path, checkpoints: CheckpointDir, step: int, config_digest: str
) -> dict | None:
    """The summary of a run that was finished before."""
    if newest_step(checkpoints) != step:
        return None
    own = None
    if hosts.is_primary():
        own = summary_or_none(workdir, "it is made again", config_digest)
    summary = hosts.all_gather("reading the summary", own)[0]
    # One that is not finished is of a stop before the last checkpoint, which has no scores yet.
    return summary if summary and summary["finished"] else None


def check_not_lost(workdir: Path, checkpoints: CheckpointDir) -> None:
    """Refuses to begin again where checkpoints were: at its first save a run takes away what is
    of no use to it.

    Raises:
      SignBindError: on every process, what is there of which checkpoints.
    """
    if newest_step(checkpoints) is not None:
        return
    lost = hosts.all_gather("looking for lost checkpoints", checkpoints.without_manifest())[0]
    if lost:
        raise SignBindError(
            f"{checkpoints.directory}: found the arrays of step {lost[-1]} and no manifest.json in "
            "any step: put those files back to go on, or move the directory away to begin at step 0"
        )
    summary = hosts.broadcast(
        "looking for an earlier end", lambda: summary_or_none(workdir, "not looked at")
    )
    if summary and summary["step"]:
        raise SignBindError(
            f"{checkpoints.directory}: found no checkpoint, though {workdir / SUMMARY} tells of "
            f"step {summary['step']}: put the checkpoints back to go on, or remove that file to "
            "begin at step 0"
        )
