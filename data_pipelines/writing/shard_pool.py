"""Writes shards in several processes, with a progress bar and one line for what goes wrong."""

from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from signbind_jax.data_pipelines.processes import WORTH_A_PROCESS, in_processes
from signbind_jax.data_pipelines.writing.shard import Shard, write_shard
from signbind_jax.errors import SignBindError


def write_shards(shards: list[Shard], workers: int, progress: bool = True) -> None:
    """Writes all shards; those that are written already stay as they are.

    More than one worker needs a main module that can be imported
    (`if __name__ == "__main__":`), as processes are spawned.

    Raises:
      SignBindError: a shard failed, or its process died; shards under way are finished.
    """
    total = sum(len(shard.rows) for shard in shards)
    # disable=None: shown on a terminal only
    with tqdm(total=total, unit="clip", disable=None if progress else True) as bar:
        workers = 1 if total < WORTH_A_PROCESS else min(workers, len(shards))
        try:
            for _ in in_processes(write_shard, shards, workers, bar):
                pass
        except BrokenProcessPool as error:
            raise SignBindError(
                "a process that read clips died (out of memory?): what is "
                "finished stays, the same command goes on; fewer --workers "
                "need less memory"
            ) from error
