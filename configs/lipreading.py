"""Stage 1, lipreading: CTC over phonemes, from mouth crops or from mouth landmarks.

Arguments: `frontend=mouth_landmarks` where a corpus has no crops; `size=base` or `large` with
`corpus` and `chips` for real corpora (`configs/real.py`); `size=few` for a handful of clips,
`size=tiny` for tests.
"""

from signbind_jax.configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", chips=1, frontend="lips")
    config = common.run(
        "lipreading",
        steps=1200,
        evaluate_every=600,
        model={
            "frontend": arg.frontend,
            "d_model": 128,
            "n_layers": 2,
            "subsample": 2,
            "dropout": 0.05,
            "lip_patch": 8,
            "channels": (32, 64),
        },
        # Shifted and relit crops kept CTC on its plateau for ten epochs
        # (docs/develop/decisions.md).
        augment={"speed": 0.1, "time_masks": 0, "lip_shift": 0, "brightness": 0.0, "contrast": 0.1},
        data={"frames_per_batch": 2048},
        optim={"learning_rate": 1e-3, "warmup_steps": 100},
    )
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)
