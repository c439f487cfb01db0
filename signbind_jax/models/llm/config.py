"""DecoderConfig: the shape of a decoder-only language model."""

from dataclasses import dataclass, fields
from numbers import Integral, Real

from signbind_jax.errors import SignBindError

COMPUTE_DTYPES = ("float32", "bfloat16")
ACTIVATIONS = ("silu", "gelu_tanh")
# field -> (type, smallest, largest): far beyond any model there is, and safe to compute with.
RANGES = {
    "vocab_size": (int, 1, 2**24),
    "d_model": (int, 1, 2**18),
    "n_layers": (int, 1, 2**12),
    "n_heads": (int, 1, 2**12),
    "n_kv_heads": (int, 1, 2**12),
    "head_size": (int, 1, 2**14),
    "d_mlp": (int, 1, 2**20),
    "rope_base": (float, 1.0, 1e12),
    "rope_divisor": (float, 1e-6, 1e6),
    "sliding_window": (int, 0, 2**31 - 1),
    "local_rope_base": (float, 0.0, 1e12),
    "norm_eps": (float, 1e-20, 0.1),
    "query_scale": (float, 0.0, 1e6),
    "attention_cap": (float, 0.0, 1e6),
    "logit_cap": (float, 0.0, 1e6),
    "embed_scale": (float, 1e-6, 1e6),
}
# Of (factor, low, high, original length) in Llama 3's rotary scaling.
LLAMA3_RANGES = ((float, 1e-6, 1e6), (float, 1e-6, 1e6), (float, 1e-6, 1e6), (float, 1.0, 1e9))


@dataclass(frozen=True)
class DecoderConfig:
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
      local_layers: for each layer whether it sees only `sliding_window` places back, its own
        included; empty: none does.
      sliding_window: places a local layer sees.
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

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    d_mlp: int
    rope_base: float = 10_000.0
    rope_divisor: float = 1.0
    rope_llama3: tuple[float, ...] = ()
    local_layers: tuple[bool, ...] = ()
    sliding_window: int = 0
    local_rope_base: float = 0.0
    unrotated_layers: tuple[bool, ...] = ()
    norm_eps: float = 1e-6
    norm_plus_one: bool = False
    post_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    activation: str = "silu"
    query_scale: float = 0.0
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    embed_scale: float = 1.0
    tie_embeddings: bool = True
    dropout: float = 0.0
    compute_dtype: str = "float32"
    remat: bool = False
    remat_keeps_linear: bool = False

    def __post_init__(self):
        for field in ("rope_llama3", "local_layers", "unrotated_layers"):
            if not isinstance(getattr(self, field), list | tuple):
                raise _error(field, getattr(self, field), "a sequence")
            object.__setattr__(self, field, tuple(getattr(self, field)))
        for field, allowed in RANGES.items():
            if not in_range(getattr(self, field), allowed):
                raise _error(field, getattr(self, field), described(allowed))
        for field in fields(self):
            if field.type is bool and not isinstance(getattr(self, field.name), bool):
                raise _error(field.name, getattr(self, field.name), "True or False")
        for field, choices in (("compute_dtype", COMPUTE_DTYPES), ("activation", ACTIVATIONS)):
            if getattr(self, field) not in choices:
                raise _error(field, getattr(self, field), f"one of {choices}")
        if not isinstance(self.dropout, Real) or not 0.0 <= self.dropout < 1.0:
            raise _error("dropout", self.dropout, "a rate in [0, 1)")
        self._check_heads_and_layers()

    def _check_heads_and_layers(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise _error("n_kv_heads", self.n_kv_heads, f"a divisor of n_heads={self.n_heads}")
        if self.head_size % 2:
            raise _error("head_size", self.head_size, "an even number (rotary positions)")
        for field in ("local_layers", "unrotated_layers"):
            if len(getattr(self, field)) not in (0, self.n_layers):
                raise _error(field, len(getattr(self, field)),
                             f"one value for each of the {self.n_layers} layers")  # fmt: skip
        if any(self.local_layers) and self.sliding_window < 1:
            raise _error("sliding_window", self.sliding_window, "at least 1 with local layers")
        scaling = self.rope_llama3
        whole = len(scaling) == 4 and all(map(in_range, scaling, LLAMA3_RANGES))
        if scaling and not (whole and scaling[1] < scaling[2]):
            raise _error("rope_llama3", scaling, "(factor, low, high, original length), low < high")

    @property
    def kind_of_layer(self) -> tuple[tuple[bool, bool], ...]:
        """(local, unrotated) of each layer."""
        plain = (False,) * self.n_layers
        return tuple(zip(self.local_layers or plain, self.unrotated_layers or plain, strict=True))

    @property
    def layer_kinds(self) -> tuple[tuple[bool, bool], ...]:
        """The kinds of layer there are, each once."""
        return tuple(dict.fromkeys(self.kind_of_layer))


def in_range(value, allowed: tuple) -> bool:
    """Whether a value has the type and range that RANGES gives a field."""
    kind, low, high = allowed
    number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return number and low <= value <= high  # no NaN is


def described(allowed: tuple) -> str:
    """The same in words."""
    kind, low, high = allowed
    words = "a whole number" if kind is int else "a number"
    return f"{words} from {low:.12g} to {high:.12g}"


def _error(field: str, found, wanted: str) -> SignBindError:
    return SignBindError(f"decoder config: {field}: found {found!r}, wanted {wanted}")
