"""`config.json` of the open model families -> DecoderConfig; what is not known is refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.models.llm.config import DecoderConfig

# Fields that say nothing about the function a decoder computes.
_WITHOUT_EFFECT = frozenset(
    ["architectures", "model_type", "_name_or_path", "transformers_version", "torch_dtype"]
    + ["dtype", "bos_token_id", "eos_token_id", "pad_token_id", "use_cache"]
    + ["initializer_range", "max_position_embeddings", "cache_implementation"]
)


def read_config(directory: Path) -> DecoderConfig:
    """The decoder that a Hugging Face directory holds.

    Raises:
      SignBindError: no readable config.json, an unknown architecture, a field or value that
        is not supported: nothing is ignored in silence.
    """
    return decoder_config(read_record(directory), str(Path(directory) / "config.json"))


def read_record(directory: Path) -> dict:
    """config.json as it stands.

    Raises:
      SignBindError: it cannot be read.
    """
    path = Path(directory) / "config.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SignBindError(f"{path}: {error.strerror}; wanted a Hugging Face model's config") \
            from error  # fmt: skip
    except ValueError as error:
        raise SignBindError(f"{path}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise SignBindError(f"{path}: found {type(record).__name__}, wanted an object")
    return record


def decoder_config(record: Mapping, where: str) -> DecoderConfig:
    """The same from the parsed record; `where` names it in errors."""
    kind = record.get("model_type")
    if kind == "gemma3" and "text_config" in record:
        return decoder_config({"model_type": "gemma3_text"} | dict(record["text_config"]), where)
    if kind not in _FAMILIES:
        raise SignBindError(f"{where}: model_type: found {kind!r}, wanted one of "
                            f"{', '.join(_FAMILIES)}")  # fmt: skip
    read = _Fields(record, where)
    config = _FAMILIES[kind](read)
    read.refuse_the_rest()
    return config


class _Fields:
    """A config's fields, which remembers those that were asked for."""

    def __init__(self, record: Mapping, where: str):
        self.record, self.where, self.asked = record, where, set()

    def get(self, name: str, default=None):
        self.asked.add(name)
        value = self.record.get(name)
        return default if value is None else value

    def need(self, name: str):
        value = self.get(name)
        if value is None:
            raise SignBindError(f"{self.where}: {name}: found nothing, wanted a value")
        return value

    def only(self, name: str, *allowed) -> None:
        """Refuses values other than those the decoder computes."""
        value = self.get(name, allowed[0])
        if value not in allowed:
            raise SignBindError(f"{self.where}: {name}: found {value!r}, wanted "
                                f"{' or '.join(map(repr, allowed))}")  # fmt: skip

    def refuse_the_rest(self) -> None:
        unknown = [
            f"{name}={value!r}" for name, value in self.record.items()
            if name not in self.asked and name not in _WITHOUT_EFFECT
            and value not in (None, False, 0, "", [], {})
        ]  # fmt: skip
        if unknown:
            raise SignBindError(f"{self.where}: found fields whose effect is not known here: "
                                f"{', '.join(unknown)[:300]}")  # fmt: skip


def _common(f: _Fields, **changes) -> DecoderConfig:
    """What all families say alike, with `changes` for this one."""
    f.only("attention_dropout", 0.0, 0)
    n_heads, d_model = f.need("num_attention_heads"), f.need("hidden_size")
    values = {
        "vocab_size": f.need("vocab_size"),
        "d_model": d_model,
        "n_layers": f.need("num_hidden_layers"),
        "n_heads": n_heads,
        "n_kv_heads": f.get("num_key_value_heads", n_heads),
        "head_size": f.get("head_dim", d_model // n_heads),
        "d_mlp": f.need("intermediate_size"),
        "norm_eps": f.get("rms_norm_eps", 1e-6),
        "tie_embeddings": bool(f.get("tie_word_embeddings", False)),
    }
    return DecoderConfig(**{**values, **_rope(f), **changes})


def _rope(f: _Fields, parameters: Mapping | None = None) -> dict:
    """Rotary base and scaling, from the fields of old and of new configs."""
    if parameters is None:
        parameters = f.get("rope_parameters") or f.get("rope_scaling") or {}
    parameters = {"rope_theta": f.get("rope_theta", 10_000.0)} | dict(parameters)
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    base = {"rope_base": float(parameters["rope_theta"])}
    if kind == "default":
        return base
    if kind == "linear":
        return base | {"rope_divisor": float(parameters["factor"])}
    if kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor",
                 "original_max_position_embeddings")  # fmt: skip
        return base | {"rope_llama3": tuple(float(parameters[name]) for name in names)}
    raise SignBindError(f"{f.where}: rope_type: found {kind!r}, wanted default, linear or llama3")


