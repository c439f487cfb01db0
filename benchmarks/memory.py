"""The most memory a process or its accelerator held since a moment."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path


class Peak:
    """Peak resident memory of this process, and of its accelerator where there is one.

    Args:
      stats: gives the accelerator's {"peak_bytes_in_use"}, or None where memory is the host's.
    """

    def __init__(self, stats: Callable[[], dict | None]):
        self._stats = stats

    def forget(self) -> None:
        """Sets the process's peak to what it holds now (Linux; the accelerator's stays).

        What compilation freed is given back first: it is no part of a step.
        """
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")

    def read(self) -> dict[str, float]:
        """Peak MiB: `resident` and, on an accelerator, `device`."""
        lines = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        peak = {"resident": int(fields["VmHWM"].split()[0]) / 2**10}
        stats = self._stats()
        if stats:
            peak["device"] = stats["peak_bytes_in_use"] / 2**20
        return peak
