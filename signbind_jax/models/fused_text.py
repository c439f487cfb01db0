"""What fusion read, as text in the LLM's prompt, made inside the compiled step.

Fused tokens are sense lemmas and spelled letters. As embeddings the LLM has to learn what
they mean; as its own tokens it knows them already, and copying a spelled name is copying
from text (docs/develop/decisions.md).
"""

import jax.numpy as jnp
import numpy as np

from signbind_jax.data.clip import FINGERSPELLED_PREFIX
from signbind_jax.data.vocabulary import Vocabulary

NONE = -1


def piece_table(fusion_targets: Vocabulary, encode) -> np.ndarray:
    """Lists the LLM's tokens for each fused token: int32 (v, r), `NONE` beyond its last.

    Joined they are the text of the fused tokens, a space before every word.

    Args:
      fusion_targets: vocabulary of the fused tokens; the blank has no text.
      encode: (text, spelled words) -> ids, as `TextTokenizer.encode`.
    """
    rows = [[]]
    for token in fusion_targets.tokens[1:]:
        if token == FINGERSPELLED_PREFIX:
            rows.append(encode(" ", ()))
        elif len(token) == 1:
            rows.append(encode(token, (token,)))
        else:
            rows.append(encode(" " + (token[0] if token[1:] == "_" else token), ()))
    table = np.full((len(rows), max(map(len, rows))), NONE, np.int32)
    for row, ids in zip(table, rows, strict=True):
        row[: len(ids)] = ids
    return table


def fused_text(ids_bn, mask_bn, pieces_vr, capacity: int):
    """Writes fused tokens as tokens of the LLM.

    Returns:
      ids_bp and mask_bp (bool), p = capacity, padding last; place_bp, which of the n each is of;
      and lost_b, how many tokens did not fit.
    """
    b = ids_bn.shape[0]
    ids_bp = jnp.asarray(pieces_vr)[ids_bn].reshape(b, -1)
    there_bp = (ids_bp != NONE) & jnp.repeat(mask_bn, pieces_vr.shape[1], axis=1)
    n_b = there_bp.sum(axis=1)
    if ids_bp.shape[1] < capacity:
        pad = ((0, 0), (0, capacity - ids_bp.shape[1]))
        ids_bp, there_bp = jnp.pad(ids_bp, pad), jnp.pad(there_bp, pad)
    order_bp = jnp.argsort(~there_bp, axis=1, stable=True)[:, :capacity]
    ids_bp = jnp.take_along_axis(ids_bp, order_bp, axis=1)
    mask_bp = jnp.arange(capacity) < n_b[:, None]
    place_bp = jnp.where(mask_bp, order_bp // pieces_vr.shape[1], 0)
    return jnp.where(mask_bp, ids_bp, 0), mask_bp, place_bp, jnp.maximum(n_b - capacity, 0)
