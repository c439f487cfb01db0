"""Stage 1, lipreading: CTC over phonemes, from mouth crops or from mouth landmarks.

Arguments: `recorded` for some hundreds of sentences of real mouths, with crops of 72 pixels
(`--lip_size=72`); `frontend=mouth_landmarks` where a corpus has no crops; `size=base` or `large`
with `corpus` and `chips` for real corpora (`configs/real.py`); `size=few` for a handful of clips,
`size=tiny` for tests.
"""

from signbind_jax.configs import common
from signbind_jax.errors import SignBindError


def get_config(arg=None):
    arg = common.parse_arg(
        arg, size="small", corpus="how2sign", chips=1, frontend="lips", recorded=False
    )
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
    if arg.recorded and arg.size != "small":
        raise SignBindError(
            f"--config argument recorded: found it with size={arg.size}, wanted it with size=small"
        )
    if arg.recorded:
        recorded(config)
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)


def recorded(config) -> None:
    """For real mouths: the middle of larger crops, and every sentence another one each time.

    Without augmentation such a corpus is learnt by heart within 300 steps.
    """
    config.steps, config.evaluate_every = 2400, 400
    config.data.row_frames = 240  # three clips of three seconds, with room to be slowed down
    with config.model.unlocked(), config.augment.unlocked():
        config.model.update(
            {
                "dropout": 0.2,
                "lip_size": 72,
                "lip_margin": 12,
                "lip_patch": 6,
                "channels": (24, 48, 96),
            }
        )
        config.augment.update(
            {"speed": 0.15, "lip_shift": 3, "brightness": 0.1, "contrast": 0.2, "mirror": 0.5}
        )
