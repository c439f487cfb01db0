"""Stage 3, alignment: fusion and projector learn to speak to the frozen LLM."""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small")
    config = common.run(
        "alignment",
        steps=150,
        model={"dropout": 0.1},
        data={"frames_per_batch": 1024, "n_buckets": 4},
        optim={"learning_rate": 1.5e-3, "warmup_steps": 30},
    )
    return common.sized(config, arg.size)
