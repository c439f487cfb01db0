"""Stage 1, fingerspelling: CTC over the 31 symbols of ChicagoFSWild.

Arguments: `frontend=hand_shape` for hands without a body, trained on few signers and read from
others; `size=base` or `large` with `corpus` and `chips` for real corpora (`configs/real.py`);
`size=few` for a handful of clips, `size=tiny` for tests.
"""

from signbind_jax.configs import common


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small", corpus="how2sign", chips=1, frontend="pose")
    config = common.run(
        "fingerspelling",
        steps=1800,
        evaluate_every=600,
        model={
            "frontend": arg.frontend,
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
    if arg.frontend == "hand_shape":
        _of_few_signers(config)
    return common.apply_size(config, arg.size, arg.corpus, arg.chips)


def _of_few_signers(config) -> None:
    """Smaller, and augmented by what signers and cameras differ in."""
    config.steps, config.evaluate_every = 1200, 0
    with config.model.unlocked(), config.augment.unlocked():
        config.model.update(
            {"d_model": 64, "d_mlp": 128, "n_layers": 1, "d_part": 96, "subsample": 4}
        )
        config.model.dropout = 0.2
        config.augment.update(
            {
                "mirror": 0.0,  # changes nothing in what this frontend reads
                "mirrored_camera": 0.3,
                "speed": 0.3,
                "rotation": 25.0,
                "scale": 0.25,
                "shear": 0.25,
                "keypoint_noise": 0.006,
            }
        )
    config.data.update({"frames_per_batch": 4096, "row_frames": 512, "keep_empty": 1.0})
    config.optim.learning_rate = 2e-3
