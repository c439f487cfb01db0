"""TokenStream: what an expert read, when, and how sure it was."""

from dataclasses import dataclass

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TokenStream:
    """Decoded tokens of one modality for a batch of rows, with n places a row.

    Attributes:
      ids_bn: int32 token ids, 0 (blank) where there is no token.
      hidden_bnd: float posterior-weighted mean of the expert's hidden states over the
        steps of each token; 0 where there is no token.
      start_bn, end_bn: float32 seconds from the start of the clip.
      confidence_bn: float32 mean posterior of the token over its steps, 0..1.
      clip_bn: int32 which clip of its row a token is from, in ascending order; -1 in unused places.
    """

    ids_bn: jax.Array
    hidden_bnd: jax.Array
    start_bn: jax.Array
    end_bn: jax.Array
    confidence_bn: jax.Array
    clip_bn: jax.Array

    @property
    def mask_bn(self) -> jax.Array:
        """bool, True where a token is present. An absent stream is all False."""
        return self.clip_bn >= 0
