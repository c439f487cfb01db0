"""Stage 2, fusion: CTC on the fused tokens over frozen experts' streams.

Arguments: `time=False` hides from fusion when tokens happened, `hidden=False` the experts'
hidden vectors (both: the ablation `all_without_time`); `size=base` or `large` with
`corpus` and `chips` for real corpora (`configs/real.py`); `size=natural` for thousands of sentences
of natural language; `size=few` for a handful of clips, `size=tiny` for tests.
"""

from signbind_jax.configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", chips=1, time=True, hidden=True)
    config = common.run(
        "fusion",
        steps=4800,
        evaluate_every=1600,
        model={
            "d_model": 128,
            "n_layers": 3,
            "n_heads": 4,
            "d_mlp": 384,
            "dropout": 0.1,
            "time": arg.time,
            "hidden": arg.hidden,
        },
        data={"frames_per_batch": 1024, "n_buckets": 5},
        optim={"learning_rate": 3e-3, "warmup_steps": 100},
    )
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)
