"""The process that trains one point: `signbind train`, stopped when its sweep is gone.

The run then gets the SIGTERM on which `signbind train` saves and stops.
"""

import os
import signal
import sys

from signbind_jax.cli import main
from signbind_jax.processes import exit_with_parent

if __name__ == "__main__":
    exit_with_parent.watch(lambda: os.kill(os.getpid(), signal.SIGTERM))
    sys.exit(main())
