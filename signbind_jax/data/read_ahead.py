"""Batches made in a thread while the device computes, for stages that read no clips."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(
    make: Callable[[int], T], start: int, stop: int | None = None, ahead: int = 2
) -> Iterator[T]:
    """make(start), make(start + 1), ... up to `stop`, or without end, in order.

    A thread makes up to `ahead` of them before they are asked for. What it raises is raised
    where that batch is asked for.
    """
    steps = itertools.count(start) if stop is None else iter(range(start, stop))
    waiting = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        for i in itertools.islice(steps, ahead):
            waiting.append(thread.submit(make, i))
        while waiting:
            made = waiting.popleft().result()
            for i in itertools.islice(steps, 1):
                waiting.append(thread.submit(make, i))
            yield made
    finally:
        thread.shutdown(wait=False, cancel_futures=True)
