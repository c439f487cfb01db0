"""DecoderConfig: the shape of a decoder-only language model."""

from dataclasses import dataclass

from signbind_jax.errors import SignBindError

COMPUTE_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class DecoderConfig:
    """Shape and numerics of a Llama-style decoder.

    Attributes:
      vocab_size: rows of the embedding table; ids are 0..vocab_size-1.
      d_model: width of the residual stream.
      n_layers: decoder blocks.
      n_heads: query heads.
      n_kv_heads: key and value heads; divides n_heads (grouped-query attention).
      head_size: dimensions of one head; even, because rotary positions turn pairs.
      d_mlp: width of the gated feed-forward layer.
      rope_base: base of the rotary frequencies.
      norm_eps: epsilon of the RMS norms.
      tie_embeddings: whether the embedding table is also the output layer.
      dropout: rate on the embeddings and on each residual branch, 0..1.
      compute_dtype: "float32" or "bfloat16"; parameters, norms, softmax and logits stay
        float32.
      remat: whether the backward pass recomputes the inside of each block.
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    d_mlp: int
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6
    tie_embeddings: bool = True
    dropout: float = 0.0
    compute_dtype: str = "float32"
    remat: bool = False

    def __post_init__(self):
        for field in ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_size",
                      "d_mlp"):  # fmt: skip
            if getattr(self, field) < 1:
                raise _error(field, getattr(self, field), "at least 1")
        if self.n_heads % self.n_kv_heads:
            raise _error("n_kv_heads", self.n_kv_heads, f"a divisor of n_heads={self.n_heads}")
        if self.head_size % 2:
            raise _error("head_size", self.head_size, "an even number (rotary positions)")
        if not 0.0 <= self.dropout < 1.0:
            raise _error("dropout", self.dropout, "a rate in [0, 1)")
        if self.compute_dtype not in COMPUTE_DTYPES:
            raise _error("compute_dtype", self.compute_dtype, f"one of {COMPUTE_DTYPES}")


def _error(field: str, found, wanted: str) -> SignBindError:
    return SignBindError(f"decoder config: {field}: found {found!r}, wanted {wanted}")
