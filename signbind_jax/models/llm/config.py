"""DecoderConfig: the shape of a decoder-only language model."""

from dataclasses import dataclass
from typing import Annotated

from signbind_jax.ranges import (
    Checked,
    DTypeName,
    Layers,
    Matching,
    OneOf,
    Range,
    Rate,
    Size,
    Whole,
)

# Far beyond any model there is, and safe to compute with.
Factor = Annotated[float, Range(1e-6, 1e6)]
FactorOrNone = Annotated[float, Range(0, 1e6)]  # 0: none


@dataclass(frozen=True)
class DecoderConfig(Checked):
    """Shape and numerics of a decoder: Llama, and what other families change about it.

    Attributes:
      vocab_size: rows of the embedding table; ids are 0..vocab_size-1.
      d_model: width of the residual stream.
      n_layers: decoder blocks.
      n_heads: query heads.
      n_kv_heads: key and value heads; divides n_heads (grouped-query attention).
      head_size: dimensions of one head; even, because rotary positions turn pairs.
      d_mlp: width of the gated feed-forward layer.
      rope_base: base of the rotary frequencies.
      rope_divisor: every frequency is divided by it ("linear" scaling).
      rope_llama3: (factor, low, high, original length) of Llama 3's scaling, or empty:
        wavelengths above original / low are stretched by the factor, those below
        original / high stay, and those between are blended.
      local_layers: for each layer whether it sees only `sliding_window` positions back, its own
        included; empty: none does.
      sliding_window: positions a local layer sees.
      local_rope_base: rotary base of local layers where it is another (Gemma 3); 0: the same,
        scaling included.
      unrotated_layers: for each layer whether it has no rotary positions (SmolLM3); empty:
        none has.
      norm_eps: epsilon of the RMS norms.
      norm_plus_one: norms multiply by 1 + scale (Gemma).
      post_norms: each branch is also normed before it joins the residual stream (Gemma 2, 3).
      qk_norm: queries and keys are normed within each head, before the rotation.
      qkv_bias, o_bias, mlp_bias: whether these linear layers have a bias.
      activation: of the feed-forward layer's gate, "silu" or "gelu_tanh".
      query_scale: queries are multiplied by it; 0: head_size ** -0.5.
      attention_cap, logit_cap: scores are squashed to cap * tanh(score / cap); 0: not.
      embed_scale: embeddings of token ids are multiplied by it (Gemma: d_model ** 0.5).
      tie_embeddings: whether the embedding table is also the output layer.
      dropout: rate on the embeddings and on each residual branch, 0..1.
      compute_dtype: "float32" or "bfloat16"; norms, softmax and logits stay float32.
      remat: whether the backward pass recomputes the inside of each block.
      remat_keeps_linear: what the block's linear layers gave is kept all the same, so that only
        attention and what works on single elements is computed again.
    """

    vocab_size: Annotated[int, Range(1, 2**24)]
    d_model: Size
    n_layers: Layers
    n_heads: Size
    n_kv_heads: Size
    head_size: Annotated[Size, Matching(lambda n: n % 2 == 0, "even (rotary positions)")]
    d_mlp: Size
    rope_base: Annotated[float, Range(1, 1e12)] = 10_000.0
    rope_divisor: Factor = 1.0
    rope_llama3: tuple[Annotated[float, Range(1e-6, 1e9)], ...] = ()
    local_layers: tuple[bool, ...] = ()
    sliding_window: Whole = 0
    local_rope_base: Annotated[float, Range(0, 1e12)] = 0.0
    unrotated_layers: tuple[bool, ...] = ()
    norm_eps: Annotated[float, Range(1e-20, 0.1)] = 1e-6
    norm_plus_one: bool = False
    post_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    activation: Annotated[str, OneOf("silu", "gelu_tanh")] = "silu"
    query_scale: FactorOrNone = 0.0
    attention_cap: FactorOrNone = 0.0
    logit_cap: FactorOrNone = 0.0
    embed_scale: Factor = 1.0
    tie_embeddings: bool = True
    dropout: Rate = 0.0
    compute_dtype: DTypeName = "float32"
    remat: bool = False
    remat_keeps_linear: bool = False

    def conflicts(self):
        if self.n_heads % self.n_kv_heads:
            yield "n_kv_heads", f"a divisor of n_heads={self.n_heads}"
        for field in ("local_layers", "unrotated_layers"):
            if len(getattr(self, field)) not in (0, self.n_layers):
                yield field, f"one value for each of the {self.n_layers} layers"
        if any(self.local_layers) and not self.sliding_window:
            yield "sliding_window", "at least 1 with local layers"
        scaling = self.rope_llama3
        if scaling and not (len(scaling) == 4 and scaling[1] < scaling[2]):
            yield "rope_llama3", "(factor, low, high, original length), low < high"

    @property
    def kind_of_layer(self) -> tuple[tuple[bool, bool], ...]:
        """Says (local, unrotated) of each layer."""
        plain = (False,) * self.n_layers
        return tuple(zip(self.local_layers or plain, self.unrotated_layers or plain, strict=True))

    @property
    def layer_kinds(self) -> tuple[tuple[bool, bool], ...]:
        """Lists the kinds of layer there are, each once."""
        return tuple(dict.fromkeys(self.kind_of_layer))
