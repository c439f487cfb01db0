"""An expert on a corpus it was not tuned for: what takes CTC off its plateau, and the subsampling.

The peak learning rate and the clips a batch decide how long CTC emits blanks alone
(docs/develop/decisions.md). Batches of twice the frames get half the steps, so that every point
sees the same clips as often. Two seeds each, because a plateau left late in one run may be left
early in another.

Argument: `expert=signing`, `expert=fingerspelling` or `expert=lipreading`; `size` as for these.
"""

import importlib

from signbind_jax import streams
from signbind_jax.configs import common
from signbind_jax.errors import SignBindError
from signbind_jax.overrides import unknown_name


def get_config(arg=None):
    arg = common.parse_arg(arg, expert="signing", size="small")
    if arg.expert not in streams.SHIPPED:
        raise SignBindError(unknown_name("--config argument expert", arg.expert, streams.SHIPPED))
    return importlib.import_module(f"signbind_jax.configs.{arg.expert}").get_config(
        f"size={arg.size}"
    )


def get_hyper(h):
    batches = h.zip(
        [
            h.sweep("data.frames_per_batch", [2048, 4096]),
            h.sweep("steps", [4000, 2000]),
        ]
    )
    return h.product(
        [
            batches,
            h.sweep("optim.learning_rate", [5e-4, 1e-3, 2e-3]),
            h.sweep("model.subsample", [1, 2]),
            h.seeds(2),
        ]
    )
