"""`config.json` of the open model families -> DecoderConfig; what is not known is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.models.llm.config import DecoderConfig, Factor
from signbind_jax.ranges import Range, Whole, fits, hints_of, parts_of, wanted

CONFIG_BYTES = 2**20
# Fields that say nothing about the function a decoder computes.
_WITHOUT_EFFECT = frozenset(
    ["architectures", "model_type", "_name_or_path", "transformers_version", "torch_dtype"]
    + ["dtype", "pad_token_id", "use_cache"]
    + ["initializer_range", "max_position_embeddings", "cache_implementation"]
)
_RANGES = hints_of(DecoderConfig)
_BASE = _RANGES["rope_base"]
_LENGTH = Annotated[float, Range(1, 1e9)]
_NEEDED = object()


def read_config(directory: Path) -> DecoderConfig:
    """Reads the decoder that a Hugging Face directory holds.

    Raises:
      SignBindError: no readable config.json, an unknown architecture, a field or value that
        is not supported: nothing is ignored in silence.
    """
    return decoder_config(read_record(directory), str(Path(directory) / "config.json"))


def read_record(directory: Path) -> dict:
    """Reads config.json as it stands.

    Raises:
      SignBindError: it cannot be read.
    """
    path = Path(directory) / "config.json"
    record = files.read_json(path, CONFIG_BYTES)
    if not isinstance(record, dict):
        raise SignBindError(f"{path}: found {type(record).__name__}, wanted an object")
    return record


def decoder_config(record: Mapping, where: str) -> DecoderConfig:
    """Reads the same from the parsed record; `where` names it in errors."""
    read = _Fields(record, where)
    kind = read.get("model_type")
    if kind == "gemma3" and "text_config" in record:
        text = files.field(record, "text_config", dict, where)
        return decoder_config({"model_type": "gemma3_text"} | text, f"{where}: text_config")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise read.error("model_type", kind, f"one of {', '.join(_FAMILIES)}")
    try:
        config = _FAMILIES[kind](read)
    except SignBindError as error:
        # What only shows when the decoder is put together knows nothing of the file.
        line = str(error)
        raise error if line.startswith(where) else SignBindError(f"{where}: {line}") from None
    for name in ("bos_token_id", "eos_token_id"):
        read.ids(name, config.vocab_size)
    read.refuse_the_rest()
    return config


class _Fields:
    """A config's fields, which remembers those that were asked for.

    What is null counts as absent. Every error names the file, the field, found and wanted.
    """

    def __init__(self, record: Mapping, where: str):
        self.record, self.where, self.asked = record, where, set()

    def error(self, name: str, found: Any, wanted: str) -> SignBindError:
        return SignBindError(f"{self.where}: {name}: found {files.shorten(found)}, wanted {wanted}")

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        value = self.record.get(name)
        return default if value is None else value

    def number(self, name: str, allowed: Any, default: Any = _NEEDED) -> Any:
        """Reads a number of the annotated type `allowed`."""
        value = self.get(name, default)
        if value is _NEEDED:
            raise SignBindError(f"{self.where}: {name}: found nothing, wanted {wanted(allowed)}")
        if not fits(value, allowed):
            raise self.error(name, value, wanted(allowed))
        return parts_of(allowed)[0](value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.error(name, value, "true or false")
        return value

    def within(self, name: str) -> "_Fields | None":
        """Gives the fields of an object in the config; None where there is none or an empty one."""
        value = self.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(name, value, "an object")
        return _Fields(value, f"{self.where}: {name}") if value else None

    def of_layers(self, name: str, allowed: tuple, n_layers: int) -> list | None:
        """Reads a list with one of the `allowed` values for each layer."""
        values = self.get(name)
        if values is None:
            return None
        if not isinstance(values, list) or len(values) != n_layers:
            found = len(values) if isinstance(values, list) else values
            raise self.error(name, found, f"a value for each of the {n_layers} layers")
        for value in values:
            if value not in allowed:
                raise self.error(name, value, " or ".join(map(str, allowed)))
        return values

    def ids(self, name: str, vocab_size: int) -> None:
        """Refuses ids of tokens that the embedding table has no row for."""
        value = self.get(name, [])
        allowed = Annotated[int, Range(0, vocab_size - 1)]
        for token_id in value if isinstance(value, list) else [value]:
            if not fits(token_id, allowed):
                raise self.error(name, token_id, wanted(allowed))

    def only(self, name: str, *choices) -> None:
        """Refuses values other than those the decoder computes."""
        value = self.get(name, choices[0])
        if value not in choices:
            raise self.error(name, value, " or ".join(map(repr, choices)))

    def refuse_the_rest(self) -> None:
        unknown = [
            f"{files.shorten(name)[1:-1]}={files.shorten(value)}"
            for name, value in self.record.items()
            if name not in self.asked
            and name not in _WITHOUT_EFFECT
            and value not in (None, False, 0, "", [], {})
        ]
        if unknown:
            raise SignBindError(
                f"{self.where}: found fields whose effect is not known here: "
                f"{', '.join(unknown)[:300]}"
            )


def _common(f: _Fields, **changes) -> DecoderConfig:
    """Reads what all families say alike, with `changes` for this one."""
    f.only("attention_dropout", 0.0, 0)
    n_heads = f.number("num_attention_heads", _RANGES["n_heads"])
    d_model = f.number("hidden_size", _RANGES["d_model"])
    n_kv_heads = f.number("num_key_value_heads", _RANGES["n_kv_heads"], n_heads)
    if n_heads % n_kv_heads:
        raise f.error("num_key_value_heads", n_kv_heads, f"a divisor of the {n_heads} heads")
    head_size = changes.pop("head_size", None) or _head_size(f, d_model // n_heads)
    values = {
        "vocab_size": f.number("vocab_size", _RANGES["vocab_size"]),
        "d_model": d_model,
        "n_layers": f.number("num_hidden_layers", _RANGES["n_layers"]),
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "head_size": head_size,
        "d_mlp": f.number("intermediate_size", _RANGES["d_mlp"]),
        "norm_eps": f.number("rms_norm_eps", _RANGES["norm_eps"], 1e-6),
        "tie_embeddings": f.flag("tie_word_embeddings", False),
    }
    rope = {} if "rope_base" in changes else _rope(f)
    return DecoderConfig(**{**values, **rope, **changes})


def _head_size(f: _Fields, default: int) -> int:
    size = f.number("head_dim", _RANGES["d_model"], default)
    if size % 2:
        raise f.error("head_dim", size, "an even number: rotary positions turn pairs")
    return size


def _rope(f: _Fields, base: float = 10_000.0) -> dict:
    """Reads rotary base and scaling, from the fields of old and of new configs."""
    base = f.number("rope_theta", _BASE, base)
    scaling = f.within("rope_parameters"), f.within("rope_scaling")
    found = scaling[0] or scaling[1]
    return _scaled(found, base) if found else {"rope_base": base}


def _scaled(f: _Fields, base: float | None) -> dict:
    """Reads the same of the object that names the kind of scaling; base: where it names none."""
    values = {"rope_base": f.number("rope_theta", _BASE, _NEEDED if base is None else base)}
    kind = f.get("rope_type", f.get("type", "default"))
    f.asked |= {"type", "original_max_position_embeddings"}
    if kind == "linear":
        values["rope_divisor"] = f.number("factor", _RANGES["rope_divisor"])
    elif kind == "llama3":
        names = (
            "factor",
            "low_freq_factor",
            "high_freq_factor",
            "original_max_position_embeddings",
        )
        scaling = tuple(map(f.number, names, (Factor, Factor, Factor, _LENGTH)))
        if scaling[1] >= scaling[2]:
            raise f.error("high_freq_factor", scaling[2], f"more than low_freq_factor={scaling[1]}")
        values["rope_llama3"] = scaling
    elif kind != "default":
        raise f.error("rope_type", kind, "default, linear or llama3")
    f.refuse_the_rest()
    return values


def _local_layers(f: _Fields, n_layers: int, default: Callable[[int], bool]) -> tuple[bool, ...]:
    """Says which layers see only the sliding window."""
    kinds = f.of_layers("layer_types", ("full_attention", "sliding_attention"), n_layers)
    if kinds is None:
        return tuple(default(i) for i in range(n_layers))
    return tuple(kind == "sliding_attention" for kind in kinds)


def _window(f: _Fields, default: Callable[[int], bool]) -> dict:
    window = f.number("sliding_window", _RANGES["sliding_window"], 0)
    local = _local_layers(f, f.number("num_hidden_layers", _RANGES["n_layers"]), default)
    return {"sliding_window": window, "local_layers": local} if window and any(local) else {}


def _llama(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    f.only("pretraining_tp", 1)
    bias = f.flag("attention_bias", False)
    return _common(f, qkv_bias=bias, o_bias=bias, mlp_bias=f.flag("mlp_bias", False))


def _mistral(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    return _common(f, **_window(f, lambda i: True))


def _qwen_window(f: _Fields) -> dict:
    first_local = f.number("max_window_layers", Whole, 28)
    window = _window(f, lambda i: i >= first_local)
    return window if f.flag("use_sliding_window", False) else {}


def _qwen2(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    return _common(f, qkv_bias=True, **_qwen_window(f))


def _qwen3(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    bias = f.flag("attention_bias", False)
    changes = {"qk_norm": True, "qkv_bias": bias, "o_bias": bias}
    return _common(f, **changes, **_qwen_window(f), head_size=_head_size(f, 128))


def _gemma(f: _Fields, **changes) -> DecoderConfig:
    f.only("hidden_activation", "gelu_pytorch_tanh")
    f.get("hidden_act")  # overridden by hidden_activation
    bias = f.flag("attention_bias", False)
    return _common(
        f,
        norm_plus_one=True,
        post_norms=True,
        activation="gelu_tanh",
        qkv_bias=bias,
        o_bias=bias,
        tie_embeddings=f.flag("tie_word_embeddings", True),
        head_size=_head_size(f, 256),
        query_scale=f.number("query_pre_attn_scalar", Factor, 256) ** -0.5,
        embed_scale=f.number("hidden_size", _RANGES["d_model"]) ** 0.5,
        attention_cap=f.number("attn_logit_softcapping", _RANGES["attention_cap"], 0.0),
        logit_cap=f.number("final_logit_softcapping", _RANGES["logit_cap"], 0.0),
        **changes,
    )


def _gemma2(f: _Fields) -> DecoderConfig:
    return _gemma(f, **_window(f, lambda i: i % 2 == 0))


def _gemma3(f: _Fields) -> DecoderConfig:
    f.only("use_bidirectional_attention", False)
    pattern = f.number("_sliding_window_pattern", _RANGES["n_layers"], 6)
    pattern = f.number("sliding_window_pattern", _RANGES["n_layers"], pattern)
    changes = _window(f, lambda i: (i + 1) % pattern != 0)
    by_kind = f.within("rope_parameters")
    if by_kind and "full_attention" in by_kind.record:
        kinds = [by_kind.within(kind) for kind in ("full_attention", "sliding_attention")]
        if None in kinds:
            raise f.error("rope_parameters", dict(by_kind.record), "both kinds of attention")
        by_kind.refuse_the_rest()
        changes |= _scaled(kinds[0], None)
        kinds[1].only("rope_type", "default")
        changes["local_rope_base"] = _scaled(kinds[1], None)["rope_base"]
    else:
        changes |= _rope(f, 1_000_000.0)
        changes["local_rope_base"] = f.number("rope_local_base_freq", _BASE, 10_000.0)
    return _gemma(f, qk_norm=True, **changes)


def _smollm3(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    f.only("pretraining_tp", 1)
    n_layers = f.number("num_hidden_layers", _RANGES["n_layers"])
    interval = f.number("no_rope_layer_interval", _RANGES["n_layers"], 4)
    rotated = f.of_layers("no_rope_layers", (0, 1), n_layers)  # 1 where a layer has them
    if rotated is None:
        rotated = [int((i + 1) % interval != 0) for i in range(n_layers)]
    bias = f.flag("attention_bias", False)
    window = _window(f, lambda i: True)
    if not f.flag("use_sliding_window", False):
        window = {}
    return _common(
        f,
        qkv_bias=bias,
        o_bias=bias,
        mlp_bias=f.flag("mlp_bias", False),
        unrotated_layers=tuple(not r for r in rotated),
        tie_embeddings=f.flag("tie_word_embeddings", True),
        **window,
    )


_FAMILIES = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "smollm3": _smollm3,
}
