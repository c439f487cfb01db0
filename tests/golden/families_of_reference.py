"""Access to the golden model families, and what counts as agreeing with them."""

from pathlib import Path

import numpy as np
from flax import nnx

from signbind_jax.hf.families import read_config
from signbind_jax.hf.weights import open_checkpoint, read_params
from signbind_jax.models.llm.decoder import Decoder

FAMILIES = Path(__file__).with_name("families")
GENERATION = Path(__file__).with_name("generation.npz")
NAMES = sorted(path.name for path in FAMILIES.iterdir())
EOS = (2, 5, 9, 11, 17, 23)  # as make_families.py has them


def load(directory: Path, mesh) -> Decoder:
    """The decoder of a directory, its parameters sharded over the mesh."""
    config = read_config(directory)
    params = read_params(config, open_checkpoint(directory), mesh)
    return nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))), params)


def logits_agree(found, wanted, mask) -> bool:
    """Whether logits at real places differ by less than 1e-4 of the greatest one."""
    return bool(np.abs(np.asarray(found) - wanted)[mask].max() < 1e-4 * np.abs(wanted).max())


def sentences_agree(found, wanted) -> bool:
    """Whether sentences are the same token for token and padded with 0 behind their ends."""
    found, wanted = np.asarray(found)[:, : wanted.shape[1]], wanted.astype(int)
    # What the reference fills up with behind the end is the padding or an ending id.
    ends = np.isin(wanted, EOS)
    up_to_end = np.cumsum(ends, axis=1) - ends == 0
    return bool((found[up_to_end] == wanted[up_to_end]).all() and not found[~up_to_end].any())
