"""The process that trains one point: `signbind train`, stopped when its sweep is gone.

Its standard input is a pipe whose other end the sweep holds and never writes to. However the
sweep ends, SIGKILL included, the pipe ends with it; the run then gets the SIGTERM on which
`signbind train` saves and stops.
"""

import os
import signal
import sys
import threading

from signbind_jax.cli import main


def _stop_with_sweep() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_sweep, daemon=True).start()
    sys.exit(main())
