"""The decoder trained from scratch, where no pretrained LLM is used.

Arguments: `size=base` or `large` with `corpus` and `chips` for real corpora (`configs/real.py`);
`size=natural` for thousands of sentences of natural language; `size=few` for a handful of clips,
`size=tiny` for tests.
"""

from signbind_jax.configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", chips=1)
    config = common.run(
        "language_model",
        steps=1600,
        evaluate_every=800,
        model={
            "d_model": 160,
            "n_layers": 3,
            "n_heads": 4,
            "n_kv_heads": 4,
            "head_size": 40,
            "d_mlp": 448,
            "dropout": 0.05,
        },
        data={"frames_per_batch": 1536, "n_buckets": 4},
        optim={"learning_rate": 1.5e-3, "warmup_steps": 100},
    )
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)
