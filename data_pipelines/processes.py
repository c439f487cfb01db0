"""Work on clips in several processes: results in the order of the tasks, one progress bar."""

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

from signbind_jax.processes import child
from signbind_jax.processes.user_files import import_files

WORTH_A_PROCESS = 64  # clips: fewer are done before a second process has started
_EVERY_S = 0.5  # the bar's refreshes
_AHEAD = 2  # tasks a process that wait for it: enough to keep it busy

_done_clips = None  # in a process: the counter shared by all


def in_processes(work: Callable, tasks: Iterable, workers: int, bar: tqdm) -> Iterator:
    """The results of `work(task, tick)` in the order of the tasks.

    Tasks are drawn as they are needed, so that neither they nor their results heap up.
    Processes are spawned: the main module must be importable (`if __name__ == "__main__":`).

    Args:
      work: a function of a module; it calls `tick` once a clip.
      workers: processes; 1 works in this one.
      bar: advances by the clips done.

    Raises:
      concurrent.futures.process.BrokenProcessPool: a process died.
      Exception: whatever `work` raises; tasks under way are finished.
    """
    if workers == 1:
        yield from (work(task, bar.update) for task in tasks)
        return
    with child.safe_spawning():
        yield from _in_pool(work, tasks, workers, bar)


def _in_pool(work: Callable, tasks: Iterable, workers: int, bar: tqdm) -> Iterator:
    # Spawned, not forked: the caller may hold JAX threads.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    tasks = iter(tasks)
    waiting = collections.deque()
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(counter,)
    ) as pool:

        def submit_more() -> None:
            for task in tasks:
                waiting.append(pool.submit(_work_and_count, work, task))
                if len(waiting) >= _AHEAD * workers:
                    return

        try:
            submit_more()
            while waiting:
                running = [future for future in waiting if not future.done()]
                done, _ = concurrent.futures.wait(
                    running, _EVERY_S, concurrent.futures.FIRST_COMPLETED
                )
                bar.update(counter.value - bar.n)
                for future in done:
                    future.result()  # raises at once, whatever waits before it
                while waiting and waiting[0].done():
                    yield waiting.popleft().result()
                if len(waiting) < _AHEAD * workers:
                    submit_more()
            bar.update(counter.value - bar.n)
        finally:
            for future in waiting:
                future.cancel()


def _begin(counter) -> None:
    global _done_clips
    _done_clips = counter
    import_files()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group: die quietly
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A pool's process would wait for work for ever after its parent was killed."""
    while os.getppid() == parent:
        time.sleep(_EVERY_S)
    os._exit(1)


def _work_and_count(work: Callable, task):
    def tick() -> None:
        with _done_clips.get_lock():
            _done_clips.value += 1

    return work(task, tick)
