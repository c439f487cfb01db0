"""Writes shards on an Apache Beam runner (extra `beam`): the same code on a cluster.

Every worker has to see corpus and dataset under the same paths, as on a shared file system. The
shards to be written lie as files beside the dataset, so that the pipeline holds their names alone,
however many clips there are.
"""

import logging
import pickle
import re
import shlex
from pathlib import Path

from signbind_jax.data_pipelines.writing.shard import Shard, is_written, write_shard
from signbind_jax.errors import SignBindError, from_extra

_MARK = "signbind: "  # runners cut a worker's error out of its traceback in ways of their own


def write_shards_on_beam(shards: list[Shard], options: str) -> None:
    """Writes all shards; those that are written already stay as they are.

    Args:
      options: of the pipeline, as on a command line: `--runner=FlinkRunner --parallelism=96`.

    Raises:
      SignBindError: Beam is not installed; a shard or the runner failed.
    """
    with from_extra("beam", "--beam"):
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    # The runner's own tracebacks would bury the one line that says what is wrong.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    tasks = []
    for shard in shards:
        if not is_written(shard):
            task = shard.path.with_suffix(".partial-task")
            task.write_bytes(pickle.dumps(shard))
            tasks.append(str(task))
    try:
        with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
            _ = pipeline | beam.Create(tasks) | beam.Reshuffle() | beam.Map(write_task)
    except Exception as error:  # runners raise whatever they like, with the worker's traceback
        raise SignBindError(f"--beam: {_said(str(error))}") from error
    left = [shard.path.name for shard in shards if not is_written(shard)]
    if left:
        raise SignBindError(
            f"--beam: the runner is done, but of {len(shards)} shards {len(left)} "
            f"are not there, such as {left[0]}: do all workers see this file "
            "system?"
        )


def write_task(task: str) -> None:
    """Writes the shard that a file describes; runs on a worker."""
    path = Path(task)
    try:
        write_shard(pickle.loads(path.read_bytes()))
    except SignBindError as error:
        raise SignBindError(f"{_MARK}{error}") from error
    path.unlink(missing_ok=True)


def _said(message: str) -> str:
    """The one line of a worker's error that a user needs."""
    found = re.findall(f"{_MARK}(.*)", message)
    line = found[-1] if found else (message.strip().splitlines() or ["no word"])[-1][:300]
    return re.sub(r" \[while running.*", "", line).replace("\\n", " ").strip()
