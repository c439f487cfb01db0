"""Stage 1, continuous signing: CTC over glosses or pseudo-glosses.

Argument: `size=few` for a handful of clips, `size=tiny` for tests.
"""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small")
    config = common.run(
        "signing",
        steps=1400,
        model={"frontend": "pose", "d_model": 128, "n_layers": 3, "subsample": 4, "dropout": 0.1},
        augment={"mirror": 0.0},
        data={"frames_per_batch": 4096},
        optim={"learning_rate": 2e-3, "warmup_steps": 150},
    )
    return common.sized(config, arg.size)
