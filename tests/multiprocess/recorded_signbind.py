"""`signbind`, which also writes down which clips each training step drew.

python -m tests.multiprocess.recorded_signbind ARGUMENTS...
DRAWN names a file: a line a step, of the clips of this process's rows. HOLD and MARKS are those
of `held_signbind`.
"""

import json
import os
import sys

import signbind_jax.train.loop
from signbind_jax import cli
from tests.multiprocess.held_signbind import hold_as_told


class RecordedFeed(signbind_jax.train.loop.Feed):
    def next(self, batches):
        batch = super().next(batches)
        with open(os.environ["DRAWN"], "a") as file:
            index = batch.index_bg if hasattr(batch, "index_bg") else batch.index_b
            file.write(json.dumps(index.ravel().tolist()) + "\n")
        return batch


if __name__ == "__main__":
    hold_as_told()
    signbind_jax.train.loop.Feed = RecordedFeed
    sys.exit(cli.main())
