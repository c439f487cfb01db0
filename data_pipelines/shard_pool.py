"""Writes shards in several processes, with a progress bar and one line for what goes wrong."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from data_pipelines.shard import Shard, write_shard
from signbind_jax.errors import SignBindError

_EVERY_S = 0.5  # the bar's refreshes

_read_rows = None  # in a worker: the counter shared by all


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
        if workers == 1 or total < 64:
            for shard in shards:
                bar.set_description(shard.split, refresh=False)
                write_shard(shard, bar.update)
        else:
            _write_in_processes(shards, min(workers, len(shards)), bar)


def _write_in_processes(shards: list[Shard], workers: int, bar: tqdm) -> None:
    # Spawned, not forked: the caller may hold JAX threads.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(counter,)
    ) as pool:
        waiting = {pool.submit(_write_and_count, shard) for shard in shards}
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, timeout=_EVERY_S)
                bar.update(counter.value - bar.n)
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise SignBindError("a process that read clips died (out of memory?): what is "
                                "finished stays, the same command goes on; fewer --workers "
                                "need less memory") from error  # fmt: skip
        finally:
            for future in waiting:
                future.cancel()


def _begin(counter) -> None:
    global _read_rows
    _read_rows = counter
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group: die quietly
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A pool's process would wait for work for ever after its parent was killed."""
    while os.getppid() == parent:
        time.sleep(_EVERY_S)
    os._exit(1)


def _write_and_count(shard: Shard) -> None:
    def tick() -> None:
        with _read_rows.get_lock():
            _read_rows.value += 1

    write_shard(shard, tick)
