"""Where sentences end, for `signbind translate --segment --segmenter=RUN`: no stage of the chain.

Arguments: `size=base` or `large` with `corpus` and `chips` for real corpora (`configs/real.py`);
`size=few` for a handful of clips, `size=tiny` for tests.
"""

from signbind_jax.configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", chips=1)
    config = common.run(
        "segmentation",
        steps=1000,
        evaluate_every=500,
        model={"d_model": 128, "n_layers": 2, "d_part": 64, "subsample": 4, "dropout": 0.1},
        augment={"mirror": 0.3, "time_mask_frames": 4},
        data={"frames_per_batch": 4096, "row_frames": 512},
        optim={"learning_rate": 1e-3, "warmup_steps": 100},
    )
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)