def _local_layers(f: _Fields, n_layers: int, default: Callable[[int], bool]) -> tuple[bool, ...]:
    """Which layers see only the sliding window."""
    kinds = f.get("layer_types")
    if kinds is None:
        return tuple(default(i) for i in range(n_layers))
    unknown = set(kinds) - {"full_attention", "sliding_attention"}
    if unknown:
        raise SignBindError(f"{f.where}: layer_types: found {', '.join(sorted(unknown))}, wanted "
                            "full_attention or sliding_attention")  # fmt: skip
    return tuple(kind == "sliding_attention" for kind in kinds)


def _window(f: _Fields, default: Callable[[int], bool]) -> dict:
    window = f.get("sliding_window") or 0
    local = _local_layers(f, f.need("num_hidden_layers"), default)
    return {"sliding_window": window, "local_layers": local} if window and any(local) else {}


def _llama(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    f.only("pretraining_tp", 1)
    bias = bool(f.get("attention_bias", False))
    return _common(f, qkv_bias=bias, o_bias=bias, mlp_bias=bool(f.get("mlp_bias", False)))


def _mistral(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    return _common(f, **_window(f, lambda i: True))


def _qwen_window(f: _Fields) -> dict:
    first_local = f.get("max_window_layers", 28)
    window = _window(f, lambda i: i >= first_local)
    return window if f.get("use_sliding_window", False) else {}


def _qwen2(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    return _common(f, qkv_bias=True, **_qwen_window(f))


def _qwen3(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    bias = bool(f.get("attention_bias", False))
    changes = {"qk_norm": True, "qkv_bias": bias, "o_bias": bias}
    return _common(f, **changes, **_qwen_window(f), head_size=f.get("head_dim", 128))


def _gemma(f: _Fields, **changes) -> DecoderConfig:
    f.only("hidden_activation", "gelu_pytorch_tanh")
    f.get("hidden_act")  # overridden by hidden_activation
    bias = bool(f.get("attention_bias", False))
    return _common(
        f, norm_plus_one=True, post_norms=True, activation="gelu_tanh", qkv_bias=bias, o_bias=bias,
        tie_embeddings=bool(f.get("tie_word_embeddings", True)),
        head_size=f.get("head_dim", 256),
        query_scale=float(f.get("query_pre_attn_scalar", 256)) ** -0.5,
        embed_scale=float(f.need("hidden_size")) ** 0.5,
        attention_cap=float(f.get("attn_logit_softcapping", 0.0)),
        logit_cap=float(f.get("final_logit_softcapping", 0.0)), **changes,
    )  # fmt: skip


def _gemma2(f: _Fields) -> DecoderConfig:
    return _gemma(f, **_window(f, lambda i: i % 2 == 0))


def _gemma3(f: _Fields) -> DecoderConfig:
    f.only("use_bidirectional_attention", False)
    pattern = f.get("sliding_window_pattern", f.get("_sliding_window_pattern", 6))
    changes = _window(f, lambda i: (i + 1) % pattern != 0)
    by_kind = f.get("rope_parameters") or {}
    if "full_attention" in by_kind:
        changes |= _rope(f, by_kind["full_attention"])
        local = by_kind["sliding_attention"]
        if local.get("rope_type", "default") != "default":
            raise SignBindError(f"{f.where}: rope_parameters.sliding_attention: found "
                                f"{local['rope_type']!r}, wanted default")  # fmt: skip
        changes["local_rope_base"] = float(local["rope_theta"])
    else:
        changes |= _rope(f, {"rope_theta": f.get("rope_theta", 1_000_000.0)}
                         | (f.get("rope_scaling") or {}))  # fmt: skip
        changes["local_rope_base"] = float(f.get("rope_local_base_freq", 10_000.0))
    return _gemma(f, qk_norm=True, **changes)


def _smollm3(f: _Fields) -> DecoderConfig:
    f.only("hidden_act", "silu")
    f.only("pretraining_tp", 1)
    n_layers = f.need("num_hidden_layers")
    interval = f.get("no_rope_layer_interval", 4)
    rotated = f.get("no_rope_layers")  # 1 where a layer has rotary positions
    if rotated is None:
        rotated = [int((i + 1) % interval != 0) for i in range(n_layers)]
    bias = bool(f.get("attention_bias", False))
    window = _window(f, lambda i: True)
    if not f.get("use_sliding_window", False):
        window = {}
    return _common(f, qkv_bias=bias, o_bias=bias, mlp_bias=bool(f.get("mlp_bias", False)),
                   unrotated_layers=tuple(not r for r in rotated),
                   tie_embeddings=bool(f.get("tie_word_embeddings", True)), **window)  # fmt: skip


_FAMILIES = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "smollm3": _smollm3,
}
