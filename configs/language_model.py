"""The decoder trained from scratch, where no pretrained LLM is used."""

from configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small")
    config = common.run(
        "language_model",
        steps=1600,
        evaluate_every=800,
        model={
            "d_model": 160, "n_layers": 3, "n_heads": 4, "n_kv_heads": 4, "head_size": 40,
            "d_mlp": 448, "dropout": 0.05,
        },
        data={"frames_per_batch": 1536, "n_buckets": 4},
        optim={"learning_rate": 1.5e-3, "warmup_steps": 100},
    )  # fmt: skip
    return common.sized(config, arg.size)
