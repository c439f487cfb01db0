"""Processes that end when the one that started them is gone, however it ended.

Their standard input is a pipe whose other end the starting process holds and never writes to.
SIGKILL included, whatever ends that process ends the pipe.
"""

import os
import threading
from collections.abc import Callable


def watch(end: Callable[[], None]) -> None:
    """Calls `end` in a thread of its own once the process at the other end is gone."""

    def wait():
        while os.read(0, 1):
            pass
        end()

    threading.Thread(target=wait, daemon=True).start()
