"""Stage 1, fingerspelling: CTC over the 31 symbols of ChicagoFSWild.

Argument: `size=few` for a handful of clips, `size=tiny` for tests.
"""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small")
    config = common.run(
        "fingerspelling",
        steps=1200,
        model={
            "frontend": "pose", "d_model": 128, "n_layers": 3, "subsample": 2, "dropout": 0.1,
            "parts": ("body", "left_hand", "right_hand"),
        },
        data={"frames_per_batch": 4096},
        optim={"learning_rate": 2e-3, "warmup_steps": 150},
    )  # fmt: skip
    return common.sized(config, arg.size)
