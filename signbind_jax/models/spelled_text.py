"""Letters that an expert read surely, as text in the LLM's prompt, made inside the compiled step.

Fusion reads out letters only where training labels say what is spelled. These need no label: they
are copied from the stream.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from signbind_jax.data.spellings import LEAST_LETTERS, MOST_GAP
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.models.fused_text import NONE, fused_text
from signbind_jax.models.fusion import StreamTokens, intervals


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpelledText:
    """How letters become text.

    Attributes:
      pieces_vr: `letter_table`.
      stream: number of the stream of letters.
      confidence: the least of a run of letters, their mean, 0..1.
    """

    pieces_vr: np.ndarray
    stream: int
    confidence: float


def letter_table(letters: Vocabulary, encode) -> np.ndarray:
    """Lists the LLM's tokens for each letter, then for each as the first of a run, with a space in
    front: int32 (2 v, r), `NONE` beyond its last. What is no letter has none.

    encode: (text, spelled words) -> ids, as `TextTokenizer.encode`.
    """
    own = [encode(t, (t,)) if len(t) == 1 and t != " " else [] for t in letters.tokens]
    space = encode(" ", ())
    rows = own + [space + ids if ids else [] for ids in own]
    table = np.full((len(rows), max(map(len, rows))), NONE, np.int32)
    for row, ids in zip(table, rows, strict=True):
        row[: len(ids)] = ids
    return table


def spelled_text(tokens: StreamTokens, spelled: SpelledText, capacity: int):
    """Writes the runs of letters that are long and sure enough as tokens of the LLM.

    tokens: those of a stream in order of time.

    Returns:
      As `fused_text`.
    """
    pieces_vr = jnp.asarray(spelled.pieces_vr)
    is_letter_bm = pieces_vr[tokens.ids_bm, 0] != NONE  # of an id of another stream: no matter
    mine_bm = tokens.mask_bm & (tokens.stream_bm == spelled.stream) & is_letter_bm
    mine = dataclasses.replace(tokens, mask_bm=mine_bm, stream_bm=jnp.zeros_like(tokens.ids_bm))
    before_bm, _, median_bm = intervals(mine, 1)
    seen_bm = jnp.cumsum(mine_bm, axis=1) > 1
    first_bm = mine_bm & (~seen_bm | (before_bm > MOST_GAP * median_bm))
    run_bm = jnp.cumsum(first_bm, axis=1)

    def of_run(x_m, run_m):
        """What the letters of a token's run sum to."""
        return jax.ops.segment_sum(x_m, run_m, num_segments=len(run_m) + 1)[run_m]

    n_bm = jax.vmap(of_run)(mine_bm.astype(jnp.int32), run_bm)
    sure_bm = jax.vmap(of_run)(tokens.confidence_bm * mine_bm, run_bm)
    kept_bm = mine_bm & (n_bm >= LEAST_LETTERS) & (sure_bm >= spelled.confidence * n_bm)
    n_letters = pieces_vr.shape[0] // 2
    ids_bm = jnp.where(kept_bm, tokens.ids_bm + n_letters * first_bm, 0)
    return fused_text(ids_bm, kept_bm, pieces_vr, capacity)
