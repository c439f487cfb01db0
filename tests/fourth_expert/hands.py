"""A fourth expert in a file of its own: the handshape of each sign, from the hands alone.

`signbind train --config=hands.py`; everything behind it takes `--import=hands.py`.
"""

import jax.numpy as jnp
from flax import nnx

from signbind_jax import keypoints, streams
from signbind_jax.configs import common
from signbind_jax.data import labels
from signbind_jax.models import expert
from signbind_jax.models.layers import Linear, RMSNorm

HANDS = slice(keypoints.LEFT_HAND_SLICE.start, keypoints.RIGHT_HAND_SLICE.stop)


class HandFrontend(nnx.Module):
    """The points of both hands through one layer."""

    def __init__(self, config, rngs: nnx.Rngs):
        n = 3 * (HANDS.stop - HANDS.start)
        self.layer = Linear((n,), (config.d_model,), ("input",), ("model",), bias=True, rngs=rngs)
        self.norm = RMSNorm(config.d_model, rngs=rngs)

    def __call__(self, x_btkc, key=None, clip_bt=None):
        """x_btkc (b, t, 91, 3) in shoulder widths -> (b, t, d_model)."""
        hands = x_btkc[:, :, HANDS]
        return self.norm(self.layer(jnp.reshape(hands, (*hands.shape[:2], -1))))


def first_letters(clip) -> list[str]:
    """A stand-in for labels of handshapes: the first letter of each sign."""
    signs = clip.gloss or labels.pseudo_glosses(clip.text, clip.text_language)
    return [sign[0].lower() for sign in signs]


expert.register_frontend("hands", HandFrontend)
streams.register(
    streams.StreamSpec(
        "hands",
        target="handshapes",
        metric="handshape_error_rate",
        frontend="hands",
        label=first_letters,
    )
)


def get_config(arg=None):
    arg = common.parse_arg(arg, size="small")
    config = common.run("hands", steps=2000, model={"d_model": 128, "n_layers": 2, "subsample": 2})
    return common.apply_size(config, arg.size)
