"""Stage 4, translation: the LLM is tuned together with fusion and projector."""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small")
    config = common.run(
        "translation",
        steps=500,
        model={"dropout": 0.1},
        data={"frames_per_batch": 1024, "n_buckets": 4},
        optim={"learning_rate": 7e-4, "warmup_steps": 50},
    )
    return common.sized(config, arg.size)
