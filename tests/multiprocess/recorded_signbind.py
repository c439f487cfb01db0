"""`signbind`, which also writes down which clips each training step drew.

python -m tests.multiprocess.recorded_signbind ARGUMENTS...
DRAWN names a file: a line a step, of the clips of this process's rows. PACE_S is waited before
each, so that a signal meets a run of few steps under way.
"""

import json
import os
import sys
import time

import signbind_jax.train.loop
from signbind_jax import cli


class RecordedFeed(signbind_jax.train.loop._Feed):
    def next(self, batches):
        batch = super().next(batches)
        with open(os.environ["DRAWN"], "a") as file:
            index = batch.index_bg if hasattr(batch, "index_bg") else batch.index_b
            file.write(json.dumps(index.ravel().tolist()) + "\n")
        time.sleep(float(os.environ.get("PACE_S", "0")))
        return batch


if __name__ == "__main__":
    signbind_jax.train.loop._Feed = RecordedFeed
    sys.exit(cli.main())
