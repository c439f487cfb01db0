"""Stage 1, fingerspelling: CTC over the 31 symbols of ChicagoFSWild.

Arguments: `size=base` or `large` with `corpus` and `chips` for real corpora (`configs/real.py`);
`size=few` for a handful of clips, `size=tiny` for tests.
"""

from signbind_jax.configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", chips=1)
    config = common.run(
        "fingerspelling",
        steps=1800,
        evaluate_every=600,
        model={
            "frontend": "pose",
            "d_model": 128,
            "n_layers": 2,
            "d_part": 128,
            # A letter lasts four frames and a gap between names half a letter more.
            "subsample": 1,
            "conv_kernel": 15,
            "dropout": 0.1,
            "parts": ("body", "left_hand", "right_hand"),
        },
        # A masked run of frames or a dropped hand would hide whole letters, which last about
        # four frames, and leave them in the target.
        augment={"mirror": 0.3, "time_masks": 0, "hand_drop": 0.0},
        data={"frames_per_batch": 2048, "keep_empty": 0.3},
        optim={"learning_rate": 1e-3, "warmup_steps": 100},
    )
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)
