"""Stage 2, fusion: CTC on the fused tokens over frozen experts' streams.

Arguments: `time=False` blinds fusion to time (the ablation `all_without_time`); `size=few` for
a handful of clips, `size=tiny` for tests.
"""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", time=True)
    config = common.run(
        "fusion",
        steps=1800,
        evaluate_every=600,
        model={"d_model": 128, "n_layers": 3, "n_heads": 4, "d_mlp": 384, "dropout": 0.1,
               "time": arg.time},
        data={"frames_per_batch": 1024, "n_buckets": 5},
        optim={"learning_rate": 3e-3, "warmup_steps": 100},
    )  # fmt: skip
    return common.sized(config, arg.size)
